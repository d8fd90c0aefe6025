"""A differentiable student of any classifier: a small network that learned to answer like it.

Forests, boosted trees, support vector machines and nearest neighbours have no gradient, or none
worth following. Input optimisation needs a classifier that is "well approximated by a
differentiable classifier" (arXiv:2209.09210): `distill` trains one on the teacher's own answers
(Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network", arXiv:1503.02531,
section 2, at temperature 1) and says on rows that it did not learn from how well it copies.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_array
from torch import nn

__all__ = ["Distillation", "distill"]

_N_PERTURBED = 10_000  # twice as many cost twice the time and add 0.005 on digits
_N_VALUES = 2**26  # of all perturbed rows together: half a gigabyte, whatever their width
_HIDDEN = 256
_BATCH_SIZE = 256
_LEARNING_RATE = 3e-3


@dataclass(frozen=True)
class Distillation:
    """A student and how faithful it is.

    Attributes
    ----------
    module : torch.nn.Module
        Maps float32 rows of shape (n, n_features) to logits of shape (n, n_classes); in eval mode,
        its weights frozen. ``module.n_outputs`` is the number of classes.
    fidelity : float
        Share of the judged rows for which student and teacher name the same class, in [0, 1].
    n_held_out : int
        Number of rows held out to judge by; 0 where there were fewer than ten rows, so that the
        student was judged on the rows it learned from.
    classes : ndarray of shape (n_classes,)
        What the columns of the logits stand for.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skinvert.models.student import distill
    >>> teacher = KNeighborsClassifier(1).fit([[0.0], [1.0]], ["a", "b"])
    >>> student = distill(teacher, [[0.0], [1.0]], n_epochs=2, random_state=0)
    >>> student.classes.tolist(), student.n_held_out
    (['a', 'b'], 0)
    """

    module: nn.Module
    fidelity: float
    n_held_out: int
    classes: np.ndarray


def distill(
    classifier: Any,
    X: ArrayLike,
    *,
    n_epochs: int = 20,
    random_state: int | np.random.RandomState | None = None,
    device: str | torch.device = "cpu",
) -> Distillation:
    """Train a small network to answer like a fitted classifier.

    The teacher labels 80 % of the rows of X and 10,000 perturbed copies of them (fewer where rows
    have more than 6,700 features): Gaussian noise of 0 to 1 standard deviations of each feature,
    mixtures of pairs of rows, and rows with features swapped in from another row. The student, a
    multilayer perceptron on standardised rows, learns the teacher's probabilities where it has
    any, and its labels otherwise. It is blind to features that are constant in X, about which
    nothing was learned. Fidelity holds near the rows of X; far from them the two may differ.

    Parameters
    ----------
    classifier : estimator
        Fitted, with ``predict_proba`` or ``predict``. It is asked, never changed.
    X : array-like of shape (n_samples, n_features)
        Finite rows like those that the classifier was trained on, in the same units.
    n_epochs : int, default=20
        Passes over the labelled rows.
    random_state : int, RandomState instance or None, default=None
        Fixes the held-out rows, the perturbations and the training. Global random states of
        Python, NumPy and torch are not moved.
    device : str or torch.device, default="cpu"
        Where the student is trained and stays.

    Returns
    -------
    distillation : Distillation
        With the attributes ``module``, ``fidelity``, ``n_held_out`` and ``classes``. The columns
        of the logits are ``classifier.classes_``. A teacher of one class is copied by a constant.

    Raises
    ------
    TypeError
        If the classifier has neither ``predict_proba`` nor ``predict``.
    ValueError
        If ``n_epochs`` is below 1, X is empty or not finite, or the classifier does not answer
        with one distribution, or one label, a row.
    sklearn.exceptions.NotFittedError
        If the classifier is not fitted.

    Warns
    -----
    UserWarning
        If the fidelity is below 0.9.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from skinvert.models.student import distill
    >>> X, y = load_iris(return_X_y=True)
    >>> forest = RandomForestClassifier(n_estimators=10, random_state=0).fit(X, y)
    >>> distill(forest, X, n_epochs=5, random_state=0).fidelity > 0.9
    True
    """
    if not (hasattr(classifier, "predict_proba") or hasattr(classifier, "predict")):
        raise TypeError(
            f"Got {type(classifier).__name__}, which has neither predict_proba nor predict; "
            f"expected a fitted classifier."
        )
    if n_epochs < 1:
        raise ValueError(f"Got n_epochs={n_epochs}; expected an integer of at least 1.")
    known = check_array(X, dtype=np.float64)
    if isinstance(random_state, np.random.RandomState):
        random_state = random_state.randint(2**31 - 1)
    rng = np.random.default_rng(random_state)
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))

    learned, judged = _split(known, rng)
    n_perturbed = min(_N_PERTURBED, max(1_000, _N_VALUES // known.shape[1]))
    rows = np.concatenate([learned, _perturbed(learned, n_perturbed, rng)])
    classes = getattr(classifier, "classes_", None)
    if classes is None:
        classes = np.unique(_ask(classifier, "predict", rows))
    student = _Student(known, len(classes), generator).to(device)
    if len(classes) > 1:
        _train(student, rows, _answers(classifier, rows, classes), n_epochs, generator)
    student.requires_grad_(False).eval()
    fidelity = _agreement(student, judged, _answers(classifier, judged, classes))
    if fidelity < 0.9:
        warnings.warn(
            f"The student agrees with {type(classifier).__name__} on {fidelity:.1%} of the rows "
            f"judged; 90 % were expected. Images will follow the student, not the classifier: "
            f"give more rows, raise n_epochs (now {n_epochs}), or use a differentiable classifier.",
            UserWarning,
            stacklevel=2,
        )
    n_held_out = 0 if judged is learned else len(judged)
    return Distillation(student, fidelity, n_held_out, np.asarray(classes))


def _split(X, rng):
    """Rows to learn from and rows to judge by; both are all of them where there are few."""
    if len(X) < 10:
        return X, X
    order = rng.permutation(len(X))
    n_held_out = round(0.2 * len(X))
    return X[order[n_held_out:]], X[order[:n_held_out]]


def _perturbed(X, n_rows, rng):
    """Noisy, mixed and swapped copies of rows, a third each, inside the range of every feature."""
    one, other = X[rng.integers(len(X), size=(2, n_rows))]
    noisy, mixed, swapped = np.array_split(np.arange(n_rows), 3)
    one[noisy] += (
        rng.uniform(size=(len(noisy), 1))
        * X.std(axis=0)
        * rng.standard_normal((len(noisy), X.shape[1]))
    )
    share = rng.uniform(size=(len(mixed), 1))
    one[mixed] = share * one[mixed] + (1 - share) * other[mixed]
    swap = rng.uniform(size=(len(swapped), X.shape[1])) < rng.uniform(0, 0.5, (len(swapped), 1))
    one[swapped] = np.where(swap, other[swapped], one[swapped])
    return one.clip(X.min(axis=0), X.max(axis=0))


def _ask(classifier, method, rows):
    names = getattr(classifier, "feature_names_in_", None)
    if names is not None:
        # A classifier that was fitted on a DataFrame may select its columns by name.
        import pandas as pd

        rows = pd.DataFrame(rows, columns=names)
    return np.asarray(getattr(classifier, method)(rows))


def _answers(classifier, rows, classes):
    """The teacher's class probabilities, or its labels as such, of shape (n, n_classes)."""
    if hasattr(classifier, "predict_proba"):
        answers = _ask(classifier, "predict_proba", rows)
    else:
        answers = (_ask(classifier, "predict", rows)[:, None] == classes).astype(np.float64)
    if answers.shape != (len(rows), len(classes)) or not np.isfinite(answers).all():
        raise ValueError(
            f"{type(classifier).__name__} answered {len(rows)} rows with an array of shape "
            f"{answers.shape}; expected finite probabilities of shape {(len(rows), len(classes))}, "
            f"or one label a row. Classifiers of several outputs cannot be distilled."
        )
    return answers


