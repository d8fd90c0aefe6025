"""The page: findings in sections, each with the words that a reader without Python needs."""

import numpy as np

from skinvert.report.concerns import is_planted, place_of
from skinvert.report.markup import (
    document,
    figure,
    number,
    percent,
    picture,
    section,
    strip,
    table,
    text,
)
from skinvert.report.pictures import data_uri, difference_uri, outlined_uri

__all__ = ["page_of"]

_MOST_NAMED = 3  # classes that a class's images excite beside their own
_NOTEWORTHY = 0.05

_FIGURES = {
    "judge_accuracy": "share recognised by the judge",
    "judge_confidence": "judge's mean confidence",
    "diversity": "diversity within a class (real rows: 1)",
    "authenticity": "share that is no near copy of a learned row",
}


def page_of(audit):
    """The HTML of an `Audit`, as one string.

    Parameters
    ----------
    audit : skinvert.report.Audit

    Returns
    -------
    html : str
        Valid HTML 5, with all pictures within.
    """
    parts = [
        ("summary", "Summary", _summary(audit)),
        ("marks", "Planted marks", _marks(audit)),
        ("methods", "Methods", _methods(audit)),
        ("classes", "Classes", _classes(audit)),
        ("coactivation", "Co-activation", _co_activation(audit)),
        ("confusions", "Confusions and counterfactuals", _confusions(audit)),
        ("sensitivity", "Sensitivity to λ", _sensitivity(audit)),
        ("settings", "Settings and versions", _settings(audit)),
    ]
    subject = audit.subject
    lead = (
        f"<p>What a classifier of {len(subject.classes)} classes believes its classes look like, "
        f"shown by {len(audit.prototypes)} methods that generate images from it, and beside "
        f'{len(subject.everything)} real rows. Made on <time datetime="{audit.created}">'
        f"{_read_aloud(audit.created)}</time>.</p>\n"
        '<p class="note">This file needs no network and runs no script. It shows rows of the data; '
        "pass it on only where these may be shown.</p>"
    )
    return document(
        audit.title,
        lead,
        [(identifier, name) for identifier, name, _ in parts],
        [section(identifier, name, *content) for identifier, name, content in parts],
        f"<p>Written by skinvert {text(audit.versions['skinvert'])}.</p>",
    )


def _read_aloud(moment):
    """``2026-01-31T08:30:00+00:00`` as ``2026-01-31, 08:30 UTC``."""
    return f"{moment[:10]}, {moment[11:16]} UTC"


def _shown(image, audit):
    return data_uri(image, audit.subject.value_range)


def _summary(audit):
    right = np.mean([audit.confusion[i, c] for i, c in enumerate(audit.columns)])
    share = right * len(audit.columns) / audit.confusion.sum()
    yield (
        f"<p>The classifier calls {percent(share)} of the real rows by their label. "
        f"{_fidelity(audit.subject.fidelity)}{_judge(audit)}</p>"
    )
    if not audit.concerns:
        yield '<div class="fine"><p>Nothing was found that deserves a warning.</p></div>'
    for concern in audit.concerns:
        yield (
            f'<div class="warning" data-kind="{concern.kind}"><p><strong>Warning.</strong> '
            f"{text(concern.words)}</p></div>"
        )


def _fidelity(fidelity):
    if fidelity is None:
        return ""
    return (
        "It has no gradient: a network that learned to answer like it, and does so on "
        f"{percent(fidelity)} of held-out rows, stands for it. "
    )


def _judge(audit):
    about = f"Images are judged by {text(audit.judge_name)}, "
    if audit.judge_score is None:
        return about + "which the author of this report trained."
    return about + (
        f"trained on {len(audit.subject.judging)} rows from which no method learned; it calls "
        f"{percent(audit.judge_score)} of {len(audit.subject.test)} other rows by their label."
    )


def _marks(audit):
    yield (
        "<p>A mark is a small part of an image that decides for a class, whatever else is to be "
        "seen: a coloured corner, a watermark. For each class, parts of its generated "
        "images and of its mean row were pasted on real rows of other classes, and the same place "
        "was painted over in rows of the class. Shown is the part that turned most of the ones "
        "and left least of the others. A mark does both: loud parts of honest classes turn other "
        "rows too, but the class is recognised without them. Large marks, and marks without a "
        "fixed place, are not found in this way.</p>"
    )
    figures, rows, shape = [], [], audit.subject.image_shape
    for mark in audit.marks:
        verdict = "planted mark?" if is_planted(mark) else "no mark"
        place = place_of(mark.window, shape)
        image = audit.sources[mark.source][audit.column_of(mark.label)]
        rows.append(
            [
                f"class {text(mark.label)}",
                f"<strong>{verdict}</strong>" if is_planted(mark) else verdict,
                text(place),
                text(mark.source),
                f"{percent(mark.turned)} of {mark.n_rows}",
                percent(mark.kept),
            ]
        )
        figures.append(
            figure(
                outlined_uri(image, mark.window, audit.subject.value_range),
                f"Typical image of class {mark.label} by {mark.source}; its most telling part, at "
                f"the {place}, is outlined.",
                f"class {text(mark.label)}: {verdict}",
                "large",
            )
        )
    yield strip(figures)
    yield table(
        "The most telling part of each class",
        [
            "class",
            "verdict",
            "place",
            "cut from",
            "rows of other classes turned",
            "own rows recognised without it",
        ],
        rows,
    )


