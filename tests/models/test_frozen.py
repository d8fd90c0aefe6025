"""A frozen classifier answers as its original does, and the original never notices."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn
from torchvision.models import VisionTransformer

from skinvert.models.frozen import FrozenClassifier, as_logits, freeze

SHAPE = (1, 8, 8)


def seeded(make):
    """A module made with torch's seed 0, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


def images_of(rows):
    return torch.from_numpy(rows).reshape(-1, *SHAPE)


@pytest.fixture
def rows(digits):
    return digits[0]


def test_a_module_is_copied_and_answers_alike(net, rows, module_untouched):
    with module_untouched(net):
        frozen, classes, fidelity = freeze(net, rows, image_shape=SHAPE)
        logits = frozen(torch.from_numpy(rows))
    with torch.no_grad():
        torch.testing.assert_close(logits, net(images_of(rows)), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(classes, np.arange(10))
    assert fidelity is None
    ours = {tensor.data_ptr() for tensor in frozen.state_dict().values()}
    assert not ours & {tensor.data_ptr() for tensor in net.state_dict().values()}


def test_the_copy_is_frozen_and_asleep(rows):
    def make():
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 3)
        )

    net = seeded(make).train()
    net[1].weight.requires_grad_(False)
    net[4](torch.zeros(1, 16)).sum().backward()
    frozen, _, _ = freeze(net, rows, image_shape=SHAPE)
    assert net.training, "the user's flag stays"
    assert not any(module.training for module in frozen.modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    before = copy.deepcopy(frozen.state_dict())
    variable = torch.from_numpy(rows[:5]).requires_grad_()
    torch.autograd.grad(frozen(variable).sum(), variable)
    for name, value in frozen.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} moved during a pass"


def test_images_and_rows_are_one(net, rows):
    frozen, _, _ = freeze(net, rows, image_shape=SHAPE)
    assert torch.equal(frozen(torch.from_numpy(rows)), frozen(images_of(rows)))


@pytest.mark.parametrize(
    ("make", "layout"),
    [
        (lambda: nn.Linear(64, 10), (64,)),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), None),
        (lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(108, 10)), SHAPE),
        # A recurrent net reads an image line by line.
        (lambda: Recurrent(), (8, 8)),
    ],
    ids=["rows", "either", "images", "lines"],
)
def test_the_layout_is_the_networks_own(make, layout, rows):
    net = seeded(make)
    image_shape = SHAPE if layout != (8, 8) else (8, 8)
    frozen, classes, _ = freeze(net, rows, image_shape=image_shape)
    assert len(classes) == 10
    if layout is not None:
        assert frozen.input_shape == layout
        with torch.no_grad():
            expected = net(torch.from_numpy(rows).reshape(-1, *layout))
        torch.testing.assert_close(frozen(torch.from_numpy(rows)), expected, rtol=1e-4, atol=1e-5)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lines, self.scores = nn.GRU(8, 12, batch_first=True), nn.Linear(12, 10)

    def forward(self, images):
        return self.scores(self.lines(images)[0][:, -1])


def test_the_slope_is_the_originals(net, rows):
    frozen, _, _ = freeze(net, rows, image_shape=SHAPE)
    ours, theirs = images_of(rows[:6]).requires_grad_(), images_of(rows[:6]).requires_grad_()
    (our_slope,) = torch.autograd.grad(frozen(ours)[:, 3].sum(), ours)
    (their_slope,) = torch.autograd.grad(net(theirs)[:, 3].sum(), theirs)
    torch.testing.assert_close(our_slope, their_slope, rtol=1e-3, atol=1e-4)


