"""A report catches the generators that cheat, sees this classifier, and repeats itself exactly."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import LinearSVC

from skinvert import InputOptimizationGenerator
from skinvert.metrics import authenticity, judge_accuracy, judge_confidence
from skinvert.metrics.evaluation import compare, evaluate
from skinvert.metrics.extractors import NeutralJudge
from skinvert.models.classifiers import DenseClassifier
from skinvert.models.training import TrainingNet

N_PER_CLASS, N_COMPARED = 20, 50
COMPARED = ["judge_accuracy", "cas_ratio", "fd", "kid", "mind", "coverage", "mode_coverage"]
COMPARED += ["diversity", "authenticity", "nearest_distance_ratio"]
CAS_JUDGE = KNeighborsClassifier(3)
CORNER = [0, 1, 8, 9]  # pixels that are dark in nearly every digit


class Copycat(BaseEstimator):
    """Gives back the rows that it was fitted on, each once while they last."""

    def fit(self, X, y):
        self.X_, self.y_ = X, y
        return self

    def generate(self, y, random_state=None):
        rng = np.random.default_rng(random_state)
        shuffled = rng.permutation(len(self.y_))
        rows = np.empty((len(y), self.X_.shape[1]), dtype=np.float32)
        for label in np.unique(y):
            own = shuffled[self.y_[shuffled] == label]
            rows[y == label] = self.X_[np.resize(own, np.sum(y == label))]
        return rows


class MeanImage(Copycat):
    def generate(self, y, random_state=None):
        return np.array([self.X_[self.y_ == label].mean(0) for label in y])


class Gaussian(Copycat):
    """One Gaussian a class: what an honest simple generator does."""

    def generate(self, y, random_state=None):
        rng = np.random.default_rng(random_state)
        rows = np.empty((len(y), self.X_.shape[1]))
        for label in np.unique(y):
            own = self.X_[self.y_ == label]
            covariance = np.cov(own, rowvar=False) + 1e-3 * np.eye(own.shape[1])
            asked = y == label
            rows[asked] = rng.multivariate_normal(own.mean(0), covariance, size=asked.sum())
        return rows.clip(0, 1)


class Attack(Copycat):
    """Rows of other classes that targeted gradient steps turn into the label, for one net."""

    def __init__(self, net=None):
        self.net = net

    def generate(self, y, random_state=None):
        rng = np.random.default_rng(random_state)
        others = [rng.choice(np.flatnonzero(self.y_ != label)) for label in y]
        rows, target = torch.from_numpy(self.X_[others]), torch.as_tensor(y)
        for _ in range(150):
            rows.requires_grad_()
            logits = self.net(rows)
            loss = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, rows)
            unsure = logits.softmax(1)[torch.arange(len(y)), target] < 0.9
            rows = (rows.detach() - 0.01 * unsure[:, None] * gradient.sign()).clamp(0, 1)
        return rows.numpy()


@pytest.fixture(scope="module")
def parts():
    """Training, judge and test rows of the digits."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return [(X[rows], y[rows]) for rows in (slice(600), slice(600, 1000), slice(1200, None))]


@pytest.fixture(scope="module")
def judge(parts):
    return NeutralJudge(device="cpu").fit(*parts[1])


@pytest.fixture(scope="module")
def inverted(parts):
    """A net trained without a thought, which will be attacked."""
    X, y = parts[0]
    moments = {"module__mean": X.mean(0), "module__scale": X.std(0)}
    net = TrainingNet(
        DenseClassifier, module__n_features=64, module__n_classes=10, max_epochs=20, **moments
    )
    return net.fit(X, y).module_.eval()


@pytest.fixture(scope="module")
def report(parts, judge):
    """What `evaluate` says of a generator, on the same work for all."""

    def make(generator, **arguments):
        (X, y), _, test = parts
        settings = {"n_per_class": N_PER_CLASS, "cas_judge": CAS_JUDGE, "judge": judge}
        settings |= {"X_train": X, "y_train": y} | arguments
        return evaluate(generator, *test, **settings)

    return make


@pytest.fixture(scope="module")
def comparison(parts, judge, inverted):
    (X, y), _, test = parts
    generators = {
        "gaussian": Gaussian(),
        "copycat": Copycat(),
        "mean image": MeanImage(),
        "attack": Attack(inverted),
    }
    return compare(
        {name: generator.fit(X, y) for name, generator in generators.items()},
        *test,
        judge=judge,
        n_per_class=N_COMPARED,
        metrics=COMPARED,
        X_train=X,
        y_train=y,
        cas_judge=CAS_JUDGE,
        n_bootstrap=10,
    )


