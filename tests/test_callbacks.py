"""Callbacks of scikit-learn 1.9 hear of every generator's `fit`; 1.8 has none."""

import pickle

import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import skinvert
from skinvert.models.fit_tasks import training_task

callback = pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")


class Listener:
    """Writes down the tasks that it hears of."""

    max_propagation_depth = None

    def __init__(self):
        self.heard = []

    def setup(self, estimator, context):
        self.heard.append("setup")

    def teardown(self, estimator, context):
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context):
        self.heard.append(("end", context.task_name, context.task_id))


@pytest.fixture
def rows(digits):
    X, y = digits
    return X[:60], y[:60]


ESTIMATORS = {
    "InputOptimizationGenerator": {},
    "CoupledDreamer": {"n_epochs": 2, "width": 4},
    "ReGene": {"n_epochs": 2, "decoder_width": 4},
    "ImagineSynthesizer": {},
    "DeepInversion": {},
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_generator_tells_its_callbacks(name, rows):
    classifier = FrozenEstimator(LogisticRegression(max_iter=50).fit(*rows))
    estimator = getattr(skinvert, name)(classifier, random_state=0, **ESTIMATORS[name])
    if name in ("ImagineSynthesizer", "DeepInversion"):
        estimator.set_params(classifier=None)
    listener = Listener()
    assert estimator.set_callbacks(listener) is estimator
    estimator.fit(*rows)
    heard = listener.heard
    assert heard[0] == "setup"
    assert heard[-1] == "teardown"
    assert heard[1][:2] == ("begin", "fit")
    assert heard[-2][:2] == ("end", "fit")
    begun = [event[1:] for event in heard[1:-1] if event[0] == "begin"]
    ended = [event[1:] for event in heard[1:-1] if event[0] == "end"]
    assert sorted(begun) == sorted(ended)


def test_epochs_are_tasks_of_the_training_of_a_flow(rows):
    listener = Listener()
    flow = skinvert.InvertibleFlowClassifier("square", n_blocks=1, max_epochs=3, random_state=0)
    flow.set_callbacks(listener).fit(*rows)
    epochs = [event for event in listener.heard if event[1] == "epoch"]
    assert epochs == [(kind, "epoch", k) for k in range(3) for kind in ("begin", "end")]
    assert ("begin", "training", 0) in listener.heard


def test_a_fit_that_fails_ends_its_callbacks(rows):
    listener = Listener()
    generator = skinvert.InputOptimizationGenerator(LogisticRegression(), clip=(1.0, 0.0))
    with pytest.raises(ValueError, match="value_range"):
        generator.set_callbacks(listener).fit(*rows)
    assert listener.heard[-1] == "teardown"
    assert not any(name.startswith("_callback") for name in vars(generator))


def test_callbacks_change_nothing(rows):
    fit = {}
    for listeners in ((), (Listener(),)):
        flow = skinvert.InvertibleFlowClassifier("square", n_blocks=1, max_epochs=2, random_state=0)
        fit[len(listeners)] = flow.set_callbacks(*listeners).fit(*rows).generate([3, 4])
    assert (fit[0] == fit[1]).all()


def test_without_callbacks_there_is_no_task(rows):
    skinvert.InputOptimizationGenerator(LogisticRegression()).fit(*rows)
    with training_task(3) as task:
        assert task is None


def test_a_search_hands_its_callbacks_down(rows):
    listener = Listener()
    generator = skinvert.InputOptimizationGenerator(
        FrozenEstimator(LogisticRegression(max_iter=50).fit(*rows)), n_steps=2, random_state=0
    )
    search = GridSearchCV(generator, {"prior_weight": [0.1, 1.0]}, cv=2, error_score="raise")
    search.set_callbacks(listener).fit(*rows)
    assert listener.heard.count("setup") == 1
    # Two candidates in two folds; the refit's task is named by the search.
    assert sum(event[:2] == ("end", "fit") for event in listener.heard) >= 5


def test_the_progress_bar_of_scikit_learn(rows, capsys):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar draws with rich")
    flow = skinvert.InvertibleFlowClassifier("square", n_blocks=1, max_epochs=3, random_state=0)
    flow.set_callbacks(callback.ProgressBar()).fit(*rows)
    shown = capsys.readouterr().out
    assert "InvertibleFlowClassifier" in shown
    assert "training" in shown


def test_the_scoring_monitor_of_scikit_learn(rows):
    monitor = callback.ScoringMonitor(scoring="accuracy")
    flow = skinvert.InvertibleFlowClassifier("square", n_blocks=1, max_epochs=3, random_state=0)
    flow.set_callbacks(monitor).fit(*rows)
    (entry,) = monitor.get_logs().data
    assert entry["accuracy"] == flow.score(*rows)


def test_fitted_estimators_with_callbacks_are_stored(rows, tmp_path):
    flow = skinvert.InvertibleFlowClassifier("square", n_blocks=1, max_epochs=1, random_state=0)
    flow.set_callbacks(Listener()).fit(*rows)
    again = pickle.loads(pickle.dumps(flow))
    assert (again.generate([1]) == flow.generate([1])).all()
    path = tmp_path / "flow.zip"
    skinvert.save(flow, path)
    assert (skinvert.load(path).generate([1]) == flow.generate([1])).all()