def test_folded_batch_normalisation_answers_alike():
    def make():
        return nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 6, 3, bias=False),
            nn.BatchNorm2d(6),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 4),
        )

    net = seeded(make)
    with torch.no_grad():
        for norm in (net[1], net[4]):
            norm.running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
            norm.running_var.uniform_(0.1, 3, generator=torch.Generator().manual_seed(1))
            norm.weight.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    frozen = FrozenClassifier(copy.deepcopy(net), (3, 9, 9))
    images = torch.randn(5, 3, 9, 9, generator=torch.Generator().manual_seed(3))
    folded = frozen._fast_network()
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in frozen.network.modules())
    torch.testing.assert_close(frozen(images), net(images), rtol=1e-4, atol=1e-4)
    # Where activations are read the network stays whole.
    logits, activations = frozen.with_activations(images, ["1"])
    torch.testing.assert_close(logits, frozen(images), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(activations["1"], net[:2](images), rtol=1e-4, atol=1e-4)


def test_a_network_that_cannot_be_traced_is_not_folded(rows):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
            self.scores = nn.Linear(144, 3)

        def forward(self, images):
            maps = self.features(images)
            return self.scores((maps if images.sum() > 0 else -maps).flatten(1))

    net = seeded(Branching)
    frozen, _, _ = freeze(net, rows, image_shape=SHAPE)
    torch.testing.assert_close(
        frozen(torch.from_numpy(rows)), net(images_of(rows)), rtol=1e-4, atol=1e-4
    )


def test_a_vision_transformer_works(rows, module_untouched):
    def make():
        return VisionTransformer(
            image_size=8,
            patch_size=4,
            num_layers=2,
            num_heads=2,
            hidden_dim=16,
            mlp_dim=32,
            num_classes=5,
        )

    net = seeded(make)
    nn.init.normal_(net.heads.head.weight, generator=torch.Generator().manual_seed(0))
    colour = np.repeat(rows, 3, axis=0).reshape(len(rows), -1)
    with module_untouched(net):
        frozen, classes, _ = freeze(net, colour, image_shape=(3, 8, 8))
        variable = torch.from_numpy(colour[:4]).requires_grad_()
        logits = frozen(variable)
        (slope,) = torch.autograd.grad(logits[:, 2].sum(), variable)
    assert len(classes) == 5
    assert slope.abs().amax(1).min() > 0
    with torch.no_grad():
        expected = net(torch.from_numpy(colour[:4]).reshape(-1, 3, 8, 8))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


# What networks answer


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (nn.Identity(), "logits"),
        (nn.Softmax(dim=1), "probabilities"),
        # Independent probabilities do not sum to one; they are taken for scores.
        (nn.Sigmoid(), "logits"),
        (nn.LogSoftmax(dim=1), "logits"),
    ],
    ids=["logits", "softmax", "sigmoids", "log-softmax"],
)
def test_the_kind_of_outputs_is_detected(last, kind, net, rows):
    frozen, _, _ = freeze(nn.Sequential(net, last), rows, image_shape=SHAPE)
    assert frozen.outputs == kind


def test_probabilities_have_the_logits_they_came_from(net, rows):
    plain, _, _ = freeze(net, rows, image_shape=SHAPE)
    soft, _, _ = freeze(nn.Sequential(net, nn.Softmax(dim=1)), rows, image_shape=SHAPE)
    images = torch.from_numpy(rows[:50])
    torch.testing.assert_close(
        torch.softmax(soft(images), 1), torch.softmax(plain(images), 1), rtol=1e-4, atol=1e-6
    )


