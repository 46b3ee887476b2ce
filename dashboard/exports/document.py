"""A self-contained page: styles, figures and plotly.js in one file, light or dark to match the reader's system.

The page requests nothing from any other host, and its own policy forbids it. A figure refers to colours by name; the
page holds the palettes of both themes and substitutes them as the dashboard does (assets/overlays/colours.js). Images
are included in both themes.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import plotly.graph_objects as go
import plotly.offline

from dashboard.components.scripts import ASSETS
from dashboard.contracts.table import Cell, Table
from dashboard.exports.figures import Standalone
from dashboard.exports.provenance import PROGRAM, Provenance
from dashboard.figures.text import as_bdi, isolate_runs
from dashboard.figures.theme import DARK, LIGHT, Theme, colours_of, in_theme

LONGEST_TABLE = 60  # rows of a table in a page
NEEDS_EVAL = {"scatter3d", "surface", "mesh3d", "cone", "streamtube", "volume", "isosurface"}  # Plotly's WebGL charts

STYLE, SCRIPT = "standalone.css", "standalone.js"


@cache
def _beside(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


@cache
def _colouring() -> str:
    return (ASSETS / "overlays" / "colours.js").read_text(encoding="utf-8")


def _strip_colours() -> str:
    """The strip's steps of surprisal, and its classes, in light and dark."""
    light, dark = _grounds(LIGHT), _grounds(DARK)
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n"


def _grounds(theme: Theme) -> str:
    classes = {str(i): colour for i, colour in enumerate(theme.classes)} | {"more": theme.hairline}
    steps = {str(i): colour for i, colour in enumerate(theme.surprisal)}
    rules = [f'li[data-step="{step}"] {{ background: {colour}; }}' for step, colour in steps.items()]
    rules += [f'[data-class="{name}"] {{ background: {colour}; }}' for name, colour in classes.items()]
    return " ".join(rules)


def figure_page(found: Standalone) -> str:
    """One figure as a page: title, caption, figure, exact numbers in words, and provenance."""
    body = [
        f"<main><section>{figure_part(found, 'figure-0', 'h1')}</section>",
        provenance_part(found.provenance),
        "</main>",
    ]
    return page(f"{found.title} – {found.run.model.title}", body, [found], found.provenance)


def page(title: str, body: Iterable[str], figures: Sequence[Standalone], provenance: Provenance) -> str:
    """A whole file; `figures` are drawn into the parts from `figure_part`, in that order."""
    stored = [found.drawn() for found in figures]
    scripts = [_stored(f"figure-{i}-data", _figure_json(figure)) for i, figure in enumerate(stored)]
    evaluates = any(trace.type in NEEDS_EVAL for figure in stored for trace in figure.data)
    policy = f"default-src 'none'; script-src 'unsafe-inline'{' ' + repr('unsafe-eval') if evaluates else ''}; " + (
        "style-src 'unsafe-inline'; img-src data: blob:"
    )
    named = html.escape(title, quote=False)
    facts = "\n".join(
        f'<meta name="{_attribute(name)}" content="{_attribute(value)}">' for name, value in _metas(provenance)
    )
    return "\n".join(
        [
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{named}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            facts,
            f"<style>{_beside(STYLE)}{_strip_colours()}</style>\n</head>\n<body>",
            *body,
            "<noscript><p>The figures are drawn by JavaScript in this file; the tables and sentences need "
            "none.</p></noscript>",
            _stored("colours", json.dumps({theme.name: colours_of(theme) for theme in (LIGHT, DARK)})),
            *scripts,
            f"<script>{plotly.offline.get_plotlyjs()}</script>" if figures else "",
            *([f"<script>{script}</script>" for script in (_colouring(), _beside(SCRIPT))] if figures else []),
            "</body>\n</html>\n",
        ]
    )


def figure_part(found: Standalone, name: str, heading: str = "h2") -> str:
    """Heading, caption, a container for the figure, and exact numbers."""
    figure = found.drawn()
    size = f"width:{int(figure.layout.width)}px;height:{int(figure.layout.height)}px"
    label = _attribute(found.spoken)
    return "\n".join(
        [
            f'<{heading} id="{name}-title">{_text(found.title)}</{heading}>',
            f'<p class="caption">{_text(found.caption)}</p>',
            f'<figure aria-labelledby="{name}-title"><div class="plot" id="{name}" data-figure="{name}-data" '
            f'role="img" '
            f'aria-label="{label}" style="{size}"></div></figure>',
            f'<p class="facts">{_text(found.facts)}</p>' if found.facts else "",
        ]
    )


def table_part(table: Table, longest: int = LONGEST_TABLE) -> str:
    """A table behind a summary; a table of more than `longest` rows is cut, and says so."""
    rows = []
    for index, cells in enumerate(table.rows):
        if index == longest:
            break
        place = table.selected.index(index) if index in table.selected else None
        chosen = ' class="added"' if index in table.added else ""
        if place is not None:
            chosen = f' class="{"second" if place else "selected"}" aria-current="true"'
        rows.append(f"<tr{chosen}>{''.join(map(_cell, cells))}</tr>")
    cut = f" The first {longest} of {table.count:,} rows." if table.count > longest else ""
    head = "".join(f'<th scope="col">{_text(column.heading)}</th>' for column in table.columns)
    return (
        f"<details><summary>Numbers</summary><div "
        f'class="table"><table><caption>{_text(table.title.rstrip("."))}.{cut}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def provenance_part(provenance: Provenance) -> str:
    """The provenance as visible text."""
    rows = "".join(f"<dt>{_text(name)}</dt>{_value(name, value)}" for name, value in provenance.entries)
    return (
        f'<section aria-labelledby="provenance"><h2 id="provenance">Where this comes from</h2><dl>{rows}</dl></section>'
    )


def _value(name: str, value: str) -> str:
    """A text in its own direction; in other values, right-to-left tokens among numbers are isolated."""
    if name in {"Text", "Second text"}:
        return f'<dd dir="auto">{html.escape(value, quote=False)}</dd>'
    return f"<dd>{_text(isolate_runs(value))}</dd>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f'<td class="text"><bdi>{_text(cell)}</bdi></td>'
    if isinstance(cell, float):
        return f"<td>{'' if cell != cell else f'{cell:.6g}'.replace('inf', '∞')}</td>"
    return f"<td>{'' if cell is None else cell}</td>"


def _metas(provenance: Provenance) -> list[tuple[str, str]]:
    named = [("generator", PROGRAM)]
    return named + [
        (f"dashboard:{name.lower().replace(' ', '-').replace(':', '')}", value) for name, value in provenance.entries
    ]


def _figure_json(figure: go.Figure) -> str:
    """The figure, and separately the sources of its images by theme."""
    pictures: dict[str, list[str]] = {}
    if figure.layout.images:
        pictures = {
            theme.name: [image.source for image in in_theme(figure, theme).layout.images] for theme in (LIGHT, DARK)
        }
    for image in figure.layout.images:
        image.source = ""
    return '{"figure": ' + str(figure.to_json()) + ', "pictures": ' + json.dumps(pictures) + "}"


def _stored(name: str, content: str) -> str:
    """JSON inside a script element that does not run; `<` is escaped so that no token can close the element."""
    return f'<script type="application/json" id="{name}">{content.replace("<", chr(92) + "u003c")}</script>'


def _text(text: str) -> str:
    return as_bdi(html.escape(text, quote=False))


def _attribute(text: str) -> str:
    return html.escape(text, quote=True)