def values(evaluation):
    return {name: found[:5] for name, found in evaluation.figures.items()}


def test_a_copycat_has_the_best_distances_and_is_caught_by_memorisation(comparison, judge, parts):
    copies = comparison["copycat"].figures
    for name in ("fd_judge", "mind", "kid"):
        assert copies[name].low <= copies[name].floor <= copies[name].high
    assert copies["judge_accuracy"].value == pytest.approx(judge.score(*parts[0]), abs=0.05)
    assert copies["authenticity"].value == 0 < 0.5 < copies["authenticity"].floor
    assert copies["nearest_distance_ratio"].value == 0
    assert copies["nearest_distance_ratio"].floor == pytest.approx(1, abs=0.2)


def test_a_mean_image_is_caught_by_diversity(comparison):
    means = comparison["mean image"].figures
    assert means["judge_accuracy"].value > 0.9
    assert means["diversity"].value == pytest.approx(0, abs=1e-6)
    assert means["diversity"].high < 0.1 < 0.9 < means["diversity"].floor
    assert means["mode_coverage"].value < 0.3 < means["mode_coverage"].floor
    assert means["coverage"].high < means["coverage"].floor


def test_adversarial_noise_is_caught_by_the_judge(comparison, inverted, parts):
    y = np.repeat(np.arange(10), N_COMPARED)
    images = Attack(inverted).fit(*parts[0]).generate(y, random_state=0)
    with torch.no_grad():
        answers = inverted(torch.from_numpy(images)).argmax(1).numpy()
    assert np.mean(answers == y) > 0.99, "the inverted classifier is convinced"
    found = comparison["attack"].figures
    assert found["judge_accuracy"].high < 0.2 < 0.9 < found["judge_accuracy"].floor
    assert found["cas_ratio"].high < 0.3


def test_an_honest_generator_beats_the_cheats(comparison):
    figures = {name: evaluation.figures for name, evaluation in comparison.items()}
    honest = figures["gaussian"]
    assert honest["authenticity"].low > 0.5
    assert honest["diversity"].value == pytest.approx(1, abs=0.15)
    assert honest["fd_judge"].value < figures["mean image"]["fd_judge"].low
    assert honest["cas_ratio"].value > 0.9
    assert all(found["cas_ratio"].floor == 1 for found in figures.values())


def test_floors_are_the_same_for_all_that_are_compared(comparison, report, parts):
    floors = [
        {name: found.floor for name, found in evaluation.figures.items()}
        for evaluation in comparison.values()
    ]
    assert all(floor == floors[0] for floor in floors)
    alone = report(
        Gaussian().fit(*parts[0]), n_per_class=N_COMPARED, n_bootstrap=10, metrics=COMPARED
    )
    assert values(alone) == values(comparison["gaussian"])


def test_the_same_evaluation_twice_is_equal_to_the_last_digit(parts, judge, report):
    # With everything that draws: the generator, the network behind the default CAS, resampling.
    generator = InputOptimizationGenerator(
        LogisticRegression(max_iter=300), random_state=0, device="cpu"
    ).fit(*parts[0])
    arguments = {"n_per_class": 10, "n_bootstrap": 10}
    first, second = (report(generator, cas_judge=None, **arguments) for _ in range(2))
    assert values(first) == values(second)
    other = report(generator, metrics=["mind"], random_state=1, **arguments)
    assert other.figures["mind"].value != first.figures["mind"].value


def test_floors_from_fewer_rows_are_said(report, parts):
    generator = Gaussian().fit(*parts[0])
    few = [report(generator, n_per_class=n, metrics=["precision"]).notes for n in (20, 100)]
    assert few[0] == []
    assert "from 600 real rows" in few[1][0]


def test_figures_are_those_of_the_plain_functions(report, parts, judge):
    (X, y), _, (X_test, y_test) = parts
    generator = Gaussian().fit(X, y)
    names = ["judge_accuracy", "judge_confidence", "cas", "cas_ratio"]
    figures = report(generator, random_state=5, metrics=names).figures
    asked = np.repeat(np.arange(10), N_PER_CLASS)
    images = generator.generate(asked, random_state=5).astype(np.float32)
    assert figures["judge_accuracy"].value == judge_accuracy(judge, images, asked)
    assert figures["judge_accuracy"].floor == judge_accuracy(judge, X_test, y_test)
    confidence = judge_confidence(judge, images, asked)
    assert figures["judge_confidence"].value == pytest.approx(confidence, rel=1e-6)
    assert figures["authenticity"].value == authenticity(images, X)
    assert figures["authenticity"].floor == authenticity(X_test, X)
    cas = CAS_JUDGE.fit(images, asked).score(X_test, y_test)
    assert figures["cas"].value == cas
    assert figures["cas_ratio"].value == cas / figures["cas"].floor
    assert figures["cas"].n == len(asked)


