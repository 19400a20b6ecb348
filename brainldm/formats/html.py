"""Parts of a self-contained HTML page: everything inlined, nothing fetched, light and dark, from a phone to a desk."""

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape

KIND = "brainldm-report"  # the name under which a page says of which kind it is
CSS = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #59636e; --paper: #ffffff; --card: #f5f7f9; --line: #d5dbe1; --mark: #0077bb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e8ee; --soft: #9aa5b1; --paper: #14181d; --card: #1d232a; --line: #37404a; --mark: #55b1e6; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 16px; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7em; line-height: 1.2; margin: .4em 0; }
h2 { font-size: 1.25em; margin: 2.2em 0 .5em; padding-top: .5em; border-top: 1px solid var(--line); }
h3 { font-size: 1em; margin: 1em 0 .4em; }
p, li { max-width: 75ch; }
code, .mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .85em; overflow-wrap: anywhere; }
.banner { border: 3px solid #ee7733; border-radius: 6px; padding: .3em 1em; background: var(--card); margin: 0 0 1em; }
.banner p { max-width: none; margin: .5em 0; }
.banner.private { border-color: #cc3311; }
.note { border-left: 4px solid var(--mark); padding: .5em .9em; background: var(--card); max-width: none; }
figure { margin: 0; min-width: 0; }
figcaption { color: var(--soft); font-size: .88em; max-width: 75ch; margin-top: .3em; }
.row { display: flex; flex-wrap: wrap; gap: 20px; align-items: flex-start; }
.row > figure { flex: 1 1 300px; max-width: 480px; }
svg.plot { width: 100%; height: auto; display: block; max-width: 440px; font-variant-numeric: tabular-nums; }
svg.dag { width: 100%; max-width: 430px; height: auto; font-size: 13px; }
svg.dag rect { fill: var(--card); stroke: var(--mark); }
svg.dag text { fill: currentColor; }
.tiles { display: grid; gap: 8px; grid-template-columns: repeat(auto-fill, minmax(min(47%, 235px), 1fr)); }
.narrow { grid-template-columns: repeat(auto-fill, minmax(min(30%, 110px), 1fr)); }
.three { grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); }
.tiles figure { background: var(--card); border-radius: 6px; padding: 6px; border-top: 4px solid var(--line); }
.tiles figure.real { border-top-color: #ee7733; }
.tiles figure.synthetic { border-top-color: var(--mark); }
.tiles figcaption { font-size: .78em; line-height: 1.35; overflow-wrap: anywhere; }
.tiles img { width: 100%; display: block; background: #000; margin-bottom: 4px; }
.mixed { margin: .6em 0; display: inline-block; }
.sheet:has(.mixed input:checked) .tiles { display: contents; }
.sheet:has(.mixed input:checked) .pool { display: grid; gap: 8px; grid-template-columns: repeat(auto-fill, minmax(min(47%, 235px), 1fr)); }
.sheet:has(.mixed input:checked) .tiles figure { order: var(--place); border-top-color: var(--line); }
.sheet:has(.mixed input:checked) :is(.tiles figcaption, h3) { display: none; }
.beside { display: grid; gap: 20px; grid-template-columns: minmax(0, 5fr) minmax(0, 3fr); align-items: start; }
@media (max-width: 800px) { .beside { grid-template-columns: minmax(0, 1fr); } }
.scroll { overflow-x: auto; margin: .6em 0; background: linear-gradient(90deg, var(--paper) 50%, transparent) left / 3em 100%,
  linear-gradient(270deg, var(--paper) 50%, transparent) right / 3em 100%, linear-gradient(90deg, var(--line), transparent) left / 1em 100%,
  linear-gradient(270deg, var(--line), transparent) right / 1em 100%; background-repeat: no-repeat;
  background-attachment: local, local, scroll, scroll; }
nav { display: flex; flex-wrap: wrap; gap: .3em 1.2em; font-size: .92em; }
nav a { color: var(--mark); text-decoration: none; }
table { border-collapse: collapse; font-size: .92em; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35em .8em .35em 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
.ci { display: inline-block; font-weight: normal; }
td code { white-space: nowrap; }
td small { display: block; color: var(--soft); max-width: 46ch; }
.scale { display: flex; gap: 8px; align-items: center; font-size: .85em; color: var(--soft); }
.scale i { width: 140px; height: 10px; border: 1px solid var(--line);
  background: linear-gradient(90deg, #053061, #4393c3, #f7f7f7, #d6604d, #67001f); }
.stage { display: none; background: #000; border-radius: 6px; overflow: hidden; aspect-ratio: var(--row); }
@media (pointer: coarse) { .stage canvas { pointer-events: none; } }
#viewer form { display: none; gap: 2px 20px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 230px), 1fr)); margin: .6em 0; }
#viewer:is([data-state="starting"], [data-state="ready"]) > .stage { display: block; }
#viewer[data-state="ready"] > form { display: grid; }
#viewer:is([data-state="starting"], [data-state="ready"]) > .note { display: none; }
#viewer label[hidden] { display: none; }
#viewer label { font-size: .88em; color: var(--soft); }
#viewer output { float: right; color: var(--ink); font-variant-numeric: tabular-nums; }
#viewer :is(input, select) { width: 100%; display: block; accent-color: var(--mark); font: inherit; }
#viewer .where { grid-column: 1 / -1; margin: 0; max-width: none; min-height: 3em; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: .85em; color: var(--soft); max-width: none; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; border: 1px solid var(--line); margin-right: 5px; }
pre { overflow-x: auto; font-size: .8em; }
@media (max-width: 700px) {
  .stage { aspect-ratio: var(--square); }
  .stacked, .stacked :is(thead, tbody) { display: block; }
  .stacked tr { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); border-bottom: 1px solid var(--line); padding: .4em 0; }
  .stacked :is(td, th) { border: 0; padding: .1em .6em .1em 0; }
  .stacked :is(td, th):first-child { grid-column: 1 / -1; }
  .stacked th:first-child:empty { display: none; }
  .stacked td small { max-width: none; }
  .stacked td code { white-space: normal; }
}
summary { cursor: pointer; color: var(--mark); }
"""


def page(title: str, lede: str, body: Iterable[str], banner: str = "", kind: str = "") -> str:
    """Return a whole document with a table of its chapters; `banner` and `body` are markup, `title` and `lede` text.

    `kind` is what `kind_of` says of the document.
    """
    content = "\n".join(body)
    links = "".join(f'<a href="#{name}">{text}</a>' for name, text in re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', content))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="{KIND}" content="{escape(kind)}">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>\n<body>\n{banner}<h1>{escape(title)}</h1>\n"
        f"{paragraph(lede)}<nav>{links}</nav>\n{content}\n</body></html>\n"
    )


def kind_of(text: str) -> str:
    """Return the kind that `page` was given; of other documents an empty text."""
    found = re.search(rf'<meta name="{KIND}" content="(\w*)">', text)
    return found[1] if found else ""


def banner(kind: str, *paragraphs: str) -> str:
    """Return a framed text above everything else; the first of its paragraphs is bold, all are text."""
    first, *others = paragraphs
    return f'<div class="banner {kind}" role="note"><p><b>{escape(first)}</b></p>{"".join(map(paragraph, others))}</div>'


def section(title: str, *parts: str) -> str:
    """A titled chapter; `parts` are markup."""
    name = re.sub(r"\W+", "-", title.lower()).strip("-")
    return f'<section><h2 id="{name}">{escape(title)}</h2>\n' + "\n".join(parts) + "</section>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text, not markup."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def figure(content: str, caption: str, kind: str = "", place: int | None = None) -> str:
    """Markup with a caption (text); `place` is its position among tiles when they are mixed."""
    style = "" if place is None else f' style="--place:{place}"'
    return f'<figure class="{kind}"{style}>{content}<figcaption>{escape(caption)}</figcaption></figure>'


def image(png: bytes, description: str) -> str:
    """A PNG, inlined."""
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(description)}">'


def tiles(figures: Iterable[str], kind: str = "") -> str:
    """Figures in a grid that fits the screen."""
    return f'<div class="tiles {kind}">' + "".join(figures) + "</div>"


def row(*figures: str) -> str:
    """Figures side by side where there is room."""
    return '<div class="row">' + "".join(figures) + "</div>"


def beside(wide: str, narrow: str) -> str:
    """Two pieces of markup side by side, one above the other on a phone."""
    return f'<div class="beside"><div>{wide}</div>{narrow}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of markup cells; where the screen is narrow it scrolls sideways or, `stacked`, has each row's first cell above the others."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for cells in rows)
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def folded(title: str, content: str) -> str:
    """Markup that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def number(value: float | None, digits: int = 3) -> str:
    """A number as text, or that it could not be computed; small ones keep their significant digits."""
    if value is None:
        return "not computed"
    if value and abs(value) < 10**-digits * 10:
        return f"{value:.2g}"
    return f"{value:,.{digits}f}"


def estimate(value: str, bounds: Sequence[float | None] | None, digits: int = 3) -> str:
    """Markup of a value (text) and its interval, which goes below it where a column is narrow."""
    return f'{escape(value)} <span class="ci">{interval(bounds, digits).strip()}</span>'


def interval(bounds: Sequence[float | None] | None, digits: int = 3) -> str:
    """' [low, high]', or nothing where there is no interval."""
    if not bounds or None in bounds:
        return ""
    return " [" + ", ".join(number(bound, digits) for bound in bounds) + "]"