class _Student(nn.Module):
    def __init__(self, X, n_outputs, generator):
        super().__init__()
        self.n_outputs = n_outputs
        deviation = X.std(axis=0)
        constant = deviation <= 1e-12 * np.abs(X).max(axis=0)
        gain = np.where(constant, 0, 1 / np.where(constant, 1, deviation))
        self.register_buffer("mean", torch.tensor(X.mean(axis=0), dtype=torch.float32))
        self.register_buffer("gain", torch.tensor(gain, dtype=torch.float32))
        # Smooth activations: the gradient with respect to the rows is what the student is for.
        self.layers = nn.Sequential(
            _linear(X.shape[1], _HIDDEN, generator),
            nn.SiLU(),
            _linear(_HIDDEN, _HIDDEN, generator),
            nn.SiLU(),
            _linear(_HIDDEN, n_outputs, generator),
        )
        # From equal probabilities; and a teacher of one class has its student without training.
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, rows):
        return self.layers((rows - self.mean) * self.gain)


def _linear(n_in, n_out, generator):
    # Skipped, then drawn: the constructor would draw from torch's global generator.
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def _train(student, rows, answers, n_epochs, generator):
    """Minimise the cross-entropy to the teacher's answers, the step size falling to zero."""
    device = student.mean.device
    rows = torch.tensor(rows, dtype=torch.float32, device=device)
    answers = torch.tensor(answers, dtype=torch.float32, device=device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=_LEARNING_RATE)
    n_steps = n_epochs * -(-len(rows) // _BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(n_epochs):
        for batch in torch.randperm(len(rows), generator=generator).split(_BATCH_SIZE):
            loss = nn.functional.cross_entropy(student(rows[batch]), answers[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _agreement(student, rows, answers):
    rows = torch.tensor(rows, dtype=torch.float32, device=student.mean.device)
    return float(np.mean(student(rows).argmax(dim=1).cpu().numpy() == answers.argmax(axis=1)))