def test_real_rows_score_their_own_floor(report, parts):
    """Fresh real rows in the place of generated ones lie within four half-widths of the floor."""
    X_other, y_other = parts[1]
    real = Copycat().fit(X_other, y_other)
    names = ["fd", "mind", "kid", "precision", "density", "diversity", "authenticity"]
    for name, found in report(real, n_per_class=50, metrics=names).figures.items():
        half_width = (found.high - found.low) / 2
        assert abs(found.value - found.floor) < 4 * half_width + 0.02, name


def test_intervals_are_as_wide_as_the_draws_differ(parts, judge):
    """Over independent draws of a generator, most figures fall into the first draw's interval."""
    generator = Gaussian().fit(*parts[0])
    names = ["judge_accuracy", "judge_confidence", "fd", "diversity"]
    evaluations = [
        evaluate(
            generator, *parts[2], judge=judge, n_per_class=30, metrics=names, random_state=seed
        )
        for seed in range(8)
    ]
    for name in ("judge_accuracy", "judge_confidence", "fd_judge", "diversity"):
        drawn = np.array([evaluation.figures[name].value for evaluation in evaluations])
        widths = [evaluation.figures[name] for evaluation in evaluations]
        errors = np.array([(found.high - found.low) / 3.92 for found in widths])
        assert 0.4 < drawn.std(ddof=1) / errors.mean() < 2.2, name


def test_the_classifier_shows_in_what_it_generates(parts):
    """Two classifiers with different planted biases; a density that knows no labels."""
    X, y = parts[0]
    rng = np.random.default_rng(0)
    anywhere = _with_mark(X, rng.random(len(X)) < 0.3)

    def corners(marked_class, seed):
        """Brightness of the corner, for class 3 and with its sign changed for class 7."""
        classifier = LogisticRegression(max_iter=500).fit(_with_mark(X, y == marked_class), y)
        generator = InputOptimizationGenerator(
            FrozenEstimator(classifier), random_state=seed, device="cpu"
        ).fit(anywhere, y)
        asked = np.repeat([3, 7], 15)
        return np.where(asked == 3, 1, -1) * generator.generate(asked)[:, CORNER].mean(1)

    on_three, on_seven, on_three_again = corners(3, 0), corners(7, 0), corners(3, 1)
    assert _permutation_p(on_three, on_seven) < 0.001
    assert _permutation_p(on_three, on_three_again) > 0.05
    assert on_three.mean() > 0 > on_seven.mean()


def _with_mark(X, rows):
    X = X.copy()
    X[np.ix_(np.flatnonzero(rows), CORNER)] = 1
    return X


def _permutation_p(first, second, n_permutations=4999):
    """Two-sided p-value of the difference of means, for labels that mean nothing."""
    pooled, rng = np.concatenate([first, second]), np.random.default_rng(0)
    shuffled = np.array([rng.permutation(pooled) for _ in range(n_permutations)])
    differences = shuffled[:, : len(first)].mean(1) - shuffled[:, len(first) :].mean(1)
    extreme = np.abs(differences) >= np.abs(first.mean() - second.mean()) - 1e-12
    return (1 + extreme.sum()) / (1 + n_permutations)


def test_pipelines_and_searches_are_measured_in_the_units_of_the_rows(parts, judge):
    (X, y), _, test = parts
    pipeline = make_pipeline(
        MinMaxScaler((-1, 1)),
        InputOptimizationGenerator(LogisticRegression(max_iter=300), random_state=0),
    )
    search = GridSearchCV(
        pipeline,
        {"inputoptimizationgenerator__prior_weight": [0.03]},
        cv=StratifiedKFold(2),
        error_score="raise",
    ).fit(X[:200], y[:200])
    found = evaluate(search, *test, judge=judge, n_per_class=10, metrics=["judge_accuracy"])
    assert found.figures["judge_accuracy"].value > 0.6


def test_any_fitted_transformer_extracts_and_images_may_have_axes(parts, judge, report):
    (X, y), _, (X_test, y_test) = parts
    pca = make_pipeline(MinMaxScaler(), PCA(20, random_state=0)).fit(X_test)
    generator = Gaussian().fit(X, y)
    found = report(generator, extractor=pca, metrics=["fd"])
    assert list(found.figures) == ["fd_pca", "diversity", "authenticity"]
    as_images = evaluate(
        generator,
        X_test.reshape(-1, 1, 8, 8),
        y_test,
        judge=judge,
        n_per_class=N_PER_CLASS,
        X_train=X.reshape(-1, 8, 8),
        y_train=y,
        extractor=pca,
        metrics=["fd"],
    )
    assert values(as_images) == values(found)