def _methods(audit):
    names = list(audit.comparison)
    floors = next(iter(audit.comparison.values())).figures
    rows = []
    for name, words in _FIGURES.items():
        found = [audit.comparison[method].figures[name] for method in names]
        cells = [f"{number(one.value)} ({number(one.low)} to {number(one.high)})" for one in found]
        rows.append([words, *cells, number(floors[name].floor)])
    n = len(next(iter(audit.prototypes.values())).y)
    yield (
        f"<p>{n} images by each method. In brackets: the interval of 95 %. Real rows stand beside "
        "them, for no figure means anything alone.</p>"
    )
    header = ["figure", *[text(name) for name in names], "real rows"]
    yield table("Figures of all methods", header, rows)


def _classes(audit):
    jumps = " ".join(
        f'<li><a href="#class-{place}">class {text(label)}</a></li>'
        for place, label in enumerate(audit.subject.labels)
    )
    yield f'<nav aria-label="Classes"><ul>{jumps}</ul></nav>'
    for place, label in enumerate(audit.subject.labels):
        yield section(
            f"class-{place}", f"Class {text(label)}", *_class(audit, place, label), level=3
        )


def _class(audit, place, label):
    mean = audit.subject.everything.of(label).mean(0)
    n_rows = int(np.sum(audit.subject.everything.y == label))
    alt = f"Mean of {n_rows} real rows of class {label}."
    yield strip([figure(_shown(mean, audit), alt, f"mean of {n_rows} rows")])
    rows = []
    for name, found in audit.prototypes.items():
        yield f"<h4>{text(name)}</h4>"
        yield strip(_prototypes(audit, name, found, label))
        verdict, others = found.verdict(label), _excited(audit, found.evidence[place], label)
        mistaken = "–" if verdict.mistaken_for is None else text(verdict.mistaken_for)
        rows.append(
            [
                text(name),
                percent(verdict.accuracy),
                number(verdict.confidence),
                mistaken,
                others,
            ]
        )
    header = ["method", "recognised", "confidence", "else mostly called", "also excites"]
    yield table(f"The judge on class {label}, and what else its images excite", header, rows)


def _prototypes(audit, name, found, label):
    learned = audit.subject.learned
    for count, row in enumerate(found.rows_of(label)[: audit.n_prototypes], start=1):
        called = found.judge_classes[found.judged[row].argmax()]
        sure = number(found.judged[row].max())
        near, distance = int(found.nearest[row]), number(np.sqrt(found.distances[row]))
        own = figure(
            _shown(found.images[row], audit),
            f"Prototype {count} of class {label} by {name}; the judge calls it {called} with "
            f"probability {sure}.",
            f"prototype {count}; judge: {text(called)} ({sure})",
        )
        real = figure(
            _shown(learned.images[near], audit),
            f"Real row of class {learned.y[near]}, the nearest to prototype {count} of class "
            f"{label} by {name}; root mean squared difference {distance} of the range.",
            f"nearest real row: {text(learned.y[near])}, at {distance}",
        )
        yield strip([own, real], "pair")


def _excited(audit, evidence, label):
    if np.isnan(evidence).all():
        return "no image excites its own class"
    others = [c for c in np.argsort(-evidence, kind="stable") if audit.subject.classes[c] != label]
    named = [
        f"{text(audit.subject.classes[c])} ({number(evidence[c])})"
        for c in others[:_MOST_NAMED]
        if evidence[c] >= _NOTEWORTHY
    ]
    return ", ".join(named) or "–"


def _co_activation(audit):
    yield (
        "<p>How much evidence for other classes the images of a class carry, in units of the "
        "evidence for their own: scores are counted from their mean over all classes, and those "
        "below it count nothing. A class that its own images excite little more than another is "
        "hardly a class of its own.</p>"
    )
    columns = audit.columns
    for name, found in audit.prototypes.items():
        shown = found.evidence[:, columns]
        rows = [
            [f"images of {text(label)}", *[number(value) for value in shown[place]]]
            for place, label in enumerate(audit.subject.labels)
        ]
        header = ["excite", *[text(label) for label in audit.subject.labels]]
        yield table(f"Co-activation by {name}", header, rows, shown.tolist())


