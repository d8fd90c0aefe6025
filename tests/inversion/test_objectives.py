"""Terms: one value an image, the right slope, a name, and a weight applied once."""

import pickle

import pytest
import torch
from sklearn.base import clone

from skinvert.inversion.objectives import (
    Activation,
    CrossEntropy,
    Logit,
    Margin,
    Norm,
    Objective,
    PriorEnergy,
    State,
    Term,
    TotalVariation,
    as_objective,
)
from skinvert.inversion.priors import MeanPrior

N, N_CLASSES, SHAPE = 4, 5, (2, 4, 3)
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(N, *SHAPE, generator=GENERATOR, dtype=torch.float64)
LOGITS = torch.randn(N, N_CLASSES, generator=GENERATOR, dtype=torch.float64)
# One class, all classes, and two mixtures.
WEIGHTS = torch.tensor(
    [[0, 1, 0, 0, 0], [0.2] * 5, [0.5, 0, 0.5, 0, 0], [0, 0, 0, 0.9, 0.1]], dtype=torch.float64
)
MAPS = torch.randn(N, N_CLASSES, 3, 2, generator=GENERATOR, dtype=torch.float64)
PRIOR = MeanPrior(torch.randn(24, generator=GENERATOR, dtype=torch.float64).numpy()).double()

ON_LOGITS = [CrossEntropy(), Logit(), Margin()]
ON_IMAGES = [
    TotalVariation(),
    TotalVariation(power=1.0),
    TotalVariation(power=1.5),
    Norm(),
    Norm(power=1.0),
    Norm(power=4.0),
    PriorEnergy(prior=PRIOR),
]


def named(terms):
    return [pytest.param(term, id=f"{type(term).__name__}-{i}") for i, term in enumerate(terms)]


def state(logits=LOGITS, maps=MAPS, rows=slice(None), position=None):
    return State(logits[rows], WEIGHTS[rows], {"deep": maps[rows]}, layer="deep", position=position)


@pytest.mark.parametrize("term", named(ON_LOGITS))
def test_slopes_on_logits(term, assert_slope):
    assert_slope(lambda logits: term(IMAGES, state(logits)), LOGITS)


@pytest.mark.parametrize("term", named(ON_IMAGES))
def test_slopes_on_images(term, assert_slope):
    assert_slope(lambda images: term(images, state()), IMAGES)


@pytest.mark.parametrize("position", [None, (2, 1)])
def test_slopes_on_maps(position, assert_slope):
    assert_slope(lambda maps: Activation()(IMAGES, state(maps=maps, position=position)), MAPS)


def test_slopes_on_dense_activations(assert_slope):
    assert_slope(lambda units: Activation()(IMAGES, state(maps=units)), LOGITS)


@pytest.mark.parametrize("term", named([*ON_LOGITS, *ON_IMAGES, Activation()]))
def test_an_image_does_not_see_its_neighbours(term):
    together = term(IMAGES, state())
    assert together.shape == (N,)
    for row in range(N):
        alone = term(IMAGES[row : row + 1], state(rows=slice(row, row + 1)))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-12, atol=1e-12)


def test_cross_entropy_is_torchs():
    expected = torch.nn.functional.cross_entropy(LOGITS, WEIGHTS, reduction="none")
    torch.testing.assert_close(CrossEntropy()(IMAGES, state()), expected)


def test_logit_and_margin_of_one_class():
    others = LOGITS[0, [0, 2, 3, 4]].max()
    assert Logit()(IMAGES, state())[0] == -LOGITS[0, 1]
    assert Margin()(IMAGES, state())[0] == others - LOGITS[0, 1]


def test_a_margin_of_all_classes_has_no_other():
    torch.testing.assert_close(Margin()(IMAGES, state())[1], -LOGITS[1].mean())


def test_activation_of_a_channel_and_of_a_neuron():
    torch.testing.assert_close(Activation()(IMAGES, state())[0], -MAPS[0, 1].mean())
    assert Activation()(IMAGES, state(position=(2, 1)))[0] == -MAPS[0, 1, 2, 1]


def test_flat_images_do_not_vary():
    flat = torch.full((1, *SHAPE), 3.0)
    assert TotalVariation()(flat, None) == 0
    # A single step of one between two columns, spread over all pixels.
    flat[..., 0] = 2.0
    n_pixels, n_edges = flat.numel(), SHAPE[0] * SHAPE[1]
    assert TotalVariation()(flat, None) == pytest.approx(n_edges / n_pixels)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_norms_are_homogeneous(power):
    term = Norm(power=power)
    torch.testing.assert_close(term(3 * IMAGES, None), 3**power * term(IMAGES, None))


