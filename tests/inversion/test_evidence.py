"""Eq. 2 of the coupled network, by hand."""

import pytest
import torch
from torch.nn.functional import softmax

from skinvert import Target
from skinvert.inversion.evidence import OtherEvidence, TargetEvidence
from skinvert.inversion.objectives import State
from skinvert.inversion.targeted import TargetedObjective
from skinvert.models.frozen import FrozenClassifier

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 4.0, 1.0]])
WEIGHTS = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])


def test_equation_2():
    state = State(LOGITS, WEIGHTS)
    values = (TargetEvidence(leak=0.0) + OtherEvidence(0.01)).evaluate(None, state)
    torch.testing.assert_close(values["target_evidence"], torch.tensor([-2.0, 0.0]))
    torch.testing.assert_close(values["other_evidence"], torch.tensor([0.005, 0.05]))


def test_a_silent_target_keeps_its_slope():
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(TargetEvidence()(None, State(logits, WEIGHTS)).sum(), logits)
    assert gradient[:, 0].tolist() == [-1.0, -1.0]
    (paper,) = torch.autograd.grad(
        TargetEvidence(leak=0.0)(None, State(logits, WEIGHTS)).sum(), logits
    )
    assert paper[:, 0].tolist() == [-1.0, 0.0]


def test_mixtures_leave_all_their_classes_out_of_the_others():
    state = State(LOGITS, torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]))
    assert TargetEvidence()(None, state).tolist() == [-1.25, -2.5]
    assert OtherEvidence()(None, state).tolist() == [0.0, 0.0]


def test_balanced_mixtures_attend_to_the_weaker_class():
    weights = torch.tensor([[0.5, 0.0, 0.5], [1.0, 0.0, 0.0]])
    logits = torch.tensor([[9.0, 0.0, 1.0], [9.0, 0.0, 1.0]], requires_grad=True)
    values = TargetEvidence(balanced=True)(None, State(logits, weights))
    # By hand: -log(0.5 e^-9 + 0.5 e^-1) = 1 + log 2 up to e^-8; one class is as it was.
    assert (-values).tolist() == pytest.approx([1.6928, 9.0], abs=1e-3)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert gradient[0].tolist() == pytest.approx([0.0, 0.0, -1.0], abs=1e-3)
    assert gradient[1].tolist() == [-1.0, 0.0, 0.0]


@pytest.mark.parametrize("term", [TargetEvidence(centred=True), OtherEvidence(centred=True)])
def test_centred_terms_do_not_know_the_zero_of_the_logits(term):
    shifted = LOGITS - 100.0
    assert torch.equal(softmax(shifted, 1).argmax(1), LOGITS.argmax(1))
    torch.testing.assert_close(
        term(None, State(shifted, WEIGHTS)), term(None, State(LOGITS, WEIGHTS))
    )


def test_channels_of_a_layer_are_units_too():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    images = torch.rand(2, 1, 2, 2)
    loss = TargetedObjective(
        TargetEvidence() + OtherEvidence(0.5),
        FrozenClassifier(net, (1, 2, 2)),
        Target([{0: 1.0}, {1: 1.0}], layer="0"),
        example=images[:1],
    )
    values = loss(images, torch.arange(2), None, None)
    means = net[0](images).mean((2, 3))
    torch.testing.assert_close(values["target_evidence"], -means.diag())
    torch.testing.assert_close(values["other_evidence"], 0.5 * means.flip(1).diag().clamp_min(0))