def _confusions(audit):
    yield (
        "<p>The classifier's answers to all real rows of this report. Where it learned from the "
        "same rows, it errs less here than it will elsewhere.</p>"
    )
    shares = audit.confusion / audit.confusion.sum(1, keepdims=True)
    rows = [
        [f"rows of {text(label)}", *[str(count) for count in audit.confusion[place]]]
        for place, label in enumerate(audit.subject.labels)
    ]
    header = ["called", *[text(label) for label in audit.subject.classes]]
    yield table("Confusion matrix: counts of real rows", header, rows, shares.tolist())
    yield "<h3>Counterfactuals</h3>"
    yield (
        "<p>For the pairs of classes that are confused most, a real row of which the classifier "
        "is as sure as of most, and the least change found that turns the classifier. Where the "
        "judge follows, the change is one of class; where it does not, only the classifier is "
        "moved. Beside it stands a series of generated images from one class to the other.</p>"
    )
    for change, series in zip(audit.changes, audit.series, strict=True):
        yield from _change(audit, change, series)


def _change(audit, change, series):
    start, goal = text(change.start), text(change.goal)
    verdict = f"turned to {goal}" if change.turned else f"not turned to {goal}"
    follows = "follows" if change.judged == change.goal else "does not follow"
    yield f"<h4>From {start} to {goal}</h4>"
    yield (
        f"<p>{text(change.method[:1].upper() + change.method[1:])}: the classifier is {verdict}, "
        f"its probability of {goal} goes from {number(change.probability_before)} to "
        f"{number(change.probability_after)}, and {percent(change.share)} of the pixels change. "
        f"The judge {follows}: it calls the changed image {text(change.judged)}.</p>"
    )
    pair = f"from class {change.start} to class {change.goal}"
    figures = [
        figure(
            _shown(change.before, audit),
            f"Real row {change.row} of class {change.start}, before the change {pair}.",
            "before",
        ),
        figure(
            _shown(change.after, audit),
            f"The same row after the change {pair}; the judge calls it {change.judged}.",
            "after",
        ),
        figure(
            difference_uri(change.before, change.after, audit.subject.value_range),
            f"What the change {pair} made brighter, in orange, and darker, in blue.",
            "orange: brighter; blue: darker",
        ),
    ]
    if series is not None:
        name, images = series
        for place, image in enumerate(images):
            share = percent(place / (len(images) - 1))
            figures.append(
                figure(
                    _shown(image, audit),
                    f"Image by {name}, {share} of the way {pair}.",
                    f"{text(name)}: {share} class {goal}",
                )
            )
    yield strip(figures)


def _sensitivity(audit):
    yield (
        "<p>λ weighs what is likely an image against what the classifier wants. A small λ shows "
        "the classifier alone, a large one the data alone. Findings that hold over a range of λ "
        "are the classifier's; those that hold at one value may be the method's.</p>"
    )
    found = {name: one for name, one in audit.sensitivity.items() if one is not None}
    if not found:
        yield "<p>None of the methods has a weight of a prior.</p>"
    for name, one in found.items():
        weights = [f"λ = {weight:.3g}" for weight in one.weights]
        rows = [
            [weight, percent(judged), number(sure), number(varied)]
            for weight, judged, sure, varied in zip(
                weights, one.judged, one.sure, one.diversity, strict=True
            )
        ]
        header = ["weight", "recognised by the judge", "classifier's confidence", "diversity"]
        yield f"<h3>{text(name)}</h3>"
        yield table(f"{name} at five weights of its prior", header, rows)
        rows = [
            [f"class {text(label)}", *_swept(audit, name, label, one.images[:, place], weights)]
            for place, label in enumerate(audit.subject.labels)
        ]
        yield table(f"Images by {name} at five weights", ["class", *weights], rows)


def _swept(audit, name, label, images, weights):
    return [
        picture(_shown(image, audit), f"Class {label} by {name} at {weight}.")
        for image, weight in zip(images, weights, strict=True)
    ]


def _settings(audit):
    for caption, settings in (
        ("Settings of this report", audit.settings),
        ("Versions", audit.versions),
    ):
        rows = [[text(name), text(value)] for name, value in settings.items()]
        yield table(caption, ["name", "value"], rows)
    yield f"<h3>The classifier</h3>\n<pre>{text(audit.described)}</pre>"
    for name, parameters in audit.parameters.items():
        rows = [[text(key), text(value)] for key, value in parameters.items()]
        body = table(f"Parameters of {name}", ["parameter", "value"], rows)
        yield f"<details><summary>Parameters of {text(name)}</summary>\n{body}\n</details>"
