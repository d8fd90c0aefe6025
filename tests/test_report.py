"""The audit report: one page that says the truth, opens everywhere and loads nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.utils import Bunch
from torch import nn

from skinvert import InputOptimizationGenerator
from skinvert.report import audit
from skinvert.report.concerns import concerns_of, is_planted
from skinvert.report.counterfactuals import least_changes
from skinvert.report.findings import co_activation
from skinvert.report.marks import find_marks, windows_of
from skinvert.report.markup import text
from skinvert.report.pictures import data_uri
from skinvert.report.subject import make_subject

FIVE_MEGABYTES = 5 * 10**6
VOID = {"img", "meta", "link", "br"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=http://evil.example/x onerror=alert(1)>',
    "nul \x00 bell \x07 &amp; ' half \ud800",
]


def quick_methods():
    return {
        "drawn": InputOptimizationGenerator(prior_weight=0.1, n_candidates=32),
        "climbed": InputOptimizationGenerator(
            prior="gaussian", objective="logit", init="noise", n_steps=10, learning_rate=0.2
        ),
    }


def quick_audit(X, y, *, classifier=None, **arguments):
    """Half of the rows train the classifier and the judge, the other half is audited."""
    if classifier is None:
        classifier = LogisticRegression(max_iter=200).fit(X[::2], y[::2])
    settings = {
        "judge": LogisticRegression(max_iter=200).fit(X[::2], y[::2]),
        "methods": quick_methods(),
        "n_images": 10,
        "n_pairs": 2,
        "device": "cpu",
    }
    return audit(classifier, X[1::2], y[1::2], **settings | arguments)


def marked(X, y, label):
    """Rows of one class with a bright corner, top left."""
    X = X.copy()
    X.reshape(-1, 8, 8)[y == label, :2, :2] = 1
    return X


@pytest.fixture(scope="module")
def three(digits):
    X, y = digits
    return X[y < 3], y[y < 3]


@pytest.fixture(scope="module")
def found(digits):
    """An audit of all ten digits, where class 3 bears a mark."""
    X, y = digits
    return quick_audit(marked(X, y, 3), y)


class Page(HTMLParser):
    """Elements with their attributes, in order; fails on tags that don't close each other."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.words = [], [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" not in self.open:
            self.words += data

    def all(self, *tags):
        return [attrs for tag, attrs in self.elements if tag in tags]


@pytest.fixture(scope="module")
def page(found):
    return Page(found.html)


def test_the_page_loads_nothing_and_runs_nothing(page, found):
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "base", "video", "audio"}
    for tag, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on")], tag
        for name in ("src", "href"):
            if name in attrs:
                assert attrs[name].startswith(("data:", "#")), attrs[name]
    assert "url(" not in found.html
    assert "@import" not in found.html
    policy = [m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0]["content"].startswith("default-src 'none'")


