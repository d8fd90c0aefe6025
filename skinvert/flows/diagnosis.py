"""What tells a flow that can be inverted from one that has collapsed, in numbers."""

import copy
import warnings

import numpy as np
import torch
from scipy.stats import kstest
from sklearn.utils import Bunch

from skinvert.flows.network import FlowNetwork
from skinvert.flows.use import as_in_training, decoded, encoded

__all__ = ["diagnose", "kolmogorov_smirnov", "perturbation_gain", "warn_of_conditions"]

_ROWS_AT_ONCE = 256
_LEVEL = 0.01


def kolmogorov_smirnov(residuals, columns, n_classes):
    """How far outputs are from standard normal ones.

    Parameters
    ----------
    residuals : ndarray of shape (n, n_features)
        Latents minus the mean of their class.
    columns : ndarray of int of shape (n,)
    n_classes : int

    Returns
    -------
    distance : ndarray of shape (n_classes,)
        Kolmogorov and Smirnov's, of all values of a class; NaN for classes without rows.
    pass_rate : float
        Share of rows whose own values pass the test at the level of 0.01.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.flows.diagnosis import kolmogorov_smirnov
    >>> z = np.random.default_rng(0).normal(size=(100, 50))
    >>> distance, pass_rate = kolmogorov_smirnov(z, np.zeros(100, int), 1)
    >>> bool(distance[0] < 0.03), pass_rate > 0.95
    (True, True)
    """
    distance = np.full(n_classes, np.nan)
    for column in np.unique(columns):
        distance[column] = kstest(residuals[columns == column].ravel(), "norm").statistic
    passes = [kstest(row, "norm").pvalue > _LEVEL for row in residuals]
    return distance, float(np.mean(passes))


def perturbation_gain(flow, z, columns, size=1e-3, seed=0):
    """Root mean square by which a latent perturbation moves the inverse, a value.

    Parameters
    ----------
    flow : SquareFlow, CouplingFlow or SlicedFlow
    z : Tensor of shape (n, n_features)
        Latents, without class means where the flow is conditional.
    columns : ndarray of int of shape (n,)
    size : float, default=1e-3
        Of the perturbation: a normal draw of this standard deviation a value.
    seed : int, default=0
    """
    generator = torch.Generator().manual_seed(seed)
    moved = z + size * torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)
    squares = []
    for column in np.unique(columns):
        rows = torch.from_numpy(np.flatnonzero(columns == column)).to(z.device)
        for some in rows.split(_ROWS_AT_ONCE):
            change = flow.inverse(moved[some], int(column)) - flow.inverse(z[some], int(column))
            squares.append(change.square().mean(1))
    return float(torch.cat(squares).mean().sqrt())


@torch.no_grad()
def diagnose(classifier, X, y=None):
    """Numbers behind the paper's Figures 5 to 13.

    Parameters
    ----------
    classifier : fitted InvertibleFlowClassifier
    X : array-like of shape (n, n_features), or images
    y : array-like of shape (n,), default=None
        The predicted labels if None.

    Returns
    -------
    report : Bunch
        ``condition_numbers`` : list of float, one a block: of the square linear layers; for the
        others the spread of the scales along their axes. ``round_trip_error`` and
        ``round_trip_error_float32``: the largest difference of a value after the way to the latent
        space and back, in the units of X. ``perturbation_gain``: root mean square by which a
        perturbation of 1e-3 in the latent moves a value of the image. ``residual_mean``,
        ``residual_std``: of all latents in units of their class's spread around its mean, which
        should be 0 and 1 for rows with the noise of training on them. ``ks_distance``,
        ``ks_pass_rate``: of the same, see `kolmogorov_smirnov`. ``bits_per_dim``: mean, None where
        the data were not quantised. ``log_likelihood``: mean of log p(x).
    """
    x = classifier._standard_rows(X)
    network, seed = classifier.network_, classifier._seed
    lookup = {label: column for column, label in enumerate(classifier.classes_.tolist())}
    if y is None:
        columns = classifier._columns(X)
    else:
        unknown = sorted({str(label) for label in np.asarray(y).tolist() if label not in lookup})
        if unknown:
            raise ValueError(f"y holds labels that fit did not see: {unknown[:5]}.")
        columns = np.array([lookup[label] for label in np.asarray(y).tolist()])
    z = encoded(network, x, columns)
    back = decoded(network, z, columns)
    centres = network.means[torch.from_numpy(columns).to(z.device)]
    latents = z - centres if network.flow.conditional else z
    residuals = encoded(network, as_in_training(network, x, seed), columns)
    for column in np.unique(columns):
        own = torch.from_numpy(columns == column).to(z.device)
        residuals[own] = network.residual(residuals[own], int(column))
    distance, pass_rate = kolmogorov_smirnov(
        residuals.cpu().numpy(), columns, len(classifier.classes_)
    )
    quantised = classifier.quantization_step_ is not None
    scale = float(network.preprocessing.scale.mean())
    return Bunch(
        condition_numbers=network.flow.condition_numbers(),
        round_trip_error=float((back - x).abs().max()),
        round_trip_error_float32=_float32_error(network, x, columns),
        perturbation_gain=scale * perturbation_gain(network.flow, latents, columns),
        residual_mean=float(residuals.mean()),
        residual_std=float(residuals.std()),
        ks_distance=distance,
        ks_pass_rate=pass_rate,
        bits_per_dim=float(classifier.bits_per_dim(X).mean()) if quantised else None,
        log_likelihood=float(classifier.score_samples(X).mean()),
    )


def warn_of_conditions(network: FlowNetwork, max_condition: float) -> None:
    """Name the blocks of a square network whose inverse amplifies errors more than it may.

    Parameters
    ----------
    network : FlowNetwork
    max_condition : float

    Warns
    -----
    RuntimeWarning
        For each block above it; said of the caller of `fit`.

    Examples
    --------
    See `InvertibleFlowClassifier`, whose `fit` calls it.
    """
    for index, number in enumerate(network.flow.condition_numbers()):
        if not number <= 1.001 * max_condition:
            warnings.warn(
                f"the linear layer of block {index} has condition number {number:.3g}, above "
                f"max_condition={max_condition:g}: its inverse amplifies errors by as "
                "much. Train with objective='mle', or set linear='bounded'.",
                RuntimeWarning,
                stacklevel=4,
            )


def _float32_error(network, x, columns):
    """As the paper's own precision has it."""
    flow = copy.deepcopy(network.flow).float()
    preprocessing = network.preprocessing
    worst = 0.0
    for column in np.unique(columns):
        rows = torch.from_numpy(np.flatnonzero(columns == column)).to(x.device)
        for some in rows.split(_ROWS_AT_ONCE):
            v, _ = preprocessing(x[some])
            z, _ = flow(v.float(), int(column), with_log_det=False)
            back = preprocessing.inverse(flow.inverse(z, int(column)).double())
            worst = max(worst, float((back - x[some]).abs().nan_to_num(torch.inf).max()))
    return worst
