"""Which findings deserve a warning, and in what words."""

from dataclasses import dataclass

__all__ = ["Concern", "concerns_of", "is_planted", "place_of"]

_TURNS, _KEEPS = 0.25, 0.25
_LEAST_FIDELITY = 0.9
_LEAST_ACCURACY = 0.5


@dataclass(frozen=True)
class Concern:
    """A warning of the report.

    Attributes
    ----------
    kind : {"mark", "fidelity", "unrecognised", "fragile", "copies"}
    words : str
        Plain text.
    """

    kind: str
    words: str


def is_planted(mark):
    """Whether a part of a class's images decides more than a part of an honest class does.

    It turns one in four rows of other classes or more, and without it the classifier recognises
    one in four rows of its own class or fewer.

    Examples
    --------
    >>> from skinvert.report.concerns import is_planted
    >>> from skinvert.report.marks import Mark
    >>> corner = Mark("a", "drawn", (0, 0, 2, 2), turned=0.6, kept=0.0, n_rows=50)
    >>> is_planted(corner), is_planted(Mark("a", "drawn", (0, 0, 2, 2), 0.6, 0.8, 50))
    (True, False)
    """
    return mark.turned >= _TURNS and mark.kept <= _KEEPS


def place_of(window, image_shape):
    """A window in words.

    Examples
    --------
    >>> from skinvert.report.concerns import place_of
    >>> place_of((0, 6, 2, 2), (1, 8, 8))
    'top right (rows 1 to 2, columns 7 to 8)'
    """
    top, left, height, width = window
    _, rows, columns = image_shape
    across = _third(left + width / 2, columns, ("left", "centre", "right"))
    down = _third(top + height / 2, rows, ("top", "middle", "bottom"))
    where = f"rows {top + 1} to {top + height}, columns {left + 1} to {left + width}"
    return f"{down} {across} ({where})"


def _third(middle, size, names):
    return names[min(int(3 * middle / size), 2)]


def concerns_of(audit):
    """All warnings of an `Audit`, the gravest first.

    Returns
    -------
    concerns : list of Concern
    """
    return [
        *_marks(audit),
        *_fidelity(audit.subject.fidelity),
        *_unrecognised(audit),
        *_fragile(audit.changes),
        *_copies(audit.comparison),
    ]


def _marks(audit):
    for mark in audit.marks:
        if is_planted(mark):
            place = place_of(mark.window, audit.subject.image_shape)
            yield Concern(
                "mark",
                f"Class {mark.label} seems to be decided by a mark at the {place}: pasted on rows "
                f"of other classes, this part of the images turns {mark.turned:.0%} of them to "
                f"class {mark.label}, and without it {mark.kept:.0%} of the rows of this class are "
                "recognised.",
            )


def _fidelity(fidelity):
    if fidelity is not None and fidelity < _LEAST_FIDELITY:
        yield Concern(
            "fidelity",
            "The classifier has no gradient, and the network that learned to answer like it does "
            f"so on {fidelity:.0%} of held-out rows only: findings may be the network's own.",
        )


def _unrecognised(audit):
    for label in audit.subject.labels:
        best = max(found.verdict(label).accuracy for found in audit.prototypes.values())
        if best < _LEAST_ACCURACY:
            yield Concern(
                "unrecognised",
                f"The judge recognises at most {best:.0%} of the images of class {label}, whatever "
                "the method: what the classifier calls by this name may be something else.",
            )


def _fragile(changes):
    turned = [change for change in changes if change.turned]
    alone = [change for change in turned if change.judged != change.goal]
    if turned and len(alone) > len(turned) / 2:
        yield Concern(
            "fragile",
            f"{len(alone)} of {len(turned)} small changes turn the classifier and not the judge: "
            "it can be moved without the image becoming one of the other class.",
        )


def _copies(comparison):
    for name, evaluation in comparison.items():
        found = evaluation.figures["authenticity"]
        if found.high < found.floor / 2:
            yield Concern(
                "copies",
                f"Images of the method {name} lie nearer to rows that it learned from than real "
                f"rows do (authenticity {found.value:.2f}, real rows {found.floor:.2f}): they show "
                "the data as much as the classifier.",
            )
