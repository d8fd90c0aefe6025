"""What callbacks of scikit-learn 1.9 hear of a `fit`: its start and end, and every epoch between.

With scikit-learn 1.8, which has no callbacks, nothing here does anything.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn 1.8

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for scikit-learn's."""

    with_callbacks = None

__all__ = ["CallbackSupportMixin", "TrainingTask", "fit_with_callbacks", "training_task"]

_FIT: ContextVar[tuple[Any, Any] | None] = ContextVar("skinvert_fit", default=None)


def fit_with_callbacks(fit: Callable) -> Callable:
    """Decorate a `fit` so that the callbacks which were set on the estimator hear of it.

    They are called at its start and at its end, and before and after every epoch in which it
    trains a network. Requests to stop are not followed: half a training is no result.

    Parameters
    ----------
    fit : callable ``(self, X, y) -> self``

    Returns
    -------
    fit : callable
    """
    if with_callbacks is None:
        return fit

    def heard(self, *args, **kwargs):
        if not (hasattr(self, "_skl_callbacks") or hasattr(self, "_parent_callback_ctx")):
            return fit(self, *args, **kwargs)
        X, y = (*args, None, None)[:2]
        data = {"X": kwargs.get("X", X), "y": kwargs.get("y", y)}
        # How many networks a fit trains depends on the data.
        context = self._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=self, **data)
        token = _FIT.set((self, context))
        try:
            fitted = fit(self, *args, **kwargs)
        finally:
            _FIT.reset(token)
        context.call_on_fit_task_end(estimator=self, **data, reconstruction_attributes=dict)
        return fitted

    return with_callbacks(heard)


class TrainingTask:
    """One training of a network among the tasks of a `fit`.

    Parameters
    ----------
    estimator : estimator
        Whose `fit` it is.
    context : CallbackContext
        Of the training.
    """

    def __init__(self, estimator: Any, context: Any) -> None:
        self.estimator, self.context = estimator, context
        self._epoch: Any = None

    def begin_epoch(self) -> None:
        """Tell the callbacks that an epoch starts."""
        self._epoch = self.context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(estimator=self.estimator)

    def end_epoch(self) -> None:
        """Tell the callbacks that it is over."""
        self._epoch.call_on_fit_task_end(estimator=self.estimator)


def training_task(n_epochs: int) -> AbstractContextManager[TrainingTask | None]:
    """The task of a training, from its start to its end; None where no callback listens.

    Parameters
    ----------
    n_epochs : int
        At most.

    Returns
    -------
    task : context manager of TrainingTask or None

    Examples
    --------
    >>> from skinvert.models.fit_tasks import training_task
    >>> with training_task(3) as task:
    ...     print(task)
    None
    """
    current = _FIT.get()
    return nullcontext() if current is None or n_epochs < 1 else _told(*current, n_epochs)


@contextmanager
def _told(estimator, whole, n_epochs) -> Iterator[TrainingTask]:
    context = whole.subcontext(task_name="training", max_subtasks=n_epochs)
    context.call_on_fit_task_begin(estimator=estimator)
    yield TrainingTask(estimator, context)
    context.call_on_fit_task_end(estimator=estimator)