def test_the_page_is_accessible(page, found):
    assert found.html.startswith("<!DOCTYPE html>\n")
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("title")) == len(page.all("h1")) == len(page.all("main")) == 1
    alts = [image["alt"] for image in page.all("img")]
    assert len(alts) > 100
    assert all(len(alt) > 10 for alt in alts)
    assert all(head["scope"] in ("row", "col") for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    # A keyboard reaches what scrolls, and a screen reader says what it is.
    assert all("tabindex" in box and box["aria-label"] for box in page.all("div") if "role" in box)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1, "a heading level is left out"


def test_ids_are_unique_and_links_and_labels_lead_to_them(page):
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [link["href"][1:] for link in page.all("a")]
    labels = [attrs["aria-labelledby"] for attrs in page.all("section")]
    assert set(links) | set(labels) <= set(ids)


def test_ten_classes_take_less_than_five_megabytes(found):
    assert len(found.html.encode()) < FIVE_MEGABYTES


def test_pictures_of_any_size_stay_small():
    # Noise is the worst that there is; the defaults show about 400 pictures of ten classes.
    images = np.random.default_rng(0).uniform(size=(3, 4, 300, 200))
    largest = max(len(data_uri(image[:c], (0, 1))) for image in images for c in (1, 3, 4))
    assert 400 * largest < FIVE_MEGABYTES


@pytest.mark.parametrize("part", ["summary", "marks", "methods", "classes", "coactivation"])
def test_sections_are_there(page, part):
    assert part in {attrs.get("id") for attrs in page.all("section")}


def test_every_class_shows_prototypes_of_every_method(page, found):
    alts = " ".join(image["alt"] for image in page.all("img"))
    for label in range(10):
        for method in ("drawn", "climbed"):
            for count in range(1, 5):
                assert f"Prototype {count} of class {label} by {method};" in alts
                assert f"nearest to prototype {count} of class {label} by {method};" in alts
    assert "at λ = 0.001" in alts


def test_a_planted_mark_is_named(page, found):
    (concern,) = [concern for concern in found.concerns if concern.kind == "mark"]
    assert "Class 3 " in concern.words
    assert "top left (rows 1 to 2, columns 1 to 2)" in concern.words
    assert concern.words in page.words
    assert found.marks[0].label == 3
    assert found.marks[0].window == (0, 0, 2, 2)


@pytest.mark.parametrize("seed", range(3))
def test_marks_are_ranked_first_and_their_absence_is_seen(digits, seed):
    X, y = digits
    label = seed + 4
    for rows, planted in ((marked(X, y, label), True), (X, False)):
        classifier = MLPClassifier((32,), max_iter=300, tol=1e-3, random_state=seed)
        classifier.fit(rows[::2], y[::2])
        shown, asked = rows[1::2], y[1::2]
        means = {c: shown[asked == c].mean(0).reshape(1, 8, 8) for c in range(10)}
        marks = find_marks(
            lambda images, net=classifier: net.predict(images.reshape(-1, 64)),
            shown.reshape(-1, 1, 8, 8),
            asked,
            {"the mean row": means},
            np.arange(10),
            seed=seed,
        )
        assert [mark.label for mark in marks if is_planted(mark)] == [label] * planted
        weights = [mark.turned * (1 - mark.kept) for mark in marks]
        assert weights == sorted(weights, reverse=True)
        if planted:
            assert marks[0].window == (0, 0, 2, 2)


def test_a_mark_that_only_the_classifier_saw_is_found_in_what_it_generates(digits):
    """The audited rows are clean; what the classifier learned from was not."""
    X, y = digits
    classifier = LogisticRegression(max_iter=200).fit(marked(X, y, 3), y)
    clean = quick_audit(X, y, classifier=classifier)
    (concern,) = [concern for concern in clean.concerns if concern.kind == "mark"]
    assert "Class 3 " in concern.words
    assert clean.marks[0].source == "climbed"


def test_a_loud_patch_is_no_mark():
    """What turns every row, but is not needed, belongs to an honest if nervous classifier."""
    rng = np.random.default_rng(0)
    images, columns = rng.uniform(0, 0.5, size=(80, 1, 8, 8)), np.repeat([0, 1], 40)
    images[columns == 1, :, 4:] += 0.4
    sources = {"loud": dict.fromkeys((0, 1), np.full((1, 8, 8), 5.0))}
    marks = find_marks(
        lambda images: (images.mean((1, 2, 3)) > 0.35).astype(int),
        images,
        columns,
        sources,
        np.arange(2),
    )
    found = {mark.label: mark for mark in marks}
    assert found[1].turned == found[1].kept == 1
    assert not any(is_planted(mark) for mark in marks)


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (8, 8), (28, 28), (224, 100)])
def test_windows_cover_the_image(shape):
    covered = np.zeros(shape, dtype=bool)
    for top, left, height, width in windows_of(*shape):
        assert top >= 0
        assert left >= 0
        covered[top : top + height, left : left + width] = True
        assert top + height <= shape[0]
        assert left + width <= shape[1]
    assert covered.all()
    assert len(windows_of(*shape)) <= 64


