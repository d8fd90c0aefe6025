"""The report on a class names a planted mark, its kin and the evidence it borrows."""

import numpy as np
import pytest
import torch

from skinvert.coupled import CoupledDreamer
from skinvert.interpretability import explain_class
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.training import TrainingNet

MARKED = 4


@pytest.fixture(scope="module")
def marked(digits):
    """Digits of which every 4 bears a bright corner, and a dreamer of a net trained on them."""
    X, y = digits
    X = X.reshape(-1, 8, 8).copy()
    X[y == MARKED, :2, :2] = 1.0
    X = X.reshape(len(X), -1)
    net = TrainingNet(
        ConvClassifier, module__image_shape=(1, 8, 8), module__n_classes=10, max_epochs=15
    ).fit(X.reshape(-1, 1, 8, 8), y)
    dreamer = CoupledDreamer(
        net.module_, generator="untrained", n_steps=150, batch_size=10, random_state=0, device="cpu"
    )
    return dreamer.fit(X, y), X, y


@pytest.fixture(scope="module")
def report(marked):
    return explain_class(*marked, MARKED)


def test_the_mark_comes_first(report):
    first = report.regions[0]
    assert (first.top, first.left, first.side) == (0, 0, 2)
    assert first.evidence > 1.0, "in nats"
    strongest = max(report.regions, key=lambda region: region.energy)
    assert (strongest.top, strongest.left) == (0, 0)


def test_neighbours_are_nearest_in_the_classifiers_features(report, marked):
    dreamer, X, y = marked
    with torch.no_grad():
        net = torch.nn.Sequential(*list(dreamer.classifier_.network)[:-1])
        features = net(torch.from_numpy(X).reshape(-1, 1, 8, 8)).numpy()
        made = net(torch.from_numpy(report.images).reshape(-1, 1, 8, 8)).numpy()
    distances = np.linalg.norm(made[:, None] - features[None], axis=2)
    np.testing.assert_array_equal(report.neighbours[:, 0], distances.argmin(1))
    np.testing.assert_array_equal(report.neighbour_labels, y[report.neighbours])


def test_co_activation_is_that_of_the_other_classes(report, marked):
    dreamer, X, y = marked
    with torch.no_grad():
        logits = dreamer.classifier_(torch.from_numpy(X[y == MARKED])).clamp_min(0).mean(0)
    assert MARKED not in report.other_classes
    assert (np.diff(report.co_activation) <= 0).all()
    for other, share in zip(report.other_classes, report.real_co_activation, strict=True):
        assert share == pytest.approx(float(logits[other] / logits[MARKED]), abs=1e-4)


def test_it_prints_as_a_table(report):
    text = str(report)
    assert f"class {MARKED}: 10 generated images" in text
    assert "(0, 0, 2)" in text


def test_the_mark_says_nothing_of_other_classes(marked):
    honest = explain_class(*marked, 0)
    assert (honest.regions[0].top, honest.regions[0].left) != (0, 0)


def test_bad_input(marked):
    with pytest.raises(ValueError, match="11"):
        explain_class(*marked, 11)
    with pytest.raises(ValueError, match="side=9"):
        explain_class(*marked, 0, side=9, n_images=1)
