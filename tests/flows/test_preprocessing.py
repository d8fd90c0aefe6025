"""Preprocessing: Jacobians, ways back, and what counts as quantised."""

import numpy as np
import pytest
import torch

from skinvert.flows.preprocessing import Preprocessing, log_normal, quantization_step


def pixels(levels=17, shape=(60, 5)):
    return np.random.default_rng(0).integers(0, levels, size=shape).astype(float)


@pytest.mark.parametrize(
    ("rows", "step"),
    [
        (pixels(), 1.0),
        ((pixels(256) / 255).astype(np.float32), 1 / 255),
        (2 * (pixels(256) / 255).astype(np.float32) - 1, 2 / 255),
        (pixels(2), 1.0),
    ],
    ids=["counts", "bytes as float32", "bytes in [-1, 1]", "binary"],
)
def test_grids_are_found(rows, step):
    assert quantization_step(rows) == pytest.approx(step, rel=1e-5)


@pytest.mark.parametrize(
    "rows",
    [np.random.default_rng(0).normal(size=(40, 3)), np.ones((4, 2)), np.array([[0.3, 0.9]])],
    ids=["measured", "constant", "two values"],
)
def test_what_lies_on_no_grid_has_no_step(rows):
    assert quantization_step(rows) is None


@pytest.mark.parametrize("is_image", [True, False])
@pytest.mark.parametrize("logit", [None, 0.05])
def test_the_log_det_is_that_of_the_jacobian(is_image, logit):
    preprocessing = Preprocessing(pixels(), is_image=is_image, step=1.0, logit=logit)
    x = torch.from_numpy(pixels()[:3])
    _, log_det = preprocessing(x)
    for row, value in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda r: preprocessing(r[None])[0][0], row)
        torch.testing.assert_close(value, torch.linalg.slogdet(jacobian)[1], rtol=1e-10, atol=0)


@pytest.mark.parametrize("logit", [None, 0.05])
def test_the_way_back(logit):
    preprocessing = Preprocessing(pixels(), is_image=True, step=1.0, logit=logit)
    x = torch.from_numpy(pixels())
    torch.testing.assert_close(preprocessing.inverse(preprocessing(x)[0]), x)


def test_images_share_a_scale_and_other_rows_have_one_each():
    rows = pixels() * np.array([1, 10, 100, 1, 1])
    image = Preprocessing(rows, is_image=True)
    table = Preprocessing(rows, is_image=False)
    assert len(image.scale.unique()) == 1
    v, _ = table(torch.from_numpy(rows))
    torch.testing.assert_close(v.std(0, correction=0), torch.ones(5).double())


def test_dequantised_values_fill_their_cells():
    preprocessing = Preprocessing(pixels(), is_image=True, step=1.0)
    x = torch.from_numpy(pixels())
    spread = preprocessing.dequantize(x, torch.rand_like(x))
    assert float((spread - x).abs().max()) <= 0.5
    torch.testing.assert_close(spread.round(), x)


@pytest.mark.parametrize("logit", [0.0, 0.5, -1.0])
def test_a_logit_out_of_range_is_refused(logit):
    with pytest.raises(ValueError, match=r"\(0, 0.5\)"):
        Preprocessing(pixels(), is_image=True, logit=logit)


def test_log_normal_is_torchs_own():
    z = torch.randn(4, 3).double()
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(log_normal(z), expected)
