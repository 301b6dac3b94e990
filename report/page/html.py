"""Report: tables, figures and claims as HTML."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from report.captions import MISSING_FROM
from report.cells import MISSING, NOT_REPORTED
from report.claims.statistics import (
    CONTRARY,
    FAILS,
    HOLDS,
    NOT_RUN,
    REPRODUCED,
    TESTED,
    UNDECIDED,
)
from report.figures import Figure
from report.tables import Block, Table

# More rows than this are folded away.
_LONG = 24
# Texts of at most this many letters stay on one line.
_SHORT = 28
_WIDTH = re.compile(rb'<svg [^>]*?width="([0-9.]+)pt"', re.DOTALL)
# Of the screen to a point of print: the widest figures then fill the page.
_PIXELS = 1.25
_BADGES = {
    REPRODUCED: "yes",
    HOLDS: "yes",
    CONTRARY: "no",
    FAILS: "no",
    UNDECIDED: "open",
    NOT_RUN: "none",
    TESTED: "test",
}


def element(name: str, *content: str, **attributes: str) -> str:
    """An element; a trailing underscore in the name of an attribute is dropped."""
    marks = "".join(
        f' {key.rstrip("_")}="{escape(text)}"' for key, text in attributes.items() if text
    )
    return f"<{name}{marks}>{''.join(content)}</{name}>"


def fold(title: str, *content: str, opened: bool = False) -> str:
    """A part that opens on a click; the title, which is text, stays visible."""
    start = "<details open>" if opened else "<details>"
    return f"{start}{element('summary', escape(title))}{''.join(content)}</details>"


def cell(text: str, name: str = "td") -> str:
    """A cell; verdicts and missing numbers are marked."""
    if name == "td" and text in _BADGES:
        return element("td", badge(text))
    scope = "col" if name == "th" else ""
    kinds = ["short"] if name == "td" and len(text) <= _SHORT else []
    kinds += ["absent"] if text in (MISSING, NOT_REPORTED) else []
    return element(name, escape(text), class_=" ".join(kinds), scope=scope)


def badge(verdict: str) -> str:
    """A verdict."""
    return element("span", escape(verdict), class_=f"badge {_BADGES[verdict]}")


def plain_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without blocks, in a frame that scrolls sideways; folded where it is long.

    The title is for those who do not see what stands around it.
    """
    head = element("tr", *(cell(text, "th") for text in headers))
    body = (element("tr", *map(cell, row)) for row in rows)
    lines = [*body]
    text = _frame(title, element("thead", head), element("tbody", *lines))
    return fold(f"{len(lines)} rows", text) if len(lines) > _LONG else text


def table(shown: Table, blocks: Sequence[Block] | None = None, title: str = "") -> str:
    """A table or some of its blocks, without notes; folded where long, empty without rows."""
    chosen = shown.blocks if blocks is None else blocks
    if not any(block.rows for block in chosen):
        return ""
    heads = []
    if any(group.title for group in shown.groups):
        titles = "".join(
            element(
                "th",
                escape(group.title),
                colspan=str(len(group.headers)),
                class_="group",
                scope="colgroup",
            )
            for group in shown.groups
        )
        blank = "<th></th>" * len(shown.stub)
        heads.append(element("tr", blank, titles))
    names = (*shown.stub, *(name for group in shown.groups for name in group.headers))
    heads.append(element("tr", *(cell(name, "th") for name in names)))
    bodies = []
    for block in chosen:
        heading = element(
            "th", escape(block.title), colspan=str(len(names)), class_="block", scope="rowgroup"
        )
        rows = (element("tr", *map(cell, row)) for row in block.rows)
        bodies.append(element("tbody", element("tr", heading) if block.title else "", *rows))
    text = _frame(title or shown.title, element("thead", *heads), *bodies)
    count = sum(len(block.rows) for block in chosen)
    return fold(f"{count} rows", text) if count > _LONG else text


def _frame(title: str, *parts: str) -> str:
    caption = element("caption", escape(title))
    return element(
        "div",
        element("table", caption, *parts),
        **{"class": "scroll", "tabindex": "0", "role": "region", "aria-label": title},
    )


def notes(lines: Sequence[str], commands: Sequence[str]) -> str:
    """Notes, and the commands for what is missing."""
    parts = []
    if lines:
        items = (element("li", escape(line)) for line in lines)
        parts.append(fold("Notes: what is counted and how", element("ul", *items)))
    if commands:
        parts.append(fold(MISSING_FROM, element("pre", escape("\n".join(commands)))))
    return "".join(parts)


def artefact(shown: Table | Figure, sources: Mapping[str, str], command: str) -> str:
    """A table or figure of the paper, or of ours.

    `sources` maps anchors to paths of the rows that it may show, and `command` writes its files.
    """
    digest = shown.digest if isinstance(shown, Figure) else shown
    parts = [element("h3", escape(digest.title))]
    if isinstance(shown, Figure):
        parts.append(_picture(shown))
        numbers = table(digest)
        parts.append(fold("Some of its numbers", numbers) if numbers else "")
        kinds = "CSV, LaTeX, PDF, PNG and SVG"
    else:
        parts.append(table(digest) or _nothing())
        kinds = "CSV, LaTeX and Markdown"
    parts.append(notes(digest.notes, digest.commands))
    if sources:
        links = ", ".join(
            element("a", escape(path), href=f"#{anchor}") for anchor, path in sources.items()
        )
        origin = f"Rows: {links}. All numbers, as {kinds}: "
    else:
        origin = "No rows at this scale. Its files: "
    parts.append(element("p", origin, element("code", escape(command)), class_="origin"))
    return element("article", *parts, id=digest.name)


def _picture(figure: Figure) -> str:
    if not figure.rows:
        return _nothing()
    picture = figure.pictures("svg")["svg"]
    found = _WIDTH.search(picture)
    # Its own width: where there are fewer panels they are not larger.
    width = f' width="{float(found[1]) * _PIXELS:.0f}"' if found else ""
    source = f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"
    words = escape(f"{figure.digest.title}: some of its numbers stand below")
    return element("figure", f'<img src="{source}" alt="{words}"{width}>')


def _nothing() -> str:
    return element("p", "Nothing to show: no rows at this scale.", class_="absent")