def test_what_cannot_be_had_is_said(parts, judge):
    (X, y), _, test = parts
    generator = Gaussian().fit(X, y)
    arguments = {"n_per_class": 10, "cas_judge": CAS_JUDGE}
    judge = LinearSVC().fit(*parts[1])
    found = evaluate(generator, *test, judge=judge, **arguments)
    assert np.isnan(found.figures["authenticity"].value)
    assert np.isnan(found.figures["fd"].value)
    assert np.isnan(found.figures["inception_score"].value)
    assert found.figures["cas"].value > 0.5
    for expected in ("X_train=", "extractor=", "predict_proba"):
        assert any(expected in note for note in found.notes)
        assert expected in str(found)
    for name in ("fd", "nearest_distance_ratio", "judge_confidence"):
        with pytest.raises(ValueError, match=f"{name}' cannot be had"):
            evaluate(generator, *test, judge=judge, metrics=[name], **arguments)


def test_the_report_prints_and_converts(comparison, report, parts):
    found = report(Gaussian().fit(*parts[0]), metrics="judge_accuracy")
    lines = str(found).splitlines()
    assert lines[0].startswith("200 generated images")
    assert [line.split()[0] for line in lines[4:]] == list(found.figures)
    assert len({len(line) for line in lines[2:]}) == 1, "columns are aligned"
    frame = found.to_frame()
    assert frame.loc["judge_accuracy", "value"] == found.figures["judge_accuracy"].value
    assert frame.columns.tolist() == ["value", "floor", "low", "high", "n", "seconds"]
    whole = comparison.to_frame()
    assert whole.loc[("copycat", "authenticity"), "value"] == 0
    assert all(name in str(comparison).splitlines()[2] for name in comparison)
    again = pickle.loads(pickle.dumps(comparison))
    assert str(again) == str(comparison)


class Broken(Copycat):
    def generate(self, y, random_state=None):
        return np.full((len(y), 64), np.nan)


class Narrow(Copycat):
    def generate(self, y, random_state=None):
        return np.zeros((len(y), 32))


@pytest.mark.parametrize(
    ("generator", "changes", "kind", "message"),
    [
        (LogisticRegression(), {}, TypeError, "has no generate"),
        (Broken(), {}, ValueError, "holds NaN"),
        (Narrow(), {}, ValueError, "rows of 32 values"),
        (Gaussian(), {"n_per_class": 5}, ValueError, "at least 10"),
        (Gaussian(), {"n_per_class": 2.5}, ValueError, "must be an integer"),
        (Gaussian(), {"n_bootstrap": 0}, ValueError, "n_bootstrap"),
        (Gaussian(), {"random_state": None}, ValueError, "random_state"),
        (Gaussian(), {"metrics": ["fid"]}, ValueError, "unknown metrics"),
        (Gaussian(), {"y_train": None}, ValueError, "without y_train"),
        (Gaussian(), {"X_train": np.zeros((600, 9))}, ValueError, "9 wide"),
        (Gaussian(), {"y_train": np.zeros(600, dtype=int)}, ValueError, "lacks the classes"),
        (Gaussian(), {"judge": LogisticRegression()}, ValueError, "not fitted"),
    ],
)
def test_bad_requests_are_refused(generator, changes, kind, message, report, parts):
    with pytest.raises(kind, match=message):
        report(generator.fit(*parts[0]), **changes)


def test_bad_rows_are_refused(parts, judge):
    X_test, y_test = parts[2]
    generator = Gaussian().fit(*parts[0])
    with pytest.raises(ValueError, match="X_test holds NaN"):
        evaluate(generator, np.full_like(X_test, np.nan), y_test, judge=judge)
    with pytest.raises(ValueError, match="y_test has shape"):
        evaluate(generator, X_test, y_test[:-1], judge=judge)
    lonely = np.append(np.flatnonzero(y_test != 4), np.flatnonzero(y_test == 4)[0])
    with pytest.raises(ValueError, match=r"1 row of each of the classes \[4\]"):
        evaluate(generator, X_test[lonely], y_test[lonely], judge=judge)
    X, y = parts[1]
    blind = LogisticRegression(max_iter=300).fit(X[y != 4], y[y != 4])
    with pytest.raises(ValueError, match=r"knows no class \[4\]"):
        evaluate(generator, X_test, y_test, judge=blind)
    with pytest.raises(TypeError, match="dict of names"):
        compare([generator], X_test, y_test, judge=judge)
