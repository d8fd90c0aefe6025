"""Whatever is passed as classifier ends as a trained, frozen one, or as an error that says why."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNet, NeuralNetClassifier
from torch import nn

from skinvert.models.frozen import FrozenClassifier
from skinvert.models.prepare import prepare_classifier

SHAPE = (1, 8, 8)
NAMES = np.array(list("jihgfedcba"))


def skorch_net(module=nn.Linear, **arguments):
    if module is nn.Linear:
        arguments = {"module__in_features": 64, "module__out_features": 10} | arguments
    return NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=8,
        train_split=None,
        verbose=0,
        **arguments,
    )


class Convolution(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10))


def accuracy(prepared, X, y):
    columns = prepared.frozen(torch.from_numpy(X)).argmax(1).numpy()
    return (prepared.classes[columns] == y).mean()


def test_none_trains_the_default(digits, global_rng_untouched):
    X, y = digits
    with global_rng_untouched():
        prepared = prepare_classifier(None, X, NAMES[y], image_shape=SHAPE)
    assert isinstance(prepared.frozen, FrozenClassifier)
    np.testing.assert_array_equal(prepared.classes, np.sort(NAMES))
    assert accuracy(prepared, X, NAMES[y]) > 0.95
    losses = prepared.history["train_loss"]
    assert losses[-1] < losses[0]


def test_none_trains_on_rows_too():
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    prepared = prepare_classifier(None, X, y, image_shape=None)
    assert accuracy(prepared, X, y) > 0.8


def test_the_seed_decides_the_default(digits):
    X, y = digits[0][:100], digits[1][:100]
    first, again, other = (
        prepare_classifier(None, X, y, image_shape=SHAPE, seed=seed).frozen for seed in (1, 1, 2)
    )
    images = torch.from_numpy(X)
    assert torch.equal(first(images), again(images))
    assert not torch.equal(first(images), other(images))


UNFITTED = {
    "logistic": LogisticRegression(max_iter=50),
    "pipeline": make_pipeline(StandardScaler(), PCA(20), LogisticRegression()),
    "neighbours": KNeighborsClassifier(3),
    "skorch": skorch_net(),
    "skorch on images": skorch_net(Convolution),
    "pipeline to skorch": make_pipeline(StandardScaler(), skorch_net()),
}


@pytest.mark.parametrize("name", UNFITTED)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_unfitted_classifiers_are_cloned_and_fitted(name, digits, global_rng_untouched):
    X, y = digits[0][:400], NAMES[digits[1][:400]]
    classifier = clone(UNFITTED[name])
    before = vars(classifier).copy()
    with global_rng_untouched():
        prepared = prepare_classifier(classifier, X, y, image_shape=SHAPE)
    assert vars(classifier).keys() == before.keys(), "the user's estimator was fitted"
    np.testing.assert_array_equal(prepared.classes, np.sort(NAMES))
    assert accuracy(prepared, X, y) > 0.9
    assert (prepared.fidelity is not None) == (name == "neighbours")
    assert ("train_loss" in prepared.history) == ("skorch" in name)


def test_a_module_is_taken_as_trained(net, digits, module_untouched):
    X, y = digits
    with module_untouched(net):
        prepared = prepare_classifier(net, X, y, image_shape=SHAPE)
    assert accuracy(prepared, X, y) > 0.95
    assert prepared.history == {}


def test_one_class_is_enough_where_nothing_is_trained(net, digits):
    X, y = digits
    prepared = prepare_classifier(net, X[y == 3], y[y == 3], image_shape=SHAPE)
    assert len(prepared.classes) == 10
    with pytest.raises(ValueError, match=r"one class, \[3\].*at least two classes"):
        prepare_classifier(None, X[y == 3], y[y == 3], image_shape=SHAPE)
    with pytest.raises(ValueError, match="one class"):
        prepare_classifier(LogisticRegression(), X[y == 3], y[y == 3], image_shape=SHAPE)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", UNFITTED)
def test_fitted_classifiers_must_be_frozen(name, digits):
    X, y = digits[0][:200], digits[1][:200].astype(np.int64)
    classifier = clone(UNFITTED[name])
    shape = (-1, *SHAPE) if name == "skorch on images" else (-1, 64)
    classifier.fit(X.reshape(shape), y)
    with pytest.raises(ValueError, match=r"already fitted.*FrozenEstimator"):
        prepare_classifier(classifier, X, y, image_shape=SHAPE)
    frozen = FrozenEstimator(classifier)
    prepared = prepare_classifier(frozen, X, y, image_shape=SHAPE)
    predictions = classifier.predict(X.reshape(shape))
    assert accuracy(prepared, X, predictions) > (0.9 if name == "neighbours" else 0.99)


def test_an_initialised_net_is_not_yet_fitted(digits):
    X, y = digits
    classifier = skorch_net().initialize()
    assert accuracy(prepare_classifier(classifier, X, y, image_shape=SHAPE), X, y) > 0.8
    taken = prepare_classifier(FrozenEstimator(classifier), X, y, image_shape=SHAPE)
    torch.testing.assert_close(
        taken.frozen(torch.from_numpy(X)), classifier.module_(torch.from_numpy(X)).detach()
    )


def test_plain_skorch_nets_serve_too(digits):
    X, y = digits
    classifier = NeuralNet(
        nn.Linear,
        module__in_features=64,
        module__out_features=10,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        max_epochs=10,
        train_split=None,
        verbose=0,
    )
    prepared = prepare_classifier(classifier, X, NAMES[y], image_shape=SHAPE)
    np.testing.assert_array_equal(prepared.classes, np.sort(NAMES))


def test_a_fold_may_lack_a_class_that_a_net_has(digits):
    X, y = digits
    kept = y != 9
    prepared = prepare_classifier(skorch_net(), X[kept], y[kept], image_shape=SHAPE)
    assert prepared.classes.tolist() == list(range(10))
    prepared = prepare_classifier(
        skorch_net(), X[kept], NAMES[y[kept]], image_shape=SHAPE, classes=NAMES
    )
    assert prepared.classes.tolist() == NAMES.tolist()
    assert accuracy(prepared, X[kept], NAMES[y[kept]]) > 0.8


def test_labels_must_fit_a_skorch_net(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"10 outputs, but y holds 9 classes.*classes="):
        prepare_classifier(skorch_net(), X[y != 9], NAMES[y[y != 9]], image_shape=SHAPE)
    with pytest.raises(ValueError, match=r"does not name: \['a'\]"):
        prepare_classifier(
            skorch_net(), X, NAMES[y], image_shape=SHAPE, classes=[*NAMES[:9], "other"]
        )


def test_adversarial_rows_are_for_the_default(net, digits):
    X, y = digits[0][:100], digits[1][:100]
    plain, robust = (
        prepare_classifier(None, X, y, image_shape=SHAPE, adversarial_radius=radius).frozen
        for radius in (0.0, 0.5)
    )
    assert not torch.equal(plain(torch.from_numpy(X)), robust(torch.from_numpy(X)))
    with pytest.raises(ValueError, match="adversarial_radius belongs to the default"):
        prepare_classifier(net, X, y, image_shape=SHAPE, adversarial_radius=0.5)


@pytest.mark.parametrize("classifier", [None, LogisticRegression(), skorch_net()])
def test_normalisation_is_for_trained_networks(classifier, digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"normalize=.*Leave normalize=None"):
        prepare_classifier(classifier, X, y, image_shape=SHAPE, normalize=(0.5, 0.5))


def test_frozen_skorch_nets_may_be_normalised(digits):
    X, y = digits
    classifier = skorch_net().fit(X, y.astype(np.int64))
    prepared = prepare_classifier(
        FrozenEstimator(classifier), X * 16, y, image_shape=SHAPE, normalize=(0.0, 16.0)
    )
    assert accuracy(prepared, X * 16, classifier.predict(X)) == 1.0


@pytest.mark.parametrize("classifier", ["logistic", 3, LogisticRegression, lambda rows: rows])
def test_what_is_no_classifier_is_refused(classifier, digits):
    with pytest.raises(TypeError, match=r"classifier must be None, a torch.nn.Module"):
        prepare_classifier(classifier, *digits, image_shape=SHAPE)


def test_the_default_does_not_depend_on_the_number_of_threads(digits):
    X, y = digits[0][:100], digits[1][:100]
    threads = torch.get_num_threads()
    answers = []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            frozen = prepare_classifier(None, X, y, image_shape=SHAPE).frozen
            answers.append(torch.cat([value.flatten() for value in frozen.state_dict().values()]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*answers)
