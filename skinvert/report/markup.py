"""Pieces of a page: escaped text, tables, figures, and the style that they share.

Nothing here runs in a browser: no script, no font and no picture from elsewhere. The page says so
itself in its content security policy, which forbids all loading.
"""

import math
import re
from html import escape

__all__ = [
    "document",
    "figure",
    "number",
    "percent",
    "picture",
    "section",
    "strip",
    "table",
    "text",
]

# Controls, halves of surrogate pairs and non-characters have no place in HTML.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def text(value):
    """Anything as text that is safe in elements and in attributes.

    Examples
    --------
    >>> from skinvert.report.markup import text
    >>> text("<b> & \\"c\\"\\x00")
    '&lt;b&gt; &amp; &quot;c&quot;\ufffd'
    """
    return escape(_UNPRINTABLE.sub("\ufffd", str(value)))


def number(value):
    """A number to two decimals; what is not known is said in a word."""
    return "unknown" if math.isnan(value) else f"{value:.2f}"


def percent(share):
    """A share as percent."""
    return "unknown" if math.isnan(share) else f"{100 * share:.0f} %"


def section(identifier, title, *content, level=2):
    """A section under a heading of its own, with an id to link to."""
    return (
        f'<section id="{identifier}" aria-labelledby="{identifier}-title">\n'
        f'<h{level} id="{identifier}-title">{title}</h{level}>\n' + "\n".join(content) + "\n"
        "</section>"
    )


def table(caption, header, rows, shades=None):
    """A table whose first column names its rows; it scrolls by itself where it is wide.

    Parameters
    ----------
    caption : str
    header : list of str
    rows : list of list of str
        Markup, as everything here but `caption`.
    shades : list of list of float, default=None
        For each cell but the first of a row, how dark its ground is, in [0, 1].
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = []
    for place, (first, *others) in enumerate(rows):
        tones = [0.0] * len(others) if shades is None else shades[place]
        cells = "".join(
            f"<td{_shade(tone)}>{cell}</td>" for cell, tone in zip(others, tones, strict=True)
        )
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(caption)}">\n<table>\n'
        f"<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(body)
        + "\n</tbody>\n</table>\n</div>"
    )


def _shade(tone):
    step = 0 if math.isnan(tone) else math.ceil(5 * min(max(tone, 0.0), 1.0))
    return f' class="shade{step}"' if step else ""


def picture(uri, alt):
    """A picture and its alternative text, which is escaped here."""
    return f'<img src="{uri}" alt="{text(alt)}">'


def figure(uri, alt, caption, size="small"):
    """A picture with its alternative text and, below it, markup.

    Parameters
    ----------
    uri : str
    alt : str
        Plain text.
    caption : str
        Markup.
    size : {"small", "large"}, default="small"
    """
    below = f"<figcaption>{caption}</figcaption>"
    return f'<figure class="{size}">{picture(uri, alt)}{below}</figure>'


def strip(figures, kind="strip"):
    """Figures side by side, wrapped where the page is narrow; "pair" keeps two together."""
    return f'<div class="{kind}">\n' + "\n".join(figures) + "\n</div>"


def document(title, lead, links, sections, footer):
    """A whole page.

    Parameters
    ----------
    title : str
        Plain text.
    lead : str
        Markup below the title.
    links : list of tuple (identifier, name)
        Of the sections, in their order.
    sections : list of str
    footer : str
    """
    jumps = "\n".join(f'<li><a href="#{to}">{name}</a></li>' for to, name in links)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<link rel="icon" href="data:,">
<style>
{_STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the findings</a>
<header>
<h1>{text(title)}</h1>
{lead}
<nav aria-label="Sections">
<ul>
{jumps}
</ul>
</nav>
</header>
<main id="main" tabindex="-1">
{chr(10).join(sections)}
</main>
<footer>
{footer}
</footer>
</body>
</html>
"""


_STYLE = """\
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: #fff; color: #1b1b1b;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2, h3, h4 { line-height: 1.25; margin: 1.5em 0 0.5em; }
h1 { margin-top: 0.5em; }
h2 { border-top: 2px solid #1b1b1b; padding-top: 0.75rem; }
h3 { border-top: 1px solid #767676; padding-top: 0.75rem; }
p, li { max-width: 46rem; }
a { color: #0b4f8a; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 3px solid #0b4f8a;
  outline-offset: 2px; }
main:focus { outline: none; }
.skip { position: absolute; left: -100rem; background: #fff; padding: 0.5rem; }
.skip:focus { left: 1rem; }
nav ul { display: flex; flex-wrap: wrap; gap: 0 1.25rem; list-style: none; padding: 0; }
nav a { display: inline-block; padding: 0.35rem 0; }
.strip { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 0.5rem 0 1rem; }
.pair { display: flex; gap: 0.25rem; background: #f0f0f0; padding: 0.25rem; }
figure { margin: 0; }
figure.small { width: 6rem; }
figure.large { width: 9rem; }
img { display: block; width: 100%; image-rendering: pixelated; border: 1px solid #767676; }
td img { width: 5rem; }
figcaption { font-size: 0.8125rem; line-height: 1.35; margin-top: 0.25rem; }
.warning { border-left: 0.4rem solid #a11; background: #fff1f0; padding: 0.5rem 1rem;
  margin: 0.75rem 0; }
.fine { border-left: 0.4rem solid #1c6b34; background: #eef8f0; padding: 0.5rem 1rem;
  margin: 0.75rem 0; }
.warning p, .fine p { margin: 0.25rem 0; }
.note { color: #4a4a4a; font-size: 0.9375rem; }
.scroll { overflow-x: auto; margin: 0.75rem 0; max-width: 100%; }
table { border-collapse: collapse; font-size: 0.9375rem; width: max-content; }
caption { text-align: left; font-weight: 600; padding: 0.25rem 0; }
th, td { border: 1px solid #b5b5b5; padding: 0.25rem 0.5rem; text-align: left;
  vertical-align: top; max-width: 20rem; }
thead th { background: #f0f0f0; }
td { font-variant-numeric: tabular-nums; }
.shade1 { background: #eef4fa; } .shade2 { background: #d9e7f4; } .shade3 { background: #c1d8ee; }
.shade4 { background: #a9c9e8; } .shade5 { background: #8fb8e0; }
pre { white-space: pre-wrap; background: #f5f5f5; padding: 0.5rem; font-size: 0.875rem; }
summary { cursor: pointer; padding: 0.35rem 0; }
footer { border-top: 1px solid #767676; margin-top: 2rem; }
@media (max-width: 30rem) { figure.small { width: 4.6rem; } figure.large { width: 7.5rem; } }
@media print { nav, .skip { display: none; } }
"""
