"""Faces of tables, figures and the page: templates in `templates/`, filled in by Jinja2."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).with_name("templates")
# Of statements, values and comments; braces and per cent signs are LaTeX's own.
_MARKS = ("{%", "%}", "{{", "}}", "{#", "#}")
_LATEX_MARKS = ("<%", "%>", "<<", ">>", "<#", "#>")
# Of HTML: breaks of lines beside tags and statements, and those between words.
_NOTHING = re.compile(r"((?<=>)|(?<=[%#]\}))\n\s*(?=\S)|\n\s*(?=<|\{[%#])")
_BLANK = re.compile(r"\n\s*(?=\S)")
# Underscores inside a word and single brackets mean nothing to Markdown.
_MARKDOWN = re.compile(r"[\\|*<`~]|(?<!\w)_|_(?!\w)|\[(?=[^\]]*\]\()|&(?=#?\w+;)")
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        # A row that starts with a bracket would become the optional argument of the \\ before it.
        "[": "{[}",
        "]": "{]}",
        "\N{DAGGER}": r"$^{\dagger}$",
        "\N{EN DASH}": "--",
        "\N{PLUS-MINUS SIGN}": r"$\pm$",
    }
)


def render(template: str, **values: object) -> str:
    """Fill in a template, named without `.j2`; a value that it lacks is a jinja2.UndefinedError.

    In HTML values are escaped, and lines are joined: without a blank beside a tag or a statement.
    In LaTeX the marks of Jinja are `<< >>` and `<% %>`.
    """
    kind = template.rpartition(".")[2]
    return _environment(kind).get_template(f"{template}.j2").render(values)


@cache
def _environment(kind: str) -> Environment:
    # Here and not above: a program that prints its help needs no templates.
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        *(_LATEX_MARKS if kind == "tex" else _MARKS),
        loader=FunctionLoader(_source),
        autoescape=kind == "html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"latex": escape_latex, "markdown": escape_markdown}
    return environment


def _source(name: str) -> str:
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    return _BLANK.sub(" ", _NOTHING.sub("", text)) if name.endswith(".html.j2") else text


def csv_text(lines: Iterable[Sequence[object]]) -> str:
    """Lines as CSV, each ending with a line feed."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(lines)
    return stream.getvalue()


def escape_markdown(text: str) -> str:
    """Markdown that shows a plain text, in a table's cell too."""
    return _MARKDOWN.sub(r"\\\g<0>", text)


def escape_latex(text: str) -> str:
    """LaTeX that prints a plain text; dagger, en dash and plus-minus sign are kept."""
    return text.translate(_LATEX)