def test_co_activation_knows_no_scale_and_no_zero():
    rng = np.random.default_rng(0)
    logits, classes = rng.normal(size=(20, 4)), np.arange(4)
    y = logits.argmax(1)
    labels = np.unique(y)
    evidence = co_activation(logits, y, labels, classes)
    np.testing.assert_allclose(co_activation(3 * logits + 7, y, labels, classes), evidence)
    np.testing.assert_allclose(evidence[np.arange(len(labels)), labels], 1)
    assert (evidence[np.isfinite(evidence)] >= 0).all()
    assert np.isnan(co_activation(-logits[:1], y[:1], y[:1], classes)).all()


def test_the_least_change_is_the_one_pixel_that_matters():
    """A linear classifier that looks at pixel 5 alone."""
    net = nn.Linear(64, 2)
    with torch.no_grad():
        net.weight.zero_()
        net.weight[1, 5], net.bias[:] = 10.0, torch.tensor([4.0, 0.0])
    rng = np.random.default_rng(0)
    X, y = rng.uniform(0, 0.3, size=(40, 64)), np.repeat([0, 1], 20)
    X[y == 1, 5] = 1
    subject = make_subject(
        net,
        X,
        y,
        labels=None,
        judge=object(),
        image_shape=None,
        classes=None,
        normalize=None,
        outputs="auto",
        device="cpu",
        seed=0,
    )
    judge = LogisticRegression().fit(X, y)
    (change,) = least_changes([(0, 0, 1)], subject, judge, None, 0)
    assert change.turned
    assert np.flatnonzero(change.after - change.before).tolist() == [5]
    assert change.share == 1 / 64
    assert change.probability_before < 0.5 < change.probability_after


def test_hostile_names_are_text(three):
    X, y = three
    names = np.array(HOSTILE)
    methods = {f"<b>{name}": method for name, method in quick_methods().items()}
    page = Page(quick_audit(X, names[y], methods=methods, title="<i>'\"").html)
    assert {"script", "b", "i"}.isdisjoint(tag for tag, _ in page.elements)
    assert not [attrs for _, attrs in page.elements if "onerror" in attrs]
    assert HOSTILE[0] in page.words
    assert HOSTILE[1] in page.words
    assert "nul \ufffd bell \ufffd &amp; ' half \ufffd" in page.words


def test_text_survives_a_round_trip_through_a_file():
    assert text("\udcff \x85 é 汉 λ") == "\ufffd \ufffd é 汉 λ"


def test_the_same_seed_gives_the_same_bytes_but_for_the_date(three, tmp_path):
    X, y = three
    pages = []
    for run in range(2):
        path = tmp_path / f"{run}.html"
        found = quick_audit(X, y, path=path)
        assert path.read_bytes().decode() == found.html
        pages.append(re.sub(r"<time.*?</time>", "", found.html))
    assert pages[0] == pages[1]
    assert pages[0] != re.sub(r"<time.*?</time>", "", quick_audit(X, y, random_state=1).html)


def test_the_users_network_and_the_global_random_states_are_left_alone(
    digits, net, global_rng_untouched
):
    X, y = digits
    keep = y < 3
    with global_rng_untouched():
        found = quick_audit(X[keep], y[keep], classifier=net, labels=[0, 2])
    assert list(found.subject.labels) == [0, 2]
    assert "Class 1<" not in found.html


def test_fitted_methods_are_used_as_they_are(three):
    X, y = three
    classifier = LogisticRegression(max_iter=200).fit(X[::2], y[::2])
    own = InputOptimizationGenerator(
        FrozenEstimator(classifier), prior_weight=0.05, device="cpu", random_state=0
    ).fit(X, y)
    found = quick_audit(X, y, classifier=classifier, methods={"own": own})
    assert found.methods["own"] is own
    assert own.prior_weight == 0.05
    assert found.sensitivity["own"].weights == pytest.approx([5e-4, 5e-3, 0.05, 0.5, 5])
    foreign = InputOptimizationGenerator(device="cpu", n_candidates=8).set_params(
        classifier=LogisticRegression()
    )
    with pytest.raises(ValueError, match="fitted to 64 features and the classes"):
        quick_audit(X, y, methods={"foreign": foreign.fit(X[y > 0], y[y > 0])})