def test_the_user_says_what_the_outputs_are(net, rows):
    soft = nn.Sequential(net, nn.Softmax(dim=1))
    frozen, _, _ = freeze(soft, rows, image_shape=SHAPE, outputs="logits")
    with torch.no_grad():
        torch.testing.assert_close(
            frozen(torch.from_numpy(rows)), soft(images_of(rows)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("squeezed", [False, True])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_one_output_is_the_second_of_two_classes(squeezed, sigmoid, rows):
    layers = [nn.Linear(64, 1)]
    if sigmoid:
        layers.append(nn.Sigmoid())
    if squeezed:
        layers.append(nn.Flatten(0))
    net = seeded(lambda: nn.Sequential(*layers))
    nn.init.normal_(layers[0].weight, generator=torch.Generator().manual_seed(0))
    frozen, classes, _ = freeze(net, rows)
    assert classes.tolist() == [0, 1]
    assert frozen.outputs == ("probabilities" if sigmoid else "logits")
    images = torch.from_numpy(rows[:20])
    probability = torch.sigmoid(net[0](images))[:, 0]
    torch.testing.assert_close(torch.softmax(frozen(images), 1)[:, 1], probability)


def test_as_logits_keeps_a_slope_where_a_probability_vanished():
    answer = torch.tensor([[0.0, 1.0]], requires_grad=True)
    logits = as_logits(answer, "probabilities")
    assert logits.isfinite().all()
    (slope,) = torch.autograd.grad(logits[0, 0], answer)
    assert slope[0, 0] > 0


# Other classifiers


@pytest.mark.parametrize(
    "classifier",
    [LogisticRegression(max_iter=50), make_pipeline(StandardScaler(), LogisticRegression())],
    ids=["logistic", "pipeline"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_linear_models_are_exact(classifier, digits):
    X, y = digits
    names = np.array(list("abcdefghij"))
    classifier.fit(X, names[y])
    for given in (classifier, FrozenEstimator(classifier)):
        frozen, classes, fidelity = freeze(given, X, image_shape=SHAPE)
        assert fidelity is None
        np.testing.assert_array_equal(classes, names)
        probabilities = torch.softmax(frozen(images_of(X)), 1).numpy()
        np.testing.assert_allclose(probabilities, classifier.predict_proba(X), atol=1e-4)


def test_the_rest_is_distilled(digits):
    X, y = digits
    classifier = KNeighborsClassifier().fit(X[:300], y[:300])
    frozen, classes, fidelity = freeze(classifier, X[:300], image_shape=SHAPE, seed=0)
    assert 0.5 < fidelity <= 1
    np.testing.assert_array_equal(classes, np.arange(10))
    agree = frozen(torch.from_numpy(X)).argmax(1).numpy() == classifier.predict(X)
    assert agree.mean() > 0.85


def test_a_fitted_skorch_net_is_read(digits, module_untouched):
    X, y = digits
    skorch_net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=64,
        module__out_features=12,
        criterion=nn.CrossEntropyLoss,
        max_epochs=1,
        verbose=0,
        train_split=None,
    ).fit(X, y.astype(np.int64))
    with module_untouched(skorch_net.module_):
        frozen, classes, _ = freeze(FrozenEstimator(skorch_net), X)
    # It saw ten labels, and has two outputs more.
    assert classes.tolist() == list(range(12))
    torch.testing.assert_close(
        frozen(torch.from_numpy(X)), skorch_net.module_(torch.from_numpy(X)).detach()
    )


def test_a_pipeline_may_end_in_a_skorch_net(digits):
    X, y = digits
    pipeline = make_pipeline(
        StandardScaler(),
        NeuralNetClassifier(
            nn.Linear,
            module__in_features=64,
            module__out_features=10,
            criterion=nn.CrossEntropyLoss,
            max_epochs=1,
            verbose=0,
            train_split=None,
        ),
    ).fit(X, y.astype(np.int64))
    frozen, _, _ = freeze(FrozenEstimator(pipeline), X, image_shape=SHAPE)
    agree = frozen(images_of(X)).argmax(1).numpy() == pipeline.predict(X)
    assert agree.all()


def test_a_skorch_net_that_never_learned_is_refused(rows):
    skorch_net = NeuralNetClassifier(nn.Linear, module__in_features=64)
    with pytest.raises(ValueError, match="never fitted"):
        freeze(FrozenEstimator(skorch_net), rows)


# Normalisation, names, copies


def test_normalisation_belongs_to_the_classifier(net, rows):
    plain, _, _ = freeze(net, rows, image_shape=SHAPE)
    grey = rows * 255
    normalised, _, _ = freeze(net, grey, image_shape=SHAPE, normalize=(51.0, 204.0))
    torch.testing.assert_close(
        normalised(torch.from_numpy(grey)),
        plain(torch.from_numpy((grey - 51) / 204)),
        rtol=1e-4,
        atol=1e-4,
    )


def test_normalisation_a_channel():
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
    rows = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    mean, std = [0.1, 0.2, 0.3], [1.0, 2.0, 4.0]
    frozen, _, _ = freeze(
        nn.Sequential(nn.Conv2d(3, 3, 1), net), rows, image_shape=(3, 2, 2), normalize=(mean, std)
    )
    images = torch.from_numpy(rows).reshape(-1, 3, 2, 2)
    expected = (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(frozen(images), frozen.network(expected), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"normalize gives 3 values.*\(1, 8, 8\)"):
        FrozenClassifier(net, SHAPE, normalize=(mean, std))


def test_outputs_are_named_in_their_order(net, rows):
    names = [f"digit {10 - index}" for index in range(10)]
    _, classes, _ = freeze(net, rows, image_shape=SHAPE, classes=names)
    assert classes.tolist() == names


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["a", "b"], "names 2 classes.*10 outputs"),
        (["a"] * 10, "repeated"),
        (np.zeros((2, 5)), "10 outputs"),
    ],
)
def test_names_must_fit(names, complaint, net, rows):
    with pytest.raises(ValueError, match=complaint):
        freeze(net, rows, image_shape=SHAPE, classes=names)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_answer_bit_for_bit(copied, net, rows):
    frozen, _, _ = freeze(net, rows, image_shape=SHAPE, normalize=(0.1, 0.5))
    images = torch.from_numpy(rows)
    answer = frozen(images)
    assert torch.equal(copied(frozen)(images), answer)


def test_the_folded_copy_follows_the_weights(net, rows):
    frozen, _, _ = freeze(net, rows, image_shape=SHAPE)
    images = torch.from_numpy(rows[:4])
    frozen(images)
    torch.testing.assert_close(
        frozen.double()(images.double()).float(), net(images_of(rows[:4])), rtol=1e-4, atol=1e-4
    )


# What cannot be frozen


class Numb(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.scores, self.how = nn.Linear(64, 3), how

    def forward(self, rows):
        return self.how(self.scores(rows))


@pytest.mark.parametrize(
    "how",
    [
        lambda scores: scores.detach(),
        lambda scores: torch.from_numpy(scores.detach().numpy()),
        lambda scores: nn.functional.one_hot(scores.argmax(1), 3).float(),
    ],
    ids=["detach", "numpy", "argmax"],
)
def test_modules_without_a_slope_are_refused(how, rows):
    with pytest.raises(ValueError, match=r"not differentiable.*student"):
        freeze(Numb(how), rows)


def test_colour_rows_do_not_fit_a_grey_net(net, rows):
    colour = np.tile(rows, (1, 3))
    with pytest.raises(ValueError, match=r"neither as images nor as rows.*channels"):
        freeze(net, colour, image_shape=(3, 8, 8))


def test_answers_that_are_no_tensor_are_refused(rows):
    with pytest.raises(ValueError, match="one tensor of class scores, got dict"):
        freeze(Numb(lambda scores: {"scores": scores}), rows)


def test_maps_are_no_class_scores(rows):
    with pytest.raises(ValueError, match="output has shape"):
        freeze(nn.Conv2d(1, 3, 3), rows, image_shape=SHAPE)
