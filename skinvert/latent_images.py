"""Between images and latents: what an encoder and a decoder can do without a sampler."""

from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skinvert.export import DecoderModule, write_onnx
from skinvert.layout import restore_layout, validate_rows
from skinvert.models.latent_samplers import check_ratios
from skinvert.models.trials import in_batches

__all__ = ["LatentImagesMixin"]


class LatentImagesMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Encode, decode, combine and interpolate images, for a `GeneratorMixin` with latents.

    It reads ``encoder_``, ``decoder_``, ``value_range_``, ``device_`` and ``_n_features_out``.

    Notes
    -----
    Section and figure numbers are those of "Classify and Generate: Using Classification
    Latent Space Representations for Image Generations", Neurocomputing 471 (2022), 296 to 334.
    """

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Latents of images.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        Z : ndarray of shape (n, n_latents), float32
        """
        check_is_fitted(self)
        rows = validate_rows(self, X, dtype=np.float32, order="C", reset=False)

        def answer(images):
            return (self.encoder_(images),)

        return in_batches(answer, rows, self._resolved_batch_size(), self.device_)[0]

    def inverse_transform(self, Z: ArrayLike) -> NDArray[np.float32]:
        """Images of latents.

        Parameters
        ----------
        Z : array-like of shape (n, n_latents)

        Returns
        -------
        X : ndarray of shape (n, n_features), or as `fit` saw images, float32

        Raises
        ------
        ValueError
            For latents of another length.
        """
        check_is_fitted(self)
        latents = check_array(Z, dtype=np.float32)
        if latents.shape[1] != self._n_features_out:
            raise ValueError(
                f"Z has {latents.shape[1]} values a row, but latents have {self._n_features_out}; "
                "pass what transform gives."
            )
        decoded = self._decode(latents)
        return restore_layout(decoded.reshape(len(latents), -1), self._trailing_shape)

    def reconstruct(self, X: ArrayLike) -> NDArray[np.float32]:
        """Decode the latents of images.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        X : ndarray of the shape of X, float32
        """
        return self.inverse_transform(self.transform(X))

    def combine(self, X: ArrayLike, ratios: str | ArrayLike = "uniform") -> NDArray[np.float32]:
        """Decode convex combinations of the latents of named images (3.3).

        Nothing is checked: images of one class combine to their class, others to what lies between.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them
            The images that are combined.
        ratios : "uniform" or array-like of shape (n,) or (m, n), default="uniform"
            Non-negative, each row summing to one. "uniform" is 1/n for each.

        Returns
        -------
        X : ndarray of shape (m, n_features), or as `fit` saw images, float32
            One image for each row of ratios.

        Raises
        ------
        ValueError
            For ratios that are negative, do not sum to one, or are not as many as the images.
        """
        latents = self.transform(X).astype(np.float64)
        if isinstance(ratios, str):
            ratios = np.full(len(latents), 1 / len(latents))
        ratios = np.atleast_2d(check_ratios(ratios, len(latents)))
        return self.inverse_transform(np.stack([ratio @ latents for ratio in ratios]))

    def interpolate(
        self, a: ArrayLike, b: ArrayLike, ratios: int | ArrayLike = 9
    ) -> NDArray[np.float32]:
        """Decode the way from one image to another (Figure 7).

        Parameters
        ----------
        a, b : array-like of shape (n_features,), or an image as `fit` takes them
            The ends of the way.
        ratios : int or array-like of shape (m,), default=9
            Shares of `b`, each in [0, 1]. An int asks for so many, evenly spaced and without the
            ends: 0.1, 0.2 … 0.9 for 9.

        Returns
        -------
        X : ndarray of shape (m, n_features), or as `fit` saw images, float32

        Raises
        ------
        ValueError
            For ratios outside [0, 1].
        """
        check_is_fitted(self)
        if isinstance(ratios, Integral):
            ratios = np.linspace(0, 1, ratios + 2)[1:-1]
        shares = np.asarray(ratios, dtype=np.float64).ravel()
        pair = np.stack([np.asarray(image, dtype=np.float32).ravel() for image in (a, b)])
        return self.combine(
            restore_layout(pair, self._trailing_shape), np.stack([1 - shares, shares], axis=1)
        )

    def to_torch(self) -> DecoderModule:
        """The decoder as a plain module on the CPU: `inverse_transform` without scikit-learn.

        Returns
        -------
        module : torch.nn.Module
            From latents (n, n_latents), float32, to images (n, C, H, W), or (n, n_features) of
            rows that are no images.
        """
        check_is_fitted(self)
        return DecoderModule(self.decoder_, self.value_range_)

    def export_onnx(self, path: str | Path) -> Path:
        """Write the decoder as an ONNX file; see `to_torch`.

        Parameters
        ----------
        path : str or Path
            Written in full or not at all.

        Returns
        -------
        path : Path
            Its input is ``latents``, its output ``images``, both float32, of any number of rows.

        Raises
        ------
        ImportError
            If the packages onnx and onnxscript are not installed.
        """
        return write_onnx(self.to_torch(), self._n_features_out, path)

    def _decode(self, latents):
        """Images (n, *image_shape) of latents."""
        size = self._resolved_batch_size()
        return in_batches(lambda z: (self._rendered(z),), latents, size, self.device_)[0]

    def _rendered(self, latents):
        return self.decoder_(latents).clamp(*self.value_range_)
