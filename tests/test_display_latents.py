"""Barcodes, bars and maps of latents show the numbers that they are given."""

import copy

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skinvert import InputOptimizationGenerator, ReGene
from skinvert.display import LatentBarcodeDisplay, LatentMapDisplay

matplotlib = pytest.importorskip("matplotlib", reason="displays draw with matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")
LATENTS = np.array([[0.0, 1.0, 4.0], [0.0, 3.0, 2.0], [2.0, 0.0, 0.0]])
LABELS = ["a", "a", "b"]


@pytest.fixture(autouse=True)
def _figures():
    with matplotlib.rc_context(matplotlib.rcParamsDefault | {"backend": "agg"}):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def regene(trained_net, digits):
    net = copy.deepcopy(trained_net)
    return ReGene(net, n_epochs=1, threshold=None, random_state=0, device="cpu").fit(*digits)


def test_a_barcode_has_a_line_for_each_row():
    shown = LatentBarcodeDisplay.from_latents(LATENTS, LABELS)
    first, second = (image.get_array() for image in shown.ax_.images)
    np.testing.assert_array_equal(first, LATENTS[:2])
    np.testing.assert_array_equal(second, LATENTS[2:])
    assert {image.get_clim() for image in shown.ax_.images} == {(0.0, 4.0)}, "one scale for all"
    assert [text.get_text() for text in shown.ax_.get_yticklabels()] == ["a", "b"]


def test_bars_are_means():
    shown = LatentBarcodeDisplay.from_latents(LATENTS, LABELS, kind="bars")
    heights = -np.array([bar.get_height() for bar in shown.ax_.patches]).reshape(2, 3)
    np.testing.assert_allclose(heights / heights.max(), np.array([[0, 2, 3], [2, 0, 0]]) / 3)


def test_sparsity_is_the_share_of_zeros():
    shown = LatentBarcodeDisplay.from_latents(LATENTS, LABELS)
    np.testing.assert_allclose(shown.sparsity, [2 / 6, 2 / 3])


def test_latents_are_those_of_the_estimator(regene, digits):
    X, y = digits[0][:40], digits[1][:40]
    shown = LatentBarcodeDisplay.from_estimator(regene, X, y)
    np.testing.assert_allclose(
        np.concatenate(shown.latents), regene.transform(X)[np.argsort(y, kind="stable")]
    )
    scaled = make_pipeline(MinMaxScaler(), copy.copy(regene))
    scaled[0].fit(X)
    piped = LatentBarcodeDisplay.from_estimator(scaled, X, y)
    expected = regene.transform(scaled[0].transform(X))[np.argsort(y, kind="stable")]
    np.testing.assert_allclose(np.concatenate(piped.latents), expected, atol=1e-5)


def test_a_map_shows_what_its_method_finds(regene, digits):
    X, y = digits[0][:60], digits[1][:60]
    shown = LatentMapDisplay.from_estimator(regene, X, y, method=PCA(2, random_state=0))
    expected = PCA(2, random_state=0).fit_transform(regene.transform(X).astype(float))
    np.testing.assert_allclose(shown.points, expected, atol=1e-8)
    drawn = np.concatenate([part.get_offsets() for part in shown.ax_.collections])
    np.testing.assert_allclose(drawn, expected[np.argsort(y, kind="stable")])
    assert len({tuple(part.get_facecolor()[0]) for part in shown.ax_.collections}) == 10


def test_a_map_is_by_default_that_of_tsne(regene, digits):
    X, y = digits[0][:60], digits[1][:60]
    first, again = (LatentMapDisplay.from_estimator(regene, X, y).points for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_bad_input_is_refused(digits):
    with pytest.raises(ValueError, match="one label a row"):
        LatentBarcodeDisplay.from_latents(LATENTS, LABELS[:2])
    with pytest.raises(ValueError, match="'barcode' or 'bars'"):
        LatentBarcodeDisplay.from_latents(LATENTS, LABELS, kind="lines")
    with pytest.raises(ValueError, match="n_components=2"):
        LatentMapDisplay.from_latents(LATENTS, LABELS, method=PCA(3))
    plain = InputOptimizationGenerator(LogisticRegression(max_iter=300), prior="mean").fit(*digits)
    with pytest.raises(TypeError, match="has no transform"):
        LatentMapDisplay.from_estimator(plain, *digits)
