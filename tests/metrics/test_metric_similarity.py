"""Similarity on arrays is that of the tensors beneath; LPIPS comes from torchmetrics or not."""

import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skinvert.metrics import feature_distance, lpips, ms_ssim, psnr, ssim
from skinvert.models.similarity import multiscale_structural_similarity, structural_similarity


@pytest.fixture
def pairs():
    """Colour images (4, 3, 32, 24) and noisy copies."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(4, 3, 32, 24))
    return X, (X + 0.2 * rng.normal(size=X.shape)).clip(0, 1)


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)[0] / 16


def test_rows_and_images_are_one(pairs):
    X, Y = pairs
    expected = structural_similarity(torch.from_numpy(X), torch.from_numpy(Y)).numpy()
    rows = X.reshape(4, -1), Y.reshape(4, -1)
    np.testing.assert_array_equal(ssim(X, Y), expected)
    np.testing.assert_array_equal(ssim(*rows, image_shape=(3, 32, 24)), expected)
    np.testing.assert_array_equal(ssim(X[::-1], Y[::-1]), expected[::-1])
    np.testing.assert_array_equal(psnr(X, Y), psnr(*rows))


def test_blocks_do_not_show(pairs, monkeypatch):
    X, Y = pairs
    whole = ssim(X, Y)
    monkeypatch.setattr("skinvert.metrics.similarity._BLOCK", 1)
    np.testing.assert_allclose(ssim(X, Y), whole, rtol=1e-12)


def test_scales_are_passed_on(pairs):
    X, Y = pairs
    expected = multiscale_structural_similarity(
        torch.from_numpy(X), torch.from_numpy(Y), scale_weights=(0.3, 0.7)
    )
    np.testing.assert_array_equal(ms_ssim(X, Y, scale_weights=(0.3, 0.7)), expected)
    with pytest.raises(ValueError, match="need 176 pixels"):
        ms_ssim(X, Y)


def test_small_images_take_a_small_window(digits):
    assert ssim(digits[:3], digits[:3], window=7) == pytest.approx(1)
    with pytest.raises(ValueError, match="7 for 8"):
        ssim(digits[:3], digits[:3])


def test_bad_input_is_refused(pairs):
    X, Y = pairs
    for measure in (ssim, psnr, lambda a, b: ms_ssim(a, b, scale_weights=(1,))):
        with pytest.raises(ValueError, match="X has 4 rows and Y has 3"):
            measure(X, Y[:3])
        with pytest.raises(ValueError, match="expected equal widths"):
            measure(X, Y[..., :20])
        with pytest.raises(ValueError, match="Y holds NaN"):
            measure(X, Y * np.nan)
    with pytest.raises(ValueError, match="image_shape="):
        ssim(X.reshape(4, -1)[:, :50], Y.reshape(4, -1)[:, :50])


# Distances of features


def test_feature_distance_is_an_angle():
    X, Y = (
        np.array([[1.0, 0], [2, 0], [0, 0], [0, 0]]),
        np.array([[3.0, 0], [-1, 0], [1, 1], [0, 0]]),
    )
    np.testing.assert_allclose(feature_distance(X, Y, extractor=np.asarray), [0, 4, 1, 0])


def test_any_transformer_or_callable_extracts(digits):
    pca = PCA(5).fit(digits)
    X, Y = digits[:20], digits[20:40]
    expected = feature_distance(X, Y, extractor=pca)
    assert expected.shape == (20,)
    assert (expected >= 0).all()
    assert (expected <= 4).all()
    np.testing.assert_array_equal(feature_distance(X, Y, extractor=pca.transform), expected)
    layer = torch.nn.Conv2d(1, 2, 3)
    images = torch.from_numpy(X.reshape(-1, 1, 8, 8)).float()
    np.testing.assert_allclose(feature_distance(images, 5 * images, extractor=layer) < 4, True)
    np.testing.assert_allclose(feature_distance(images, images, extractor=layer), 0)


def test_what_cannot_extract_is_refused(digits):
    with pytest.raises(TypeError, match="fitted transformer or a callable, got int"):
        feature_distance(digits, digits, extractor=3)
    with pytest.raises(ValueError, match="extractor's features holds NaN"):
        feature_distance(digits, digits, extractor=lambda X: X * np.nan)
    with pytest.raises(ValueError, match="X has 5 rows and Y has 4"):
        feature_distance(digits[:5], digits[:4], extractor=np.asarray)


# LPIPS


@pytest.fixture
def backbone(tmp_path, monkeypatch):
    """A backbone at hand: an untrained SqueezeNet where torchvision keeps what it downloads."""
    models = pytest.importorskip("torchvision.models")
    pytest.importorskip("torchmetrics")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = models.squeezenet1_1(weights=None).state_dict()
    (tmp_path / "checkpoints").mkdir()
    name = models.SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(state, tmp_path / "checkpoints" / name)


@pytest.mark.usefixtures("backbone")
def test_lpips_is_that_of_torchmetrics(pairs):
    from torchmetrics.functional.image.lpips import learned_perceptual_image_patch_similarity

    X, Y = pairs
    images, others = (torch.from_numpy(values).float() for values in (X, Y))
    expected = learned_perceptual_image_patch_similarity(
        images, others, net_type="squeeze", reduction="none", normalize=True
    ).detach()
    assert (expected > 0).all()
    np.testing.assert_allclose(lpips(X, Y, net="squeeze"), expected.ravel(), rtol=1e-5)
    grey, other_grey = X[:, 0], Y[:, 0]
    repeated = (np.repeat(values[:, None], 3, axis=1) for values in (grey, other_grey))
    np.testing.assert_allclose(
        lpips(grey, other_grey, net="squeeze"), lpips(*repeated, net="squeeze"), rtol=1e-5
    )


def test_nothing_is_downloaded(pairs, tmp_path, monkeypatch):
    pytest.importorskip("torchmetrics")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"vgg16\(weights='DEFAULT'\).*feature_distance"):
        lpips(*pairs, net="vgg")


def test_without_torchmetrics_the_remedy_is_named(pairs, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.image.lpips", None)
    with pytest.raises(ImportError, match="pip install torchmetrics"):
        lpips(*pairs, net="vgg")


def test_what_lpips_cannot_take_is_refused(pairs):
    X, Y = pairs
    with pytest.raises(ValueError, match="must be one of"):
        lpips(X, Y, net="resnet")
    with pytest.raises(ValueError, match="32 × 24, but net='alex' needs 31"):
        lpips(X, Y)
    with pytest.raises(ValueError, match=r"values in \[0, 1\], got -1"):
        lpips(2 * X - 1, Y, net="vgg")
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        lpips(X[:, :2], Y[:, :2], net="vgg")
