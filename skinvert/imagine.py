r"""ImagineSynthesizer: variations of one picture, by inverting a classifier under its guidance.

IMAGINE (Wang et al., CVPR 2021) makes an image anew from a reference :math:`x^0`,

.. math:: \hat x = \arg\min_x L(f(x), y^*) + \alpha R_{TV}(x) + \beta \lVert x \rVert^2
   + \lambda R_{dm}(x; x^0, \Phi) + \gamma R_{pc}(x), \tag{1, 2, 9}

with the channel statistics of a few layers (eq. 5) and a patch critic (eq. 8), and adds terms for
where the object stands, what shape it has, in which style it is drawn, and what would have to be
different for another class.
"""

import copy
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skinvert.base import GeneratorMixin, whole_or_nothing
from skinvert.counterfactual import (
    Counterfactuals,
    changed_share,
    check_questions,
    find_regions,
    nearest_references,
)
from skinvert.inversion.canvas import (
    PARAMETERIZATIONS,
    canvas_shape,
    fitted_canvas,
    range_of_values,
)
from skinvert.inversion.features import check_layers
from skinvert.inversion.guidance import attribution_layer, chosen_layers
from skinvert.inversion.loop import optimize
from skinvert.inversion.objectives import CrossEntropy, Objective
from skinvert.inversion.parameterizations import Pixels
from skinvert.inversion.pictures import fit_pictures, one_for_each, refuse_unfit_images
from skinvert.inversion.placing import position_maps
from skinvert.inversion.references import draw_references
from skinvert.inversion.regularizers import image_terms
from skinvert.inversion.synthesis import GuidedSynthesis, Guides, Schedule, steps_of_both
from skinvert.inversion.targets import Target
from skinvert.inversion.views import as_stages
from skinvert.layout import columns_of, flatten_images, resolve_image_shape, validate_rows
from skinvert.models.answers import features_of, probabilities_of
from skinvert.models.critics import PatchCritic
from skinvert.models.training import resolve_device

__all__ = ["ImagineSynthesizer"]

_INIT_SCALE = 0.25  # of the value range: noise as strong as pictures are


