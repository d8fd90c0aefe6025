"""Any arguments for any public call: a result, or an error that says what is wrong with them."""

import contextlib
import re
import signal
import warnings
import zlib

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from scipy import sparse
from subjects import data, make, network

MOST_SECONDS = 10
# Words with which errors of this library and of scikit-learn name X and y.
NAMES = (
    r"\b(X|y|Z|input|array|data|rows?|labels?|(n_)?samples?|(n_)?features?|dtype|values?|images?"
    r"|class(es)?|pictures?|targets?)\b"
)


class Hang(BaseException):
    """A call took more processor time than any of these may."""


@contextlib.contextmanager
def no_hang():
    def stop(*_):
        raise Hang(f"more than {MOST_SECONDS} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def good_rows(X, kind):
    """The same rows in every guise that is allowed."""
    readonly = X.copy()
    readonly.flags.writeable = False
    forms = [X, X.astype(np.float64), X.tolist(), np.asfortranarray(X), X[::-1][::-1], readonly]
    if kind == "image":
        forms += [X.reshape(-1, 8, 8), X.reshape(-1, 1, 8, 8)]
    else:
        forms += [pd.DataFrame(X)]
    return forms


def bad_rows(X):
    """Rows that no call can take."""
    holes, endless = X.copy(), X.copy()
    holes[0, 0], endless[0, -1] = np.nan, np.inf
    return [
        holes,
        endless,
        -endless,
        X[:0],
        X[:, :-1],
        np.hstack([X, X]),
        X[0],
        X.reshape(len(X), 1, 1, 1, -1),
        X.astype(str).astype(object)[:, :1].repeat(X.shape[1], 1) + "x",
        X + 1j,
        sparse.csr_array(X),
        None,
        3.0,
        "rows",
        [[]],
        [],
    ]


def good_labels(y):
    """The labels that the rows have, in other guises."""
    return [y, y.tolist(), y.astype(np.int8), y.astype(float), pd.Series(y), y.astype(np.uint64)]


def bad_labels(y):
    """Labels that fit no rows."""
    return [
        y[:-1],
        np.r_[y, 0],
        np.column_stack([y, y]),
        np.where(y == 0, np.nan, y),
        y + 0.5 * np.arange(len(y)),
        None,
        y[:0],
        1,
        np.eye(3)[y],
        [None] * len(y),
    ]


GOOD_REQUESTS = st.sampled_from(
    [[1], (2, 2, 2), np.arange(5) % 3, np.array([1.0, 2.0]), pd.Series([2])]
) | st.lists(st.integers(0, 2), min_size=1, max_size=6)
BAD_REQUESTS = [
    [99],
    [-1],
    ["x"],
    [None],
    [[1, 2]],
    [np.nan],
    [0.5],
    1,
    "1",
    {"y": 1},
    [[1], [2]],
    [1j],
    [0, "1"],
]
GOOD_WEIGHTS = [np.eye(3), [[1, 1, 0]], [[0.2, 0.3, 0.5]], np.ones((2, 3), dtype=int)]
BAD_WEIGHTS = [
    -np.eye(3),
    np.zeros((2, 3)),
    np.full((1, 3), np.nan),
    [[np.inf, 1, 0]],
    np.ones((2, 4)),
    np.ones(3),
    "weights",
    [["a", "b", "c"]],
    3,
]
GOOD_STATES = st.sampled_from([None, np.int64(3), np.random.RandomState(0)]) | st.integers(
    0, 2**32 - 1
)
BAD_STATES = [-1, 1.5, "seed", [0], np.nan, 2**40]
GOOD_PARAMETERS = [
    {},
    {"batch_size": 1},
    {"batch_size": 7},
    {"batch_size": "auto"},
    {"verbose": 0},
    {"clip": (0.0, 1.0)},
    {"random_state": None},
    {"random_state": np.random.RandomState(1)},
]
BAD_PARAMETERS = [
    {"batch_size": 0},
    {"batch_size": -3},
    {"batch_size": 2.5},
    {"batch_size": None},
    {"batch_size": "many"},
    {"device": "toaster"},
    {"device": 3},
    {"verbose": "loud"},
    {"random_state": "x"},
    {"random_state": -5},
    {"clip": (1.0, 0.0)},
    {"clip": (0.0,)},
    {"clip": "wide"},
    {"clip": 3},
    {"image_shape": (3, 3)},
    {"image_shape": "square"},
    {"image_shape": (0, 8)},
    {"checkpoint": 3},
    {"checkpoint": "nowhere/at/all/fit.pt"},
]


def pick(draw, good, bad):
    """One of the good, four times out of five, and whether it is."""
    if draw(st.integers(0, 4)) < 4:
        good = good if isinstance(good, st.SearchStrategy) else st.sampled_from(good)
        return draw(good), True
    return draw(st.sampled_from(bad)), False


def calls_of(estimator, kind):
    """Names of the calls, and how their arguments are drawn: (args, kwargs, all are good)."""
    whole, labels_of_all = data(kind, 24)

    def rows(draw, least=1, most=24):
        """Some of the rows, fainter, and their labels."""
        n_rows, brightness = draw(st.integers(least, most)), draw(st.floats(0.25, 1))
        X = whole[:n_rows] * np.float32(brightness)
        return *pick(draw, good_rows(X, kind), bad_rows(X)), labels_of_all[:n_rows]

    def seeded(draw, **arguments):
        """Keyword arguments from (good, bad) pools, each left out half the time."""
        kwargs, good = {}, True
        for name, pools in ({"random_state": (GOOD_STATES, BAD_STATES)} | arguments).items():
            if draw(st.booleans()):
                kwargs[name], is_good = pick(draw, *pools)
                good &= is_good
        return kwargs, good

    def generate(draw):
        kwargs, good = seeded(draw, n_jobs=([None, 1], ["many", 1.5]))
        asked = draw(st.sampled_from(["y", "y", "weights", "weights", "both", "none"]))
        if asked in ("y", "both"):
            kwargs["y"], is_good = pick(draw, GOOD_REQUESTS, BAD_REQUESTS)
            good &= is_good
        if asked in ("weights", "both"):
            kwargs["weights"], is_good = pick(draw, GOOD_WEIGHTS, BAD_WEIGHTS)
            good &= is_good
        return (), kwargs, good and asked in ("y", "weights")

    def sample(draw):
        kwargs, good = seeded(draw)
        number, is_good = pick(draw, [1, 3, np.int64(2)], [0, -1, 1.5, "2", None, [1], np.nan])
        return (number,), kwargs, good and is_good

    def of_rows(draw):
        taken, good, _ = rows(draw)
        return (taken,), {}, good

    def of_rows_and_labels(draw):
        taken, good, y = rows(draw, least=12)
        labels, is_good = pick(draw, good_labels(y), bad_labels(y))
        return (taken, labels), {}, good and is_good

    def series(draw):
        kwargs, good = seeded(draw)
        number, is_good = pick(draw, [2, 3, np.int64(4)], [1, 0, -2, 2.5, "3", None])
        ends, known = pick(draw, [(0, 2), (1, 1)], [(0, 9), ("a", 1), (None, 2), ([0], 1)])
        return ends, kwargs | {"n_images": number}, good and is_good and known

    def vary(draw):
        kwargs, good = seeded(draw, n_variations=([1, 2], [0, -1, 1.5, "2", None]))
        taken, is_good, _ = rows(draw, most=3)
        return (taken,), kwargs, good and is_good

    calls = {"generate": generate, "sample": sample, "score": of_rows_and_labels}
    name = type(estimator).__name__
    if name == "InputOptimizationGenerator":
        calls["interpolate"] = series
    if name == "ImagineSynthesizer":
        calls |= {"vary": vary, "classify": of_rows}
    if name in ("ReGene", "InvertibleFlowClassifier"):
        calls |= dict.fromkeys(["transform", "reconstruct"], of_rows)
    if name == "InvertibleFlowClassifier":
        calls |= dict.fromkeys(["predict", "predict_proba", "score_samples"], of_rows)
    return calls


def fuzz(name, kind, n_cases):
    """Draw arguments for every call of a method, and collect what is wrong.

    Returns
    -------
    counts : dict of str to Bunch-like dict
        For each call ``cases`` and ``succeeded``.
    """
    net = network(kind)
    fitted = make(name, net, kind=kind).fit(*data(kind, 60))
    counts = {}
    for call, arguments in (calls_of(fitted, kind)).items():
        counts[call] = _fuzz_call(
            lambda args, kwargs, call=call: getattr(fitted, call)(*args, **kwargs),
            arguments,
            n_cases,
            f"{name}.{call} {kind}",
        )

    def fit_arguments(draw):
        n_rows = draw(st.integers(18, 24))
        X, y = data(kind, n_rows)
        X = X * np.float32(draw(st.floats(0.25, 1)))
        taken, good = pick(draw, good_rows(X, kind), bad_rows(X)[:4] + bad_rows(X)[6:])
        labels, is_good = pick(draw, good_labels(y), bad_labels(y))
        parameters, fine = pick(draw, GOOD_PARAMETERS, BAD_PARAMETERS)
        if labels is None and name in ("ImagineSynthesizer", "DeepInversion"):
            is_good = name == "ImagineSynthesizer"
        return (taken, labels), parameters, good and is_good and fine

    def fit(args, parameters):
        return make(name, net, kind=kind, **parameters).fit(*args).generate([1])

    counts["fit"] = _fuzz_call(fit, fit_arguments, n_cases, f"{name}.fit {kind}")
    return counts


def _fuzz_call(call, arguments, n_cases, title):
    count = {"cases": 0, "succeeded": 0}

    # Draws of its own for every call, the same in every run.
    @seed(zlib.crc32(title.encode()))
    @settings(
        max_examples=n_cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def cases(drawn):
        args, kwargs, is_good = arguments(drawn.draw)
        count["cases"] += 1
        with warnings.catch_warnings(), no_hang():
            warnings.simplefilter("ignore")
            try:
                result = call(args, kwargs)
            except (ValueError, TypeError) as error:
                _check_error(error, kwargs, is_good)
                return
        count["succeeded"] += 1
        _check_result(result)

    cases()
    return count


def _check_error(error, kwargs, is_good):
    if is_good:
        raise AssertionError(f"good arguments were refused: {error}") from error
    named = [name for name in kwargs if name in str(error)]
    assert named or re.search(NAMES, str(error), re.I), f"names no argument: {error!r}"


def _check_result(result):
    parts = result if isinstance(result, tuple) else (result,)
    for part in parts:
        values = np.asarray(part)
        if values.dtype.kind == "f":
            assert np.isfinite(values).all(), "NaN or infinity came out"