class WithCounterfactual(InputOptimizationGenerator):
    """A generator that answers what would have to be different."""

    def counterfactual(self, X, y, *, random_state=None):
        return Bunch(images=self.generate(y, random_state=random_state))


def test_a_method_with_counterfactuals_is_asked_for_them(three):
    X, y = three
    found = quick_audit(X, y, methods={"asked": WithCounterfactual(prior_weight=0.1)})
    assert [change.method for change in found.changes] == ["asked", "asked"]
    assert all(change.turned for change in found.changes)


def test_concerns_name_what_the_judge_does_not_recognise(three):
    """A judge whose names of two classes are swapped recognises neither."""
    X, y = three
    swapped = LogisticRegression(max_iter=200).fit(X, np.array([1, 0, 2])[y])
    found = quick_audit(X, y, judge=swapped)
    words = [c.words for c in concerns_of(found) if c.kind == "unrecognised"]
    assert [word.split("class ")[1][:1] for word in words] == ["0", "1"]
    assert found.prototypes["drawn"].verdict(0).mistaken_for == 1


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"classifier": LogisticRegression()}, NotFittedError, "trains no classifier"),
        ({"classifier": "net"}, TypeError, "must be a torch.nn.Module"),
        ({"classifier": LogisticRegression}, TypeError, "must be a torch.nn.Module"),
        ({"methods": {}}, TypeError, "at least one generator"),
        ({"methods": InputOptimizationGenerator()}, TypeError, "dict of names"),
        ({"methods": {"a": LogisticRegression()}}, TypeError, "must be a generator"),
        ({"methods": {"a": InputOptimizationGenerator}}, TypeError, "must be a generator"),
        (
            {"methods": {"a": InputOptimizationGenerator(LogisticRegression())}},
            ValueError,
            "classifier of its own",
        ),
        ({"judge": object()}, TypeError, "predict_proba"),
        ({"labels": [0, 7]}, ValueError, r"got \[7\]"),
        ({"labels": [1]}, ValueError, "at least 2 classes"),
        ({"image_shape": (3, 5)}, ValueError, "holds 15 values"),
        ({"n_images": 5}, ValueError, "at least 10"),
        ({"n_pairs": -1}, ValueError, "at least 0"),
        ({"n_prototypes": True}, ValueError, "n_prototypes must be an integer"),
        ({"random_state": None}, ValueError, "random_state must be an integer"),
        ({"path": "no/such/folder/page.html"}, ValueError, "does not exist"),
        ({"path": Path(__file__).parent}, ValueError, "is a folder"),
        ({"normalize": (0, 1)}, ValueError, "normalize"),
    ],
)
def test_bad_arguments_get_clear_errors(three, change, error, match):
    with pytest.raises(error, match=match):
        quick_audit(*three, **change)


def test_bad_data_get_clear_errors(three):
    X, y = three
    classifier = LogisticRegression(max_iter=200).fit(X, y)
    broken = X.copy()
    broken[4, 2] = np.nan
    few = np.flatnonzero((y != 1) | (np.cumsum(y == 1) < 9))
    for rows, labels, match in (
        (broken, y, "row 4 of X has a value that is not finite"),
        (X, y[:-1], "one label for each row"),
        (X, y + 5, "not among the classifier's classes"),
        (X[:, :63], y, "make no one-channel square"),
        (X[few], y[few], r"at least 10 rows.*\{1: 8\}"),
        (X[:0], y[:0], r"at least 2 classes, got \[\]"),
    ):
        with pytest.raises(ValueError, match=match):
            audit(classifier, rows, labels)