class ImagineSynthesizer(GeneratorMixin, BaseEstimator):
    r"""Vary a picture: other images of its class, with its colours, textures and parts.

    Images start from noise and are moved until a trained classifier says the reference's class, the
    channel statistics of its layers are those of the reference, and a small critic, trained at the
    same time, takes their patches for patches of the reference. Statistics know what is in a
    picture and not where, so that what comes out is arranged anew.

    Parameters
    ----------
    classifier : None, estimator or torch.nn.Module, default=None
        As of `InputOptimizationGenerator`: None trains a small network, an unfitted estimator is
        cloned and fitted, a ``FrozenEstimator`` and a module are taken as trained. It must have
        layers with maps, unless it is None or `layers` names others.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Shape of the images in the rows of X. Inferred for 3-D and 4-D X and for one-channel
        squares.
    classes : array-like of shape (n_classes,), default=None
        Names of a module's outputs, in their order; ``0, 1, …`` if None.
    normalize : tuple (mean, std) or torch.nn.Module, default=None
        What a trained network expects of its input: numbers, one value a channel, or the transform
        that says so, ``weights.transforms()`` of torchvision.
    outputs : {"auto", "logits", "probabilities"}, default="auto"
        What a network returns. "auto" takes rows that sum to one for probabilities.
    layers : "auto" or list of str, default="auto"
        The paper's Φ, in the order of their depth. "auto" takes four: see ``layers_`` and
        `skinvert.inversion.guidance.pick_layers`. Read by `fit`.
    location_layer : "auto" or str, default="auto"
        Where Grad-CAM is read, for `position` and `counterfactual`. "auto" is the last layer with
        maps. Read by `fit`.
    tv_weight : float, default=1e-4
        The paper's α: of the squared differences of neighbouring pixels (eq. 2).
    l2_weight : float, default=1e-5
        The paper's β: of the squared pixels, counted from the network's zero (eq. 2). Both are sums
        over pixels, in units of the references' standard deviation.
    feature_weight : float, default=5.0
        The paper's λ: of the distance of channel statistics (eq. 5).
    patch_weight : float, default=10.0
        The paper's γ: of the critic's word (eq. 8), in the second stage. Images of fewer than 11
        pixels a side have no patches to judge, and go without.
    location_weight : float, default=10.0
        The paper's ν: of the distance of the Grad-CAM map from the one asked for (eq. 10). At 0
        `position` is not heeded.
    n_steps : "auto" or tuple (first, second), default="auto"
        Steps of the two stages, the second one with the critic. "auto" is the paper's (2000, 2000)
        for images of 64 pixels or more, and (300, 100) for smaller ones.
    learning_rate : float, default=0.2
        Adam's, in units of the references' standard deviation, or, for parameterizations other
        than pixels, of their own.
    cooldown : float, default=0.5
        Last share of the steps over which the learning rate falls to zero.
    critic_learning_rate : float, default=5e-4
        Of the patch critic's Adam.
    critic_interval : int, default=5
        The critic learns at every so-manieth step of the second stage.
    critic_window : int, default=64
        Side of the window in which the critic sees a picture, drawn anew at every step.
    parameterization : {"pixels", "pyramid", "fourier", "phase"} or object, default="pixels"
        What is optimised. Read by `fit`.
    transforms : None, "robust", list of transforms, or list of such lists, default=None
        Random views that the classifier sees; as of `InputOptimizationGenerator`.
    clip : "auto", tuple (low, high) or None, default="auto"
        Valid range of values; "auto" is that of X. Read by `fit`.
    checkpoint : str or Path, default=None
        File in which the training of the default classifier is stored after every epoch. A
        `fit` with the same data and parameters goes on from there, and ends with the same result.
    batch_size : int or "auto", default="auto"
        Rows at work together, always padded to this size: other sizes give other bits.
    device : str, default="auto"
        "auto" is cuda, then mps, then cpu.
    acceleration : {"auto", "bfloat16"} or None, default="auto"
        Precision in which the classifier answers; all else stays float32. "auto" is float32 on
        CPUs; on a GPU `fit` tries both, and takes bfloat16 where that is faster and says the same.
    random_state : int, RandomState instance or None, default=None
        Seeds training and generation. With an int every `generate` gives the same images.
    verbose : int, default=0
        1 draws a progress bar on anything longer than a second.

    Attributes
    ----------
    classifier_ : FrozenClassifier
        The differentiable copy that is inverted.
    classes_ : ndarray of shape (n_classes,)
    class_prior_ : ndarray of shape (n_classes,)
        Share of each class among the references.
    references_ : ndarray of shape (n, n_features), float32
        The pictures of `fit`.
    layers_ : list of str
        The layers whose statistics are matched.
    location_layer_ : str or None
    surrogate_fidelity_ : float
        Agreement of a distilled student with its teacher; only where one was.
    image_shape_ : tuple (C, H, W) or None
    value_range_ : tuple (low, high) or None
    device_ : torch.device
    acceleration_ : {"bfloat16"} or None
    history_ : dict of str to ndarray
        ``train_loss`` per epoch, where a network was trained.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    Notes
    -----
    Equation and section numbers are those of "IMAGINE: Image Synthesis by Image-Guided Model
    Inversion", CVPR 2021. The critic is SinGAN's (ICCV 2019); where the paper trains it at every
    step on whole pictures, it learns here at every fifth, in windows. Adam's moments are 0.5 and
    0.9 for the image, DeepInversion's, and 0.5 and 0.999 for the critic, SinGAN's.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skinvert import ImagineSynthesizer
    >>> X, y = load_digits(return_X_y=True)
    >>> synthesizer = ImagineSynthesizer(n_steps=(100, 0), random_state=0).fit(X[:300], y[:300])
    >>> synthesizer.vary(X[300:302], n_variations=3).shape
    (6, 64)
    """

    _parameter_constraints = {  # noqa: RUF012 (scikit-learn's own idiom)
        "classifier": "no_validation",
        "image_shape": [tuple, list, None],
        "classes": ["array-like", None],
        "normalize": [tuple, list, torch.nn.Module, None],
        "outputs": [StrOptions({"auto", "logits", "probabilities"})],
        "layers": [StrOptions({"auto"}), list, tuple],
        "location_layer": [StrOptions({"auto"}), str],
        "tv_weight": [Interval(Real, 0, None, closed="left")],
        "l2_weight": [Interval(Real, 0, None, closed="left")],
        "feature_weight": [Interval(Real, 0, None, closed="left")],
        "patch_weight": [Interval(Real, 0, None, closed="left")],
        "location_weight": [Interval(Real, 0, None, closed="left")],
        "n_steps": [StrOptions({"auto"}), tuple, list],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "cooldown": [Interval(Real, 0, 1, closed="both")],
        "critic_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "critic_interval": [Interval(Integral, 1, None, closed="left")],
        "critic_window": [Interval(Integral, 11, None, closed="left")],
        "parameterization": [StrOptions(set(PARAMETERIZATIONS)), HasMethods("render")],
        "transforms": [StrOptions({"robust"}), list, tuple, None],
        "clip": [StrOptions({"auto"}), tuple, list, None],
        "checkpoint": "no_validation",
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "acceleration": [StrOptions({"auto", "bfloat16"}), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        classifier: Any = None,
        *,
        image_shape: Sequence[int] | None = None,
        classes: ArrayLike | None = None,
        normalize: Sequence[Any] | torch.nn.Module | None = None,
        outputs: Literal["auto", "logits", "probabilities"] = "auto",
        layers: Sequence[str] | Literal["auto"] = "auto",
        location_layer: str = "auto",
        tv_weight: float = 1e-4,
        l2_weight: float = 1e-5,
        feature_weight: float = 5.0,
        patch_weight: float = 10.0,
        location_weight: float = 10.0,
        n_steps: Sequence[int] | Literal["auto"] = "auto",
        learning_rate: float = 0.2,
        cooldown: float = 0.5,
        critic_learning_rate: float = 5e-4,
        critic_interval: int = 5,
        critic_window: int = 64,
        parameterization: Any = "pixels",
        transforms: Sequence[Any] | Literal["robust"] | None = None,
        clip: Sequence[float] | Literal["auto"] | None = "auto",
        checkpoint: str | Path | None = None,
        batch_size: int | Literal["auto"] = "auto",
        device: str | torch.device = "auto",
        acceleration: Literal["auto", "bfloat16"] | None = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.classifier = classifier
        self.image_shape = image_shape
        self.classes = classes
        self.normalize = normalize
        self.outputs = outputs
        self.layers = layers
        self.location_layer = location_layer
        self.tv_weight = tv_weight
        self.l2_weight = l2_weight
        self.feature_weight = feature_weight
        self.patch_weight = patch_weight
        self.location_weight = location_weight
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.cooldown = cooldown
        self.critic_learning_rate = critic_learning_rate
        self.critic_interval = critic_interval
        self.critic_window = critic_window
        self.parameterization = parameterization
        self.transforms = transforms
        self.clip = clip
        self.checkpoint = checkpoint
        self.batch_size = batch_size
        self.device = device
        self.acceleration = acceleration
        self.random_state = random_state
        self.verbose = verbose

    @whole_or_nothing
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Take or train the classifier, and keep the pictures as references.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images (n, H, W) or (n, C, H, W)
            In the units that the classifier takes; nothing is rescaled.
        y : array-like of shape (n,), default=None
            Labels. None takes what a trained classifier says of X.

        Returns
        -------
        self : object
            The fitted synthesizer.

        Raises
        ------
        ValueError
            For bad data and parameters, images that the network can't take, and networks without
            layers that have maps.
        """
        self._validate_params()
        rows, y = self._check_references(X, y)
        self.device_ = resolve_device(self.device)
        seed = self._root_seed(self.random_state)
        self._request = None
        try:
            self._take_classifier(rows, y, seed)
        except ValueError:
            # A better message, where there is one.
            if isinstance(self.classifier, torch.nn.Module) and self.image_shape_ is not None:
                refuse_unfit_images(self.classifier, self.image_shape_)
            raise
        self.references_ = rows
        if y is None:
            y = self.classes_[self._predicted(rows)]
        self._reference_columns = self._learn_class_prior(y)
        self._fit_canvas(rows)
        self._choose_layers()
        self._accelerate()
        return self

    def _check_references(self, X, y):
        """Rows and labels; without labels where the classifier is trained already."""
        is_trained = isinstance(self.classifier, (torch.nn.Module, FrozenEstimator))
        if y is not None or not is_trained:
            return self._check_fit_data(X, y)
        rows, trailing_shape = flatten_images(X)
        rows = validate_rows(self, rows, dtype=np.float32, order="C")
        self.image_shape_ = resolve_image_shape(
            self.image_shape, trailing_shape, self.n_features_in_
        )
        self._trailing_shape = trailing_shape
        return rows, None

    def _choose_layers(self):
        example = self._images(self.references_[:1])
        dense = self.classifier is None
        self.layers_ = chosen_layers(self.classifier_, self.layers, example, dense=dense)
        if self.location_layer == "auto":
            self.location_layer_ = attribution_layer(self.classifier_, example)
        else:
            check_layers(self.classifier_.network, [self.location_layer])
            self.location_layer_ = self.location_layer

    def _fit_canvas(self, rows):
        """Settle the range of values, their spread, and the parameterization."""
        self.value_range_ = range_of_values(self.clip, rows)
        self._spread = float(rows.std()) or 1.0
        is_default = isinstance(self.parameterization, str) and self.parameterization == "pixels"
        self.canvas_ = fitted_canvas(
            Pixels(init_scale=_INIT_SCALE) if is_default else self.parameterization,
            rows,
            image_shape=canvas_shape(self.image_shape_, self.n_features_in_),
            value_range=self.value_range_,
        )

    def generate(
        self,
        y: ArrayLike | None = None,
        *,
        weights: ArrayLike | None = None,
        target: Target | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        out: str | Path | None = None,
        return_info: bool = False,
    ) -> Any:
        """Vary one reference of `fit` for each requested row, in order.

        Parameters
        ----------
        y : array-like of shape (n,), default=None
            Labels, all with references. Each row draws one of its label's by its own seed.
        weights : array-like or DataFrame of shape (n, n_classes), default=None
            Class weights that the classifier shall answer with; the reference is of the heaviest.
        target : None, default=None
            Not supported: no picture is known of a unit.
        random_state : int, RandomState instance or None, default=None
            None takes the constructor's.
        n_jobs : int or None, default=None
            Workers that share the shards, through joblib; the images have the same bits.
        out : str or Path or None, default=None
            A ``.npy`` file to write, shard by shard.
        return_info : bool, default=False
            Whether to return `info` beside the images.

        Returns
        -------
        X : ndarray of shape (n, n_features), or (n, H, W) or (n, C, H, W) as `fit` saw, float32
        info : Bunch
            Only with ``return_info=True``; as of `InputOptimizationGenerator`, with
            ``references``, the places in ``references_``, beside it.

        Raises
        ------
        ValueError
            For unknown labels, labels without a reference, and bad parameters.
        DivergenceError
            If a term is not finite at the start of any row.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        self._validate_params()
        if target is not None:
            raise ValueError(
                "ImagineSynthesizer varies pictures of a class, and has none of a unit; got "
                "target=. Ask with y= or weights=, or use InputOptimizationGenerator for units of "
                "a layer."
            )
        return super().generate(
            y,
            weights=weights,
            random_state=random_state,
            n_jobs=n_jobs,
            out=out,
            return_info=return_info,
        )

    def vary(
        self,
        X: ArrayLike,
        n_variations: int = 1,
        *,
        y: ArrayLike | None = None,
        position: ArrayLike | None = None,
        shape: ArrayLike | None = None,
        style: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        return_info: bool = False,
    ) -> Any:
        """Vary given pictures, under control.

        Pictures of another size, and those of `shape` and `style`, are cut in the middle to the
        aspect of the images of `fit` and resized to them (bilinear, antialiased).

        Parameters
        ----------
        X : array-like of shape (n, n_features), or pictures (n, H, W) or (n, C, H, W) of any size
            The references.
        n_variations : int, default=1
            Of each picture.
        y : array-like of shape (n,), default=None
            Classes of the variations; None takes what the classifier says of X.
        position : array-like of shape (H, W) or (n, H, W), default=None
            Where the object shall be (section 4.2): a map without negative values, one for all or
            one for each picture, such as `skinvert.inversion.attribution.gaussian_blob` draws. The
            first image has the object there, and eq. 5 is met there and elsewhere apart.
        shape : array-like of pictures, of any shape that X may have, default=None
            One or n pictures that give the statistics of the deepest layer (section 4.3).
        style : array-like of pictures, of any shape that X may have, default=None
            One or n pictures in whose style X is drawn (section 4.4): they give the statistics of
            all layers but the deepest and the critic's patches, and X the first image.
        random_state : int, RandomState instance or None, default=None
            None takes the constructor's.
        n_jobs : int or None, default=None
            Workers that share the shards, through joblib; the images have the same bits.
        return_info : bool, default=False
            Whether to return `info` beside the images.

        Returns
        -------
        X : ndarray of shape (n * n_variations, n_features), or as `fit` saw images, float32
            The variations of the first picture come first.
        info : Bunch
            Only with ``return_info=True``; as of `generate`.

        Raises
        ------
        ValueError
            For pictures with other channels, labels that the classifier does not know, and
            controls that do not fit.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skinvert import ImagineSynthesizer
        >>> from skinvert.inversion.attribution import gaussian_blob
        >>> X, y = load_digits(return_X_y=True)
        >>> synthesizer = ImagineSynthesizer(n_steps=(50, 0), random_state=0).fit(X[:300], y[:300])
        >>> left = gaussian_blob((8, 8), center=(4, 2), sigma=1.5)
        >>> synthesizer.vary(X[300:301], position=left).shape
        (1, 64)
        """
        check_is_fitted(self)
        self._validate_params()
        if not isinstance(n_variations, Integral) or n_variations < 1:
            raise ValueError(
                f"n_variations must be an integer of at least 1, got {n_variations!r}."
            )
        if shape is not None and style is not None:
            raise ValueError("got shape= and style=; ask for one of them at a time.")
        pictures = self._pictures(X, "X")
        n_pictures = len(pictures)
        columns = self._predicted(pictures) if y is None else columns_of(y, self.classes_)
        if len(columns) != n_pictures:
            raise ValueError(f"y has {len(columns)} labels for {n_pictures} pictures of X.")
        guides = Guides(pictures)
        if position is not None:
            self._check_location("position")
            guides.maps = position_maps(position, n_pictures)
        if shape is not None:
            guides.shapes = one_for_each(self._pictures(shape, "shape"), n_pictures, "shape")
        if style is not None:
            guides.references = one_for_each(self._pictures(style, "style"), n_pictures, "style")
            guides.starts = pictures
        repeated = np.repeat(np.arange(n_pictures), n_variations)
        return self._synthesize(
            guides[repeated], columns[repeated], random_state, n_jobs, return_info
        )

    def counterfactual(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        share: float = 0.25,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> Counterfactuals:
        """Answer why pictures are not of other classes: what would have to look otherwise.

        A region of each picture is made anew after the nearest reference of the class that is asked
        about, so that the classifier says that class (section 4.5). The region is where the
        attribution of the two classes differs most, in the picture and at the same places of the
        reference.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or pictures (n, H, W) or (n, C, H, W) of any size
        y : array-like of shape (n,)
            The classes that are asked about, all with references.
        share : float, default=0.25
            Of the pixels that the region takes, in (0, 1). All others stay as they are.
        random_state : int, RandomState instance or None, default=None
            None takes the constructor's.
        n_jobs : int or None, default=None
            Workers that share the shards, through joblib; the images have the same bits.

        Returns
        -------
        answers : Counterfactuals
            Of `skinvert.counterfactual`: the images, both masks, the probabilities of both classes
            before and after, and the share of pixels that changed.

        Raises
        ------
        ValueError
            Where the classifier says the class already, for classes without a reference, and for
            classifiers without maps.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skinvert import ImagineSynthesizer
        >>> X, y = load_digits(return_X_y=True)
        >>> synthesizer = ImagineSynthesizer(n_steps=(100, 0), random_state=0).fit(X[:300], y[:300])
        >>> answers = synthesizer.counterfactual(X[301:302], [8])  # a picture of a 7
        >>> answers.images.shape, bool(answers.changed[0] <= 0.25)
        ((1, 64), True)
        """
        check_is_fitted(self)
        self._validate_params()
        if not (isinstance(share, Real) and 0 < share < 1):
            raise ValueError(f"share must lie between 0 and 1, got {share!r}.")
        queries, wanted = self._pictures(X, "X"), columns_of(y, self.classes_)
        if len(wanted) != len(queries):
            raise ValueError(f"y has {len(wanted)} labels for {len(queries)} pictures of X.")
        before = self._probabilities(queries)
        columns = np.column_stack([before.argmax(1), wanted])
        check_questions(columns, self._reference_columns, self.classes_)
        self._check_location("counterfactual")
        places = nearest_references(
            self._deep_features(queries),
            self._deep_features(self.references_),
            wanted,
            self._reference_columns,
        )
        references = self.references_[places]
        shape = self.canvas_.image_shape_
        regions, reference_regions = find_regions(
            self.classifier_,
            self.location_layer_,
            queries.reshape(-1, *shape),
            references.reshape(-1, *shape),
            columns,
            share,
            self._resolved_batch_size(),
            self.device_,
        )
        guides = Guides(
            references,
            starts=queries,
            queries=queries,
            regions=regions,
            reference_regions=reference_regions,
        )
        images = self._synthesize(guides, wanted, random_state, n_jobs, False)
        rows = images.reshape(len(images), -1)
        return Counterfactuals(
            images=images,
            regions=regions,
            reference_regions=reference_regions,
            references=places,
            classes=self.classes_[columns],
            probabilities=np.take_along_axis(before, columns, 1),
            new_probabilities=np.take_along_axis(self._probabilities(rows), columns, 1),
            changed=changed_share(rows, queries, shape, self.value_range_),
        )

    def classify(self, X: ArrayLike) -> NDArray[Any]:
        """What the classifier says of pictures: its labels.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or pictures (n, H, W) or (n, C, H, W) of any size

        Returns
        -------
        y : ndarray of shape (n,)
        """
        check_is_fitted(self)
        return self.classes_[self._predicted(self._pictures(X, "X"))]

    def _synthesize(self, guides, columns, random_state, n_jobs, return_info):
        """One image for each row of the guides, by the shared machinery of ``generate``."""
        worker = copy.copy(self)
        worker._request = guides
        return GeneratorMixin.generate(
            worker,
            target=Target.of_columns(columns),
            random_state=random_state,
            n_jobs=n_jobs,
            return_info=return_info,
        )

    def _generate_rows(self, target, seeds, rows, batch_size, callback):
        drawn = None
        if self._request is not None:
            guides = self._request[rows]
        else:
            columns = target.matrix(len(self.classes_)).argmax(1)
            drawn = draw_references(columns, seeds, self._reference_columns, self.classes_)
            guides = Guides(self.references_[drawn])
        synthesis = self._synthesis(target, guides, batch_size)
        n_steps = sum(synthesis.schedule.n_steps)
        if callback is not None:
            whole, callback = callback, lambda n: whole(n / max(n_steps, 1))
        result = optimize(
            synthesis.problem(),
            seeds,
            batch_size=batch_size,
            n_steps=n_steps,
            optimizer=synthesis.rules(),
            device=self.device_,
            callback=callback,
        )
        result.images = synthesis.finish(result.images)
        if drawn is not None:
            result.diagnostics["references"] = drawn
        return result

    def _synthesis(self, target, guides, batch_size):
        shape = self.canvas_.image_shape_
        has_critic = self.patch_weight > 0 and min(shape[1:]) >= PatchCritic.receptive_field
        return GuidedSynthesis(
            self.classifier_,
            target,
            guides,
            canvas=self.canvas_,
            objective=self._objective(),
            layers=(self.layers_[:-1] or self.layers_) if guides.is_style else self.layers_,
            feature_weight=self.feature_weight,
            patch_weight=self.patch_weight,
            location_weight=self.location_weight,
            location_layer=self.location_layer_,
            critic=PatchCritic(shape[0]) if has_critic else None,
            window=self.critic_window,
            schedule=self._schedule(),
            stages=as_stages(self.transforms),
            batch_size=batch_size,
            device=self.device_,
        )

    def _objective(self):
        """The class, and eq. 2 in units of the references' spread, as sums over pixels."""
        per_pixel = 1 / self._spread**2
        regularization = image_terms(
            self.classifier_,
            self.canvas_.image_shape_,
            tv_weight=self.tv_weight * self.n_features_in_ * per_pixel,
            l2_weight=self.l2_weight * per_pixel,
            scale="squared",
            device=self.device_,
        )
        return Objective([("cross_entropy", CrossEntropy()), *regularization])

    def _schedule(self):
        unit = self._spread if isinstance(self.canvas_, Pixels) else 1.0
        return Schedule(
            steps_of_both(self.n_steps, self.canvas_.image_shape_[1:]),
            self.learning_rate * unit,
            critic_learning_rate=self.critic_learning_rate,
            critic_interval=self.critic_interval,
            cooldown=self.cooldown,
        )

    def _check_location(self, what):
        if self.location_layer_ is None or self.image_shape_ is None:
            raise ValueError(
                f"{what} needs images and a layer with maps; the classifier has none. Pass a "
                "convolutional network, or image_shape=."
            )

    def _pictures(self, pictures, name):
        """Rows of pictures of any size."""
        pictures, _ = flatten_images(pictures) if np.ndim(pictures) < 3 else (pictures, None)
        return fit_pictures(pictures, self.canvas_.image_shape_, name)

    def _images(self, rows):
        return torch.from_numpy(rows).to(self.device_).reshape(-1, *self.canvas_.image_shape_)

    def _probabilities(self, rows):
        return probabilities_of(self.classifier_, rows, self._resolved_batch_size(), self.device_)

    def _predicted(self, rows):
        return self._probabilities(rows).argmax(1)

    def _deep_features(self, rows):
        """What the last layer with maps says of rows, (n, d)."""
        return features_of(
            self.classifier_,
            self.location_layer_,
            rows,
            self._resolved_batch_size(),
            self.device_,
        )
