"""Displays draw what they are given: right aspect, one scale, no label cut off."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import skinvert
from skinvert import InputOptimizationGenerator, display
from skinvert.display import (
    CombinationDisplay,
    CounterfactualDisplay,
    ImageGridDisplay,
    InterpolationDisplay,
    LossCurveDisplay,
    SweepDisplay,
    TripletDisplay,
)

matplotlib = pytest.importorskip("matplotlib", reason="displays draw with matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

BASELINES = Path(__file__).parent / "baseline_images" / "test_display"
_OVERSAMPLING = 4
RAMP = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
GREY = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1], 0.3 * RAMP])  # (4, 4, 6)
COLOUR = np.stack([GREY, GREY[[1, 2, 3, 0]], GREY[[2, 3, 0, 1]]], axis=1)  # (4, 3, 4, 6)
REGION = np.zeros((4, 6), dtype=bool)
REGION[1:3, 2:5] = REGION[0, 0] = True


@pytest.fixture(autouse=True)
def _figures():
    with matplotlib.rc_context(matplotlib.rcParamsDefault | {"backend": "agg"}):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def generator(digits):
    X, y = digits
    return InputOptimizationGenerator(
        LogisticRegression(max_iter=300), prior="mean", init="noise", n_steps=5, random_state=0
    ).fit(X, y)


def histories():
    steps = np.arange(1, 21)
    running = np.stack([np.exp(-steps / 8) * scale for scale in (1, 2, 4)])
    running[2, 12:] = np.nan
    return {"cross_entropy": running, "prior": 0.5 - running / 4}


PICTURES = {
    "grid": lambda ax: ImageGridDisplay.from_images(
        COLOUR[[0, 1, 2, 3, 0]], list("aabba"), column_labels=[1, 2, 3], ax=ax
    ),
    "sweep": lambda ax: SweepDisplay.from_images(
        [GREY[:2], GREY[2:], GREY[1:3]], [0, 1, 9], ["a", "b"], ax=ax
    ),
    "interpolation": lambda ax: InterpolationDisplay.from_images(
        [GREY, GREY[::-1]], [(0, 1), (0, 2)], ax=ax, cmap="gray_r"
    ),
    "triplet": lambda ax: TripletDisplay.from_images(
        GREY[:3], GREY[1:] * 0.9, GREY, labels="abc", ax=ax
    ),
    "combination": lambda ax: CombinationDisplay.from_images(
        COLOUR[:2], COLOUR[1:], (COLOUR[:2, None] + COLOUR[1:]) / 2, ax=ax
    ),
    "counterfactual": lambda ax: CounterfactualDisplay.from_images(
        GREY[:2], np.where(REGION, GREY[1:3], GREY[:2]), masks=[REGION, REGION], ax=ax
    ),
    "curves": lambda ax: LossCurveDisplay.from_history(histories(), ax=ax),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_stay_as_they_were_looked_at(name, tmp_path):
    from matplotlib.testing.compare import compare_images
    from matplotlib.testing.decorators import remove_ticks_and_titles

    figure, ax = plt.subplots(figsize=(3, 2.2), dpi=60)
    PICTURES[name](ax)
    remove_ticks_and_titles(figure)  # fonts differ between machines
    for legend in [ax.get_legend()] if ax.get_legend() else []:
        legend.remove()
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_text("")
    drawn = tmp_path / f"{name}.png"
    figure.savefig(drawn, dpi=_OVERSAMPLING * figure.dpi)
    # Versions of matplotlib round the corners of an image differently, by a pixel.
    Image.open(drawn).convert("RGB").reduce(_OVERSAMPLING).save(drawn)
    difference = compare_images(BASELINES / drawn.name, drawn, tol=2.5)
    assert difference is None, f"{difference}\nLook at it; if it is right it is the new baseline."


@pytest.mark.parametrize("name", display.__all__)
def test_the_convention(name):
    cls = getattr(display, name)
    ax = inspect.signature(cls.plot).parameters["ax"]
    assert ax.kind is inspect.Parameter.KEYWORD_ONLY
    makers = [maker for maker in vars(cls) if maker.startswith("from_")]
    assert makers
    for maker in makers:
        assert inspect.signature(getattr(cls, maker)).parameters["ax"].default is None


class TestMatplotlib:
    def test_import_is_lazy(self):
        code = "import sys, skinvert.display; print('matplotlib' in sys.modules)"
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert answer.stdout.strip() == "False", answer.stderr

    @pytest.mark.parametrize("name", PICTURES)
    def test_its_absence_is_an_error_with_the_remedy(self, monkeypatch, name):
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
        with pytest.raises(ImportError, match=r'pip install "skinvert\[plot\]"'):
            PICTURES[name](None)


class TestDrawing:
    def test_all_images_share_one_scale(self):
        images = np.stack([RAMP, 0.1 * RAMP, 0.5 + 0.1 * RAMP])
        shown = ImageGridDisplay.from_images(images, [0, 0, 0]).ax_.images
        assert {image.get_clim() for image in shown} == {(0.0, 1.0)}

    @pytest.mark.parametrize(
        ("images", "given", "expected"),
        [
            (0.2 + 0.1 * GREY, None, (0, 1)),
            (16 * GREY, None, (0, 16)),
            (GREY - 0.5, None, (-0.5, 0.5)),
            (GREY, (-1, 2), (-1, 2)),
            (np.full((1, 4, 6), 7.0), None, (6.5, 7.5)),
        ],
    )
    def test_the_scale(self, images, given, expected):
        shown = ImageGridDisplay.from_images(images, [0] * len(images), value_range=given)
        assert shown.value_range == pytest.approx(expected)
        assert shown.ax_.images[0].get_clim() == pytest.approx(expected)

    @pytest.mark.parametrize("own_figure", [True, False])
    def test_pixels_are_square(self, own_figure):
        ax = None if own_figure else plt.subplots(figsize=(5, 2))[1]
        ax = ImageGridDisplay.from_images(COLOUR, ["a", "a", "b", "b"], ax=ax).ax_
        ax.figure.canvas.draw()
        left, right, bottom, top = ax.images[0].get_extent()
        corners = ax.transData.transform([(left, bottom), (right, top)])
        width, height = corners[1] - corners[0]
        assert width / height == pytest.approx(6 / 4, rel=1e-3)

    def test_colours_keep_their_channels(self):
        shown = ImageGridDisplay.from_images(16 * COLOUR, [0] * 4, value_range=(0, 16))
        for image, drawn in zip(COLOUR, shown.ax_.images, strict=True):
            expected = np.moveaxis(image, 0, -1)
            np.testing.assert_allclose(drawn.get_array(), expected, atol=1e-6)

    def test_rows_and_arrays_are_the_same_images(self):
        y = [0, 0, 1, 1]
        expected = ImageGridDisplay.from_images(COLOUR, y).images
        rows = ImageGridDisplay.from_images(COLOUR.reshape(4, -1), y, image_shape=(3, 4, 6))
        np.testing.assert_array_equal(rows.images, expected)
        grey = ImageGridDisplay.from_images(GREY, y).images
        np.testing.assert_array_equal(grey, GREY[:, None])

    @pytest.mark.parametrize("name", [name for name in PICTURES if name != "curves"])
    def test_no_label_is_cut_off(self, name):
        figure = PICTURES[name](None).figure_
        self.assert_labels_are_inside(figure)

    @pytest.mark.parametrize("n", [1, 12])
    def test_long_labels_neither_leave_the_figure_nor_meet(self, n):
        words = [f"a class with quite a long name {k}" for k in range(n)]
        images = np.tile(RAMP, (n, 1, 1))
        shown = TripletDisplay.from_images(images, images, images, labels=words)
        self.assert_labels_are_inside(shown.figure_)
        shown = ImageGridDisplay.from_images(images, words)
        self.assert_labels_are_inside(shown.figure_)

    @staticmethod
    def assert_labels_are_inside(figure):
        figure.canvas.draw()
        (ax,) = figure.axes
        texts = [*ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label, ax.yaxis.label]
        texts = [text for text in texts if text.get_text() and text.get_visible()]
        for text in texts:
            box = text.get_window_extent()
            assert box.x0 >= -0.5, text
            assert box.y0 >= -0.5, text
            assert box.x1 <= figure.bbox.x1 + 0.5, text
            assert box.y1 <= figure.bbox.y1 + 0.5, text
        upright = [text for text in texts if text.get_rotation() == 0]
        boxes = [text.get_window_extent() for text in upright]
        meeting = [
            (one.get_text(), other.get_text())
            for k, one in enumerate(upright)
            for j, other in enumerate(upright[:k])
            if boxes[k].overlaps(boxes[j])
        ]
        assert not meeting

    def test_given_axes_are_drawn_on(self):
        shown = ImageGridDisplay.from_images(GREY, [0, 0, 1, 1])
        figure, axes = plt.subplots(1, 2)
        assert shown.plot(ax=axes[1]) is shown
        assert shown.ax_ is axes[1]
        assert shown.figure_ is figure
        assert not axes[0].images

    def test_a_subfigure_s_axes_are_drawn_on(self):
        ax = plt.figure().subfigures(1, 2)[0].subplots()
        assert len(ImageGridDisplay.from_images(GREY, [0, 0, 1, 1], ax=ax).ax_.images) == 4

    @pytest.mark.parametrize(
        ("images", "error"),
        [
            (np.moveaxis(COLOUR.repeat(2, axis=2), 1, -1), "channels-last"),
            (np.zeros((4, 12)), "image_shape"),
            (np.zeros((4, 2, 5, 5)), "2 channels"),
            (np.full((4, 5, 5), np.nan), "row 0 of X has a value that is not finite"),
            (np.zeros(4), r"got shape \(4,\)"),
            (GREY[:3], r"got shape \(4,\) for 3 images"),
        ],
    )
    def test_bad_images(self, images, error):
        with pytest.raises(ValueError, match=error):
            ImageGridDisplay.from_images(images, [0, 0, 1, 1])

    def test_bad_range(self):
        with pytest.raises(ValueError, match=r"value_range must be \(low, high\)"):
            ImageGridDisplay.from_images(GREY, [0, 0, 1, 1], value_range=(1, 0))


class TestImageGrid:
    def test_rows_follow_the_labels(self):
        shown = ImageGridDisplay.from_images(GREY, ["b", "a", "b", "b"])
        assert [text.get_text() for text in shown.ax_.get_yticklabels()] == ["b", "a"]
        arrays = [image.get_array() for image in shown.ax_.images]
        np.testing.assert_array_equal(arrays, GREY[[0, 2, 3, 1]])

    def test_from_estimator_is_what_generate_gives(self, generator):
        shown = ImageGridDisplay.from_estimator(generator, classes=[7, 2], n_per_class=3)
        np.testing.assert_array_equal(shown.labels, [7, 7, 7, 2, 2, 2])
        expected = generator.generate([7, 7, 7, 2, 2, 2]).reshape(-1, 1, 8, 8)
        np.testing.assert_array_equal(shown.images, expected)
        assert shown.value_range == generator.value_range_

    def test_all_classes_by_default(self, generator):
        shown = ImageGridDisplay.from_estimator(generator, n_per_class=1, random_state=3)
        np.testing.assert_array_equal(shown.labels, generator.classes_)
        expected = generator.generate(generator.classes_, random_state=3)
        np.testing.assert_array_equal(shown.images.reshape(10, -1), expected)

    def test_pipelines_are_shown_in_their_own_units(self, generator, digits):
        X, y = digits
        pipeline = make_pipeline(MinMaxScaler(), clone(generator)).fit(16 * X, y)
        shown = ImageGridDisplay.from_estimator(pipeline, n_per_class=1)
        expected = skinvert.generate(pipeline, np.arange(10))
        np.testing.assert_array_equal(shown.images.reshape(10, -1), expected)
        assert shown.value_range[1] > 1

    def test_no_generator(self, digits):
        classifier = LogisticRegression(max_iter=300).fit(*digits)
        with pytest.raises(TypeError, match="LogisticRegression has no generate"):
            ImageGridDisplay.from_estimator(classifier)


class TestSweep:
    @pytest.fixture(params=["alone", "search", "pipeline"])
    def estimator(self, request, generator, digits):
        X, y = digits
        if request.param == "alone":
            return generator, "prior_weight"
        if request.param == "search":
            folds = StratifiedKFold(2)
            grid = {"prior_weight": [0.3]}
            return GridSearchCV(generator, grid, cv=folds).fit(X, y), "prior_weight"
        pipeline = make_pipeline(MinMaxScaler(), clone(generator)).fit(X, y)
        return pipeline, "inputoptimizationgenerator__prior_weight"

    def test_every_value_is_tried_on_a_copy(self, estimator):
        estimator, name = estimator
        before = repr(estimator.get_params()), skinvert.generate(estimator, [3]).tobytes()
        shown = SweepDisplay.from_estimator(
            estimator, [1e-3, 50.0], param_name=name, classes=[3, 8]
        )
        assert shown.images.shape == (2, 2, 1, 8, 8)
        assert np.abs(shown.images[0] - shown.images[1]).max() > 0.01
        after = repr(estimator.get_params()), skinvert.generate(estimator, [3]).tobytes()
        assert before == after

    def test_images_are_those_of_the_value(self, generator, digits):
        shown = SweepDisplay.from_estimator(generator, [1e-3, 5.0], classes=[3, 8])
        own = clone(generator)
        expected = own.set_params(prior_weight=5.0).fit(*digits).generate([3, 8])
        np.testing.assert_array_equal(shown.images[1].reshape(2, -1), expected)

    def test_numbers_must_agree(self):
        with pytest.raises(ValueError, match="must hold 3 series"):
            SweepDisplay.from_images([GREY, GREY], [1, 2, 3], list("abcd"))
        with pytest.raises(ValueError, match="4 images a value, but there are 2 classes"):
            SweepDisplay.from_images([GREY, GREY], [1, 2], list("ab"))


class TestInterpolation:
    def test_from_estimator_is_what_interpolate_gives(self, generator):
        shown = InterpolationDisplay.from_estimator(generator, [(0, 6), (6, 9)], n_images=3)
        expected = [generator.interpolate(0, 6, 3), generator.interpolate(6, 9, 3)]
        np.testing.assert_array_equal(shown.images.reshape(2, 3, -1), expected)

    def test_estimators_that_cannot(self, digits):
        with pytest.raises(TypeError, match="has no interpolate"):
            InterpolationDisplay.from_estimator(LogisticRegression(), [(0, 1)])


class TestTriplets:
    def test_nearest_is_nearest(self, generator, digits):
        X, y = digits
        shown = TripletDisplay.from_estimator(generator, X, y)
        generated = generator.generate(np.arange(10))
        distances = np.linalg.norm(generated[:, None] - X, axis=2)
        np.testing.assert_allclose(shown.distances, distances.min(1), rtol=1e-5)
        np.testing.assert_array_equal(shown.nearest.reshape(10, -1), X[distances.argmin(1)])
        first = [X[y == label][0] for label in range(10)]
        np.testing.assert_array_equal(shown.references.reshape(10, -1), first)

    def test_a_copycat_is_seen(self, digits):
        X, y = digits
        shown = TripletDisplay.from_images(X[:5], X[5:10], X, labels=y[:5])
        assert shown.distances.max() == 0
        np.testing.assert_array_equal(shown.nearest, shown.generated)

    def test_a_class_without_a_row(self, generator, digits):
        X, y = digits
        with pytest.raises(ValueError, match=r"no row of \[3\]"):
            TripletDisplay.from_estimator(generator, X[y != 3], y[y != 3])

    def test_shapes_must_agree(self):
        with pytest.raises(ValueError, match="references and generated must agree"):
            TripletDisplay.from_images(GREY, GREY[:2], GREY)


class TestCombination:
    def test_places(self):
        combined = (COLOUR[:2, None] + COLOUR[1:]) / 2
        shown = CombinationDisplay.from_images(COLOUR[:2], COLOUR[1:], combined)
        drawn = [np.moveaxis(image.get_array(), -1, 0) for image in shown.ax_.images]
        expected = [*COLOUR[1:], COLOUR[0], *combined[0], COLOUR[1], *combined[1]]
        np.testing.assert_allclose(drawn, expected, atol=1e-6)

    def test_numbers_must_agree(self):
        with pytest.raises(ValueError, match="must hold 3 series"):
            CombinationDisplay.from_images(GREY[:3], GREY, [GREY, GREY])
        with pytest.raises(ValueError, match="column_images must agree"):
            CombinationDisplay.from_images(GREY[:2], GREY[:3], [GREY, GREY])


class TestCounterfactual:
    def test_differences_are_signed_and_share_a_symmetric_scale(self):
        after = GREY[:2] * np.array([0.5, 1.2])[:, None, None]
        shown = CounterfactualDisplay.from_images(GREY[:2], after)
        differences = shown.ax_.images[2::3]
        for image, expected in zip(differences, after - GREY[:2], strict=True):
            np.testing.assert_allclose(image.get_array(), expected, atol=1e-6)
            assert image.get_clim() == (-0.5, 0.5)

    def test_the_channel_that_changes_most_is_shown(self):
        after = COLOUR[:1].copy()
        after[0, 1] -= 0.5
        after[0, 2] += 0.1
        shown = CounterfactualDisplay.from_images(COLOUR[:1], after)
        np.testing.assert_allclose(shown.ax_.images[2].get_array(), -0.5, atol=1e-6)

    def test_no_change_is_drawn_too(self):
        shown = CounterfactualDisplay.from_images(GREY, GREY)
        assert not shown.ax_.images[2].get_array().any()

    @pytest.mark.parametrize("shape", [(1, 4, 6), (1, 24), (1, 1, 4, 6)])
    def test_the_outline_runs_around_the_region(self, shape):
        masks = REGION.astype(float).reshape(shape)
        shown = CounterfactualDisplay.from_images(GREY[:1], GREY[:1], masks=masks)
        outlines = shown.ax_.collections
        assert len(outlines) == 3
        # A block of 2 × 3 pixels and one pixel in the corner.
        assert len(outlines[0].get_segments()) == 2 * (2 + 3) + 4

    def test_masks_must_fit(self):
        with pytest.raises(ValueError, match=r"masks must have shape \(2, 4, 6\) or \(2, 24\)"):
            CounterfactualDisplay.from_images(GREY[:2], GREY[:2], masks=[REGION])


class TestLossCurves:
    def test_the_line_is_the_median_of_those_that_run(self):
        history = histories()
        shown = LossCurveDisplay.from_history(history)
        steps, values = shown.lines_["cross_entropy"].get_data()
        np.testing.assert_array_equal(steps, np.arange(1, 21))
        np.testing.assert_allclose(values, np.nanmedian(history["cross_entropy"], axis=0))

    def test_steps_after_the_last_end_are_left_out(self):
        shown = LossCurveDisplay.from_history({"loss": [3.0, 2.0, np.nan]})
        np.testing.assert_array_equal(shown.lines_["loss"].get_xdata(), [1, 2])

    def test_info_of_generate(self, generator):
        _, info = generator.generate([1, 2], return_info=True)
        shown = LossCurveDisplay.from_history(info.history)
        assert set(shown.lines_) == {"cross_entropy", "prior"}

    def test_history_of_fit(self, generator, monkeypatch):
        monkeypatch.setattr(generator, "history_", {"train_loss": np.array([2.0, 1.0])})
        shown = LossCurveDisplay.from_estimator(generator)
        assert shown.ax_.get_xlabel() == "epoch"
        np.testing.assert_array_equal(shown.lines_["train_loss"].get_ydata(), [2.0, 1.0])

    def test_nothing_to_draw(self, generator):
        with pytest.raises(ValueError, match="fit trained no network"):
            LossCurveDisplay.from_estimator(generator)
        with pytest.raises(ValueError, match="none of them empty"):
            LossCurveDisplay.from_history({})
        with pytest.raises(ValueError, match="none of them empty"):
            LossCurveDisplay.from_history({"loss": []})
