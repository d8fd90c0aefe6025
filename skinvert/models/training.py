"""How networks are trained: the one skorch net, its seed, and the devices and threads around it."""

import contextlib
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from skorch import NeuralNet
from torch import Tensor

from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.views import random_views
from skinvert.models.fit_tasks import training_task
from skinvert.models.ranks import Ranks, backward, joined_training, mean_over_ranks, own_ranks

__all__ = ["TrainingNet", "local_seed", "pinned_threads", "resolve_device"]

_THREADS_LOCK = threading.RLock()


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn "auto" into the best device at hand: cuda, then mps, then cpu.

    Parameters
    ----------
    device : str or torch.device

    Returns
    -------
    device : torch.device

    Raises
    ------
    ValueError
        If the device does not exist on this machine.

    Examples
    --------
    >>> from skinvert.models.training import resolve_device
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={device!r} cannot be used here ({reason}); expected 'auto', 'cpu', or a "
            "device that torch sees on this machine."
        ) from None
    return resolved


@contextlib.contextmanager
def local_seed(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Seed Python, NumPy and torch inside the block and put their global states back afterwards.

    Third-party training (skorch, unseeded scikit-learn estimators) draws from the global states.

    Parameters
    ----------
    seed : int
    device : torch.device or str, default="cpu"
        Its generator is fenced too where it is a CUDA device.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.training import local_seed
    >>> before = torch.get_rng_state()
    >>> with local_seed(0):
    ...     _ = torch.rand(3)
    >>> bool((torch.get_rng_state() == before).all())
    True
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with _kept_states(), torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (the global state is what is fenced)
        # torch.manual_seed would reseed every device, and only this one is fenced.
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextlib.contextmanager
def _kept_states():
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


@contextlib.contextmanager
def pinned_threads(n_threads: int) -> Iterator[None]:
    """Run the block with that many intra-op threads; one block at a time.

    Weight gradients have other bits with another number of threads, so that a network trained in
    a worker process would differ from the one trained here.

    Parameters
    ----------
    n_threads : int
    """
    with _THREADS_LOCK:
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


class TrainingNet(NeuralNet):
    """skorch's net with this library's manners.

    float32 inputs and int64 targets, seeded without touching global state, silent, no hidden
    validation split, shuffled batches, weighted rows, and, for robust classifiers, adversarial
    examples in place of the training rows.

    Parameters
    ----------
    module : type or torch.nn.Module
        The network, or its class; ``module__name`` gives the class's constructor a parameter.
    criterion : type, default=torch.nn.CrossEntropyLoss
        The loss. Rows with weights have the cross-entropy, whatever it is.
    seed : int, default=0
        Of the weights, the shuffling and the adversarial starts.
    transforms : sequence of transforms, default=()
        Of `skinvert.inversion.transforms`; every batch of images is shown under random views. A
        classifier that has seen only the training rows answers at random beside them, which is
        where a generator asks.
    adversarial_radius : float, default=0.0
        Radius ε, in the units of X, of the ℓ2 ball in which each training row is replaced by the
        worst one that `adversarial_steps` of projected gradient ascent find (Madry et al. 2018).
        Robust classifiers have gradients that look like their classes (Santurkar et al. 2019).
        Over the first third of the epochs the radius grows from zero: untrained networks that
        meet the worst rows at once can die.
    adversarial_steps : int, default=5
        Steps of the ascent, each 2.5 times the radius divided by their number.
    optimizer : type, default=torch.optim.Adam
        Class of the optimiser.
    lr : float, default=1e-3
        Its learning rate.
    max_epochs : int, default=15
        Passes over the data.
    batch_size : int, default=64
        Rows a step.
    train_split : callable or None, default=None
        As of `skorch.NeuralNet`; None holds nothing out.
    iterator_train__shuffle : bool, default=True
        Whether batches are drawn anew in every epoch.
    verbose : int, default=0
        Zero prints nothing.
    **kwargs
        As of `skorch.NeuralNet`.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.models.training import TrainingNet
    >>> net = TrainingNet(
    ...     torch.nn.Linear, module__in_features=2, module__out_features=2, lr=0.1, max_epochs=50)
    >>> X = np.array([[-1.0, 0.0], [1.0, 0.0]] * 20)
    >>> net.fit(X, np.array([0, 1] * 20)).predict(X[:2]).argmax(1).tolist()
    [0, 1]
    """

    def __init__(
        self,
        module: Any,
        criterion: Any = torch.nn.CrossEntropyLoss,
        *,
        seed: int = 0,
        transforms: Sequence[Any] = (),
        adversarial_radius: float = 0.0,
        adversarial_steps: int = 5,
        optimizer: Any = torch.optim.Adam,
        lr: float = 1e-3,
        max_epochs: int = 15,
        batch_size: int = 64,
        train_split: Any = None,
        iterator_train__shuffle: bool = True,
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        self.seed = seed
        self.transforms = transforms
        self.adversarial_radius = adversarial_radius
        self.adversarial_steps = adversarial_steps
        super().__init__(
            module,
            criterion=criterion,
            optimizer=optimizer,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            train_split=train_split,
            iterator_train__shuffle=iterator_train__shuffle,
            verbose=verbose,
            **kwargs,
        )

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, **fit_params: Any
    ) -> Self:
        """Train afresh on rows and integer targets.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Cast to float32.
        y : array-like of shape (n,)
            Cast to int64.
        sample_weight : array-like of shape (n,) or None, default=None
            Factors of the rows' losses; None weighs all alike.
        **fit_params : dict
            As of `skorch.NeuralNet.fit`.

        Returns
        -------
        self : object
        """
        X = np.asarray(X, dtype=np.float32)  # rows on a disk stay there
        y = np.array(y, dtype=np.int64)
        if sample_weight is not None:
            y = np.column_stack([y, np.asarray(sample_weight, dtype=np.float64)])
        return self.fit_whole(X, y, **fit_params)

    def fit_whole(self, X: Any, y: Any, **fit_params: Any) -> Self:
        """skorch's `fit` on what it is given, seeded, and never quietly cut short.

        Parameters
        ----------
        X, y : object
            As of `skorch.NeuralNet.fit`.
        **fit_params : dict
            As of `skorch.NeuralNet.fit`.

        Returns
        -------
        self : object

        Raises
        ------
        KeyboardInterrupt
            If the user stops it: skorch ends its training without a word, and half a network
            would be taken for a whole one.
        """
        self.stopped_ = False
        with local_seed(self.seed, self.device):
            NeuralNet.fit(self, X, y, **fit_params)
        if self.stopped_:
            raise KeyboardInterrupt("the training of a network was interrupted.")
        return self

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **fit_params: Any) -> Self:
        """skorch's loop; epochs that a checkpoint brought count among ``max_epochs``.

        Parameters
        ----------
        X : object
            As of `skorch.NeuralNet.fit`.
        y : object, default=None
            As of `skorch.NeuralNet.fit`.
        epochs : int or None, default=None
            Passes over the data; None takes what is left of ``max_epochs``.
        **fit_params : dict
            As of `skorch.NeuralNet.fit`.

        Returns
        -------
        self : object
        """
        if epochs is None:
            epochs = max(0, self.max_epochs - len(self.history))
        self.stopped_ = True
        with joined_training(self.module_, (self.seed, len(X))), training_task(epochs) as task:
            self._task = task
            try:
                super().fit_loop(X, y, epochs=epochs, **fit_params)
            finally:
                del self._task  # networks are pickled
        self.stopped_ = False
        return self

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Tell scikit-learn's callbacks.

        Parameters
        ----------
        net : TrainingNet
            This net.
        **kwargs : dict
            As skorch passes them.
        """
        super().on_epoch_begin(net, **kwargs)
        if self._task is not None:
            self._task.begin_epoch()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Tell scikit-learn's callbacks.

        Parameters
        ----------
        net : TrainingNet
            This net.
        **kwargs : dict
            As skorch passes them.
        """
        super().on_epoch_end(net, **kwargs)
        if self._task is not None:
            self._task.end_epoch()

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """skorch's data set; torch gets copies of rows that must not be written to.

        Parameters
        ----------
        X : object
            As of `skorch.NeuralNet.fit`.
        y : object, default=None
            As of `skorch.NeuralNet.fit`.

        Returns
        -------
        dataset : skorch.dataset.Dataset
        """
        dataset = super().get_dataset(X, y)
        if isinstance(X, np.ndarray) and not X.flags.writeable:
            of_row = dataset.transform
            dataset.transform = lambda row, y: of_row(row.copy(), y)
        return dataset

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """The module's answer to a batch.

        Parameters
        ----------
        x : Tensor of shape (n, ...)
            Cast to float32.
        **fit_params : dict
            Passed on to the module's ``forward``.

        Returns
        -------
        y_pred : Tensor, or a tuple of them
            Whatever the module returns.
        """
        return super().infer(torch.as_tensor(x).float(), **fit_params)

    def get_loss(
        self, y_pred: Tensor, y_true: Tensor, X: Any = None, training: bool = False
    ) -> Tensor:
        """Mean loss of a batch; weighted where `fit` got weights.

        Parameters
        ----------
        y_pred : Tensor of shape (n, n_classes)
            The module's answer.
        y_true : Tensor of shape (n,) or (n, 2)
            Labels, or labels and weights.
        X : object, default=None
            The batch's rows; not used.
        training : bool, default=False
            Whether the module learns from the loss.

        Returns
        -------
        loss : Tensor of shape ()
        """
        if y_true.ndim == 1:
            return super().get_loss(y_pred, y_true, X=X, training=training)
        labels, weights = y_true[:, 0].long(), y_true[:, 1].float().to(y_pred.device)
        losses = torch.nn.functional.cross_entropy(
            y_pred, labels.to(y_pred.device), reduction="none"
        )
        total = weights.sum()
        if own_ranks() is not None:
            total = len(weights) * mean_over_ranks(weights.mean())  # ratios of means, not means
        return (weights * losses).sum() / total.clamp_min(torch.finfo(torch.float32).tiny)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """One optimiser step, on views of the rows or on adversarial rows where asked for.

        Parameters
        ----------
        batch : tuple (X, y) of Tensor of shape (n, ...)
            As the loader returns it.
        **fit_params : dict
            Passed on to the module's ``forward``.

        Returns
        -------
        step : dict
            ``loss``, a Tensor of shape (), and ``y_pred``, the module's answer.
        """
        X, y = batch
        if self.transforms:
            noise = RowNoise(torch.randint(2**62, (len(X),)).tolist(), self.device)
            X = random_views(self.transforms, X.to(self.device), noise, value_range=None)
        if self.adversarial_radius:
            X = self._worst_rows(X.to(self.device), y)
        return super().train_step((X, y), **fit_params)

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """One backward pass, on the own rows of the batch where several ranks train.

        Parameters
        ----------
        batch : tuple (X, y) of Tensor of shape (n, ...)
            That of all ranks.
        **fit_params : dict
            Passed on to the module's ``forward`` where one process trains.

        Returns
        -------
        step : dict
            ``loss``, a Tensor of shape (), the same in all ranks, and ``y_pred``, of the own rows.
        """
        ranks = own_ranks()
        if ranks is None:
            return super().train_step_single(batch, **fit_params)
        self._set_training(True)
        loss, y_pred = self.own_loss(batch, ranks, training=True)
        trained = [p for group in self.optimizer_.param_groups for p in group["params"]]
        backward(loss, trained)
        return {"loss": mean_over_ranks(loss), "y_pred": y_pred}

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Loss of a batch; one number in all ranks, so that they stop together.

        Parameters
        ----------
        batch : tuple (X, y) of Tensor of shape (n, ...)
            That of all ranks.
        **fit_params : dict
            Passed on to the module's ``forward`` where one process trains.

        Returns
        -------
        step : dict
            ``loss``, a Tensor of shape (), and ``y_pred``, the module's answer.
        """
        ranks = own_ranks()
        if ranks is None:
            return super().validation_step(batch, **fit_params)
        self._set_training(False)
        with torch.no_grad():
            loss, y_pred = self.own_loss(batch, ranks, training=False)
        return {"loss": mean_over_ranks(loss), "y_pred": y_pred}

    def own_loss(self, batch: Any, ranks: Ranks, training: bool) -> tuple[Tensor, Any]:
        """Mean loss of the rows that are dealt to this rank, and the answer to them.

        Parameters
        ----------
        batch : tuple (X, y) of Tensor of shape (n, ...)
            That of all ranks.
        ranks : Ranks
            Of `skinvert.models.ranks`; the processes that train.
        training : bool
            Whether the module learns from the loss.

        Returns
        -------
        loss : Tensor of shape ()
        y_pred : Tensor, or a tuple of them
            Whatever the module returns for the own rows.
        """
        X, y = batch
        own = ranks.deal(len(X))
        X, y = X[own], _cut(y, own)
        y_pred = self.infer(X)
        return self.get_loss(y_pred, y, X=X, training=training), y_pred

    def _worst_rows(self, X, y):
        """ℓ2 projected gradient ascent on the loss, from the rows themselves."""
        worst = X.clone()
        radius = self.adversarial_radius * min(1.0, 3 * len(self.history) / self.max_epochs)
        step = 2.5 * radius / self.adversarial_steps
        for _ in range(self.adversarial_steps):
            worst.requires_grad_()
            loss = self.get_loss(self.infer(worst), y, training=False)
            (gradient,) = torch.autograd.grad(loss, worst)
            moved = worst.detach() + step * _unit_rows(gradient) - X
            shrink = (radius / moved.flatten(1).norm(dim=1).clamp_min(radius)).reshape(
                -1, *[1] * (X.ndim - 1)
            )
            worst = X + moved * shrink
        return worst.detach()


def _cut(y, rows):
    return tuple(_cut(part, rows) for part in y) if isinstance(y, (tuple, list)) else y[rows]


def _unit_rows(rows):
    norms = rows.flatten(1).norm(dim=1).clamp_min(1e-12)
    return rows / norms.reshape(-1, *[1] * (rows.ndim - 1))
