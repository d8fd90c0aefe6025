"""A denoising autoencoder, whose decoder is the generator of the coupled network's second variant.

Section 4.2 of Despraz et al. (IJCCI 2017): Gaussian noise on the input, mean squared error.
"""

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from skinvert.models.coupled_networks import CoupledDecoder, CoupledEncoder
from skinvert.models.decoders import DenseDecoder, ScaledDecoder
from skinvert.models.decoding import RowBatches
from skinvert.models.resuming import Resume
from skinvert.models.training import TrainingNet, local_seed, pinned_threads
from skinvert.shards import fingerprint

__all__ = ["DenoisingNet", "colour_root", "moments", "train_autoencoder"]

_ROWS_SHOWN = 20_000
_LEAST_EPOCHS, _MOST_EPOCHS = 10, 200


class DenoisingNet(TrainingNet):
    """`TrainingNet` for an autoencoder: rows are their own targets, and are seen through noise.

    Parameters
    ----------
    module : torch.nn.Module
        From images to images.
    input_noise : float, default=0.3
        Standard deviation of the noise, in units of the images' own.
    **kwargs
        As of `TrainingNet`.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.models.autoencoder import DenoisingNet
    >>> net = DenoisingNet(torch.nn.Linear(3, 3), max_epochs=2)
    >>> len(net.fit(np.eye(3, dtype=np.float32)).history)
    2
    """

    def __init__(self, module, *, input_noise=0.3, **kwargs):
        self.input_noise = input_noise
        super().__init__(module, criterion=nn.MSELoss, iterator_train=RowBatches, **kwargs)

    def fit(self, images):
        """Train on images (n, ...) in units of their standard deviation.

        Returns
        -------
        self : object
        """
        return self.fit_whole(_Images(images), None)

    def train_step(self, batch, **fit_params):
        """One optimiser step on disturbed rows."""
        images, clean = batch
        noisy = images + self.input_noise * torch.randn_like(images)
        return NeuralNet.train_step(self, (noisy, clean), **fit_params)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Mean squared error of the undisturbed rows."""
        return self.criterion_(y_pred, y_true.to(y_pred.device))


class _Images(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def batch(self, places):
        images = torch.from_numpy(self.images[places])
        return images, images


def train_autoencoder(
    rows,
    image_shape,
    *,
    n_latents,
    width,
    input_noise=0.3,
    n_epochs="auto",
    batch_size=64,
    device="cpu",
    seed=0,
    checkpoint=None,
):
    """Train encoder and decoder on rows.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features), float32
        At least two.
    image_shape : tuple (C, H, W) or None
        With None, or fewer than 8 pixels, both networks are dense.
    n_latents : int
    width : int
        Of the decoder, `CoupledDecoder`.
    input_noise : float, default=0.3
        In standard deviations of the rows, channel by channel.
    n_epochs : int or "auto", default="auto"
        "auto" shows some 20,000 rows.
    batch_size : int, default=64
    device : torch.device or str, default="cpu"
    seed : int, default=0
    checkpoint : str or Path or None, default=None
        File to go on from, and to store every epoch in.

    Returns
    -------
    decoder : ScaledDecoder
        From standardised codes to data.
    codes : Tensor of shape (n, n_latents)
        Of the rows, on the CPU.
    loss : ndarray of shape (n_epochs,)

    Raises
    ------
    ValueError
        For fewer than two rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.autoencoder import train_autoencoder
    >>> rows = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    >>> decoder, codes, loss = train_autoencoder(
    ...     rows, None, n_latents=3, width=8, n_epochs=2)
    >>> decoder(codes).shape, loss.shape
    (torch.Size([20, 5]), (2,))
    """
    if len(rows) < 2:
        raise ValueError(
            "generator='pretrained' learns a decoder from X, which takes at least two rows, got "
            "n_samples=1. Pass more, or set generator='untrained'."
        )
    mean, spread = moments(rows, image_shape)
    shape = mean.shape if image_shape is None else image_shape
    images = (rows.reshape(len(rows), *shape) - mean) / spread
    if n_epochs == "auto":
        n_epochs = int(np.clip(_ROWS_SHOWN // len(rows), _LEAST_EPOCHS, _MOST_EPOCHS))
    is_image = image_shape is not None and min(image_shape[1:]) >= 8
    with local_seed(seed):
        if is_image:
            encoder = CoupledEncoder(image_shape, n_latents)
            decoder = CoupledDecoder(n_latents, image_shape, width)
        else:
            encoder = _dense_encoder(rows.shape[1], n_latents)
            decoder = DenseDecoder(n_latents, rows.shape[1]).append(nn.Unflatten(1, shape))
    schedule = LRScheduler(
        OneCycleLR,
        max_lr=3e-3,
        total_steps=n_epochs * -(-len(rows) // batch_size) + 1,
        step_every="batch",
        monitor=None,
    )
    callbacks = [("schedule", schedule)]
    if checkpoint is not None:
        state = [value.detach().numpy() for value in [*encoder.parameters(), *decoder.parameters()]]
        facts = fingerprint(input_noise, n_epochs, batch_size, seed, images, *state)
        callbacks.append(("resume", Resume(checkpoint, facts, part="autoencoder")))
    net = DenoisingNet(
        nn.Sequential(encoder, decoder),
        input_noise=input_noise,
        max_epochs=n_epochs,
        batch_size=batch_size,
        seed=seed,
        device=str(device),
        callbacks=callbacks,
    )
    with pinned_threads(1):
        net.fit(images)
    encoder, network = net.module_.eval().requires_grad_(False)
    with torch.no_grad():
        codes = torch.cat(
            [encoder(part.to(device)).cpu() for part in torch.from_numpy(images).split(256)]
        )
    loss = np.array([epoch["train_loss"] for epoch in net.history])
    return ScaledDecoder(network, shape, mean, spread).to(device).eval(), codes, loss


def moments(rows, image_shape):
    """Mean and standard deviation, of each channel of images or of each feature, to broadcast.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
    image_shape : tuple (C, H, W) or None

    Returns
    -------
    mean, spread : ndarray of shape (C, 1, 1) or (n_features,), float32
        A spread of zero counts as one.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.autoencoder import moments
    >>> mean, spread = moments(np.array([[0.0, 2.0], [2.0, 4.0]]), (1, 1, 2))
    >>> mean.ravel().tolist(), spread.shape
    ([2.0], (1, 1, 1))
    """
    axes, values = 0, rows
    if image_shape is not None:
        axes, values = (0, 2, 3), rows.reshape(len(rows), *image_shape)
    mean, spread = values.mean(axes), values.std(axes)
    if image_shape is not None:
        mean, spread = mean[:, None, None], spread[:, None, None]
    return mean.astype(np.float32), np.where(spread > 0, spread, 1.0).astype(np.float32)


def _dense_encoder(n_features, n_latents, n_hidden=128):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(n_features, n_hidden),
        nn.LeakyReLU(0.3),
        nn.Linear(n_hidden, n_latents),
        nn.BatchNorm1d(n_latents, affine=False),
    )


def colour_root(rows, image_shape):
    """Symmetric root of the covariance of the channels of images' pixels.

    What mixes channels of unit variance into the colours of the data: in photographs all channels
    rise and fall together. For one channel it is the standard deviation.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
    image_shape : tuple (C, H, W)

    Returns
    -------
    root : ndarray of shape (C, C), float32
        Unit, where nothing in the rows moves.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.autoencoder import colour_root
    >>> grey = np.random.default_rng(0).normal(size=(100, 1, 4))
    >>> colour_root(4 * np.repeat(grey, 2, axis=1).reshape(100, 8), (2, 2, 2)).round().tolist()
    [[3.0, 3.0], [3.0, 3.0]]
    """
    pixels = np.moveaxis(rows.reshape(len(rows), *image_shape), 1, -1).reshape(-1, image_shape[0])
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(pixels, rowvar=False, bias=True)))
    spreads = np.sqrt(variances.clip(0) if variances.max() > 0 else np.ones_like(variances))
    return ((axes * spreads) @ axes.T).astype(np.float32)