def test_prior_energy_asks_the_prior():
    torch.testing.assert_close(
        PriorEnergy(prior=PRIOR)(IMAGES, state()), (IMAGES.flatten(1) - PRIOR.means).norm(dim=1)
    )


def test_weights_are_applied_once():
    objective = CrossEntropy(2.0) + TotalVariation(0.5, power=1.0)
    values = objective.evaluate(IMAGES, state())
    torch.testing.assert_close(values["cross_entropy"], 2 * CrossEntropy()(IMAGES, state()))
    torch.testing.assert_close(
        values["total_variation"], 0.5 * TotalVariation(power=1.0)(IMAGES, state())
    )


def test_a_term_without_weight_is_not_computed():
    class Loud(Term):
        def __init__(self, weight=0.0):
            self.weight = weight

    assert (CrossEntropy() + Loud()).evaluate(IMAGES, state()).keys() == {"cross_entropy"}
    with pytest.raises(TypeError, match="Loud must define"):
        (CrossEntropy() + Loud(1.0)).evaluate(IMAGES, state())


def test_sums_name_their_terms():
    objective = CrossEntropy() + TotalVariation(0.1) + Norm() + Norm(power=1.0) + Norm(power=4.0)
    assert [name for name, _ in objective.terms] == [
        "cross_entropy",
        "total_variation",
        "norm",
        "norm_2",
        "norm_3",
    ]
    assert objective["norm_3"].power == 4.0


def test_sums_do_not_change_what_they_add():
    first, second = CrossEntropy() + Norm(), as_objective(TotalVariation())
    whole = first + second
    assert [len(one.terms) for one in (first, second, whole)] == [2, 1, 3]


def test_terms_are_set_by_name():
    objective = CrossEntropy() + TotalVariation(0.1)
    objective.set_params(total_variation__weight=0.7, total_variation__power=1.0)
    assert objective["total_variation"].weight == 0.7
    assert objective.get_params()["total_variation__power"] == 1.0
    objective.set_params(total_variation=Norm(0.3))
    assert isinstance(objective["total_variation"], Norm)
    with pytest.raises(ValueError, match="Invalid parameter"):
        objective.set_params(total_variation__colour=1)


def test_clones_share_no_terms():
    objective = CrossEntropy() + TotalVariation(0.1)
    copied = clone(objective)
    copied.set_params(total_variation__weight=9.0)
    assert objective["total_variation"].weight == 0.1
    assert clone(Norm(0.3, power=1.0)).get_params() == {"weight": 0.3, "power": 1.0}


def test_objectives_survive_pickle():
    objective = CrossEntropy() + PriorEnergy(0.5, PRIOR)
    copied = pickle.loads(pickle.dumps(objective)).evaluate(IMAGES, state())
    for name, values in objective.evaluate(IMAGES, state()).items():
        assert torch.equal(copied[name], values)


def test_excitations_give_way_and_the_rest_stays():
    objective = CrossEntropy(3.0) + TotalVariation(0.1)
    swapped = objective.excited_by(Logit)
    assert [name for name, _ in swapped.terms] == ["logit", "total_variation"]
    assert swapped["logit"].weight == 3.0
    assert swapped["total_variation"] is objective["total_variation"]
    assert isinstance(objective["cross_entropy"], CrossEntropy)


def test_layers_of_a_sum_are_named_once():
    class Deep(Norm):
        layers = ("b", "a")

    assert (Deep() + Norm() + Deep()).layers == ("b", "a")


@pytest.mark.parametrize("name", ["cross_entropy", "logit", "margin"])
def test_objectives_by_name(name):
    objective = as_objective(name)
    assert [own for own, _ in objective.terms] == [name]
    assert as_objective(objective) is objective
    assert isinstance(objective, Objective)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weights_are_finite_and_not_negative(weight):
    with pytest.raises(ValueError, match="'norm' must be finite and non-negative"):
        as_objective(CrossEntropy() + Norm(weight))


def test_other_objectives_are_refused():
    with pytest.raises(ValueError, match=r"one of \['cross_entropy'.*'hinge'"):
        as_objective("hinge")
    with pytest.raises(TypeError, match="name, a Term or a sum"):
        as_objective(lambda images: 0)
    with pytest.raises(TypeError, match="name, a Term or a sum"):
        CrossEntropy() + 3
