"""What surrounds a table or figure: title, notes and the commands for missing cells, as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

MISSING_FROM = "Missing cells are produced by:"
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


def commands(experiment: str, arms: Iterable[str]) -> tuple[str, ...]:
    """One shell command per different arm; an arm is further arguments, such as `scale=paper`."""
    arms = dict.fromkeys(arms)
    return tuple(f"python run.py experiment={experiment} {arm}".rstrip() for arm in arms)


def latex_notes(notes: Sequence[str]) -> str:
    """Notes, sentences without full stop, as one small LaTeX paragraph."""
    return rf"\footnotesize {' '.join(f'{escape_latex(note)}.' for note in notes)}"


def latex_box(notes: Sequence[str]) -> list[str]:
    """Notes as a LaTeX paragraph that goes below a float; nothing without notes."""
    if not notes:
        return []
    return [rf"\par\smallskip\parbox{{\linewidth}}{{{latex_notes(notes)}}}"]


def show_notes(console: Console, notes: Sequence[str], commands: Sequence[str]) -> None:
    """Print notes and commands, one line each, and an empty line."""
    for note in notes:
        console.print(Text(f"- {note}"))
    if commands:
        console.print(Text(MISSING_FROM))
        for command in commands:
            console.print(Text(f"    {command}"), soft_wrap=True)
    console.print()


def markdown_notes(notes: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Notes and commands as Markdown; nothing without any."""
    parts = []
    if notes:
        parts.append("\n".join(f"- {escape_markdown(note)}" for note in notes))
    if commands:
        parts += [MISSING_FROM, "\n".join(["```sh", *commands, "```"])]
    return parts


def latex_commands(commands: Sequence[str]) -> list[str]:
    """Commands as LaTeX comments: they are for whoever edits the file, not for the page."""
    return [f"% missing cells: {command}" for command in commands]


def escape_markdown(text: str) -> str:
    """Markdown that shows a plain text, in a table's cell too."""
    return _MARKDOWN.sub(r"\\\g<0>", text)


def escape_latex(text: str) -> str:
    """LaTeX that prints a plain text; dagger, en dash and plus-minus sign are kept."""
    return text.translate(_LATEX)
