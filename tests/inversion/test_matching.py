"""Terms that look at features and at a student: zero where all agree, and what they need."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from skinvert.inversion.matching import (
    Competition,
    FeatureState,
    FeatureStatistics,
    frozen_student,
)
from skinvert.inversion.objectives import PriorEnergy, State
from skinvert.inversion.priors import MeanPrior
from skinvert.inversion.statistics import LayerStatistics

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.5, 0.0]])


def state(student_logits=None, moments=None):
    return FeatureState(
        logits=LOGITS, weights=torch.ones(2, 3), student_logits=student_logits, moments=moments
    )


def test_competition_is_least_where_the_two_disagree_most():
    agreed = Competition()(None, state(LOGITS))
    torch.testing.assert_close(agreed, torch.ones(2))
    disagreed = Competition(temperature=1.0)(None, state(-20 * LOGITS))
    assert bool((disagreed < agreed).all())
    assert bool((disagreed > 1 - np.log(2)).all()), "the divergence is at most log 2"


def test_moments_of_the_data_cost_nothing():
    mean, variance = torch.randn(4), torch.rand(4) + 0.1
    term = FeatureStatistics(statistics=LayerStatistics({"a": (mean, variance)}))
    here = {"a": (mean.expand(2, 4), variance.expand(2, 4))}
    assert float(term(None, state(moments=here)).max()) < 1e-5
    away = {"a": (mean + variance.sqrt(), variance.expand(2, 4))}
    torch.testing.assert_close(
        term(None, state(moments={"a": (away["a"][0].expand(2, 4), away["a"][1])})), torch.ones(2)
    )


@pytest.mark.parametrize(
    ("term", "said"),
    [
        (Competition(), "needs a student"),
        (FeatureStatistics(), "needs statistics"),
        (PriorEnergy(), "needs a prior"),
    ],
)
def test_terms_say_what_they_lack(term, said):
    with pytest.raises(ValueError, match=said):
        term(torch.zeros(2, 1, 2, 2), state(moments={}))


def test_class_means_need_class_weights():
    prior = MeanPrior(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="class weights"):
        prior(torch.zeros(2, 1, 2, 2), None)
    weights = State(logits=LOGITS, weights=torch.eye(3)[:2])
    assert PriorEnergy(prior=prior)(torch.zeros(2, 1, 2, 2), weights).tolist() == [0.0, 0.0]


def test_students_answer_the_same_question():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    layout = {"example": np.zeros((1, 4), np.float32), "image_shape": (1, 2, 2)}
    rows = torch.rand(5, 4)
    torch.testing.assert_close(frozen_student(net, 3, **layout)(rows), net(rows))
    with pytest.raises(ValueError, match="tells 3 classes apart"):
        frozen_student(net, 4, **layout)
    with pytest.raises(TypeError, match="got LogisticRegression"):
        frozen_student(LogisticRegression(), 3, **layout)
