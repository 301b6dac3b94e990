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
    """Write the commands that produce missing cells.

    Args:
        experiment: The preset in `conf/experiment`.
        arms: Further arguments of each, such as `scale=paper`; repetitions are dropped.

    Returns:
        One shell command per arm.
    """
    arms = dict.fromkeys(arms)
    return tuple(f"python run.py experiment={experiment} {arm}".rstrip() for arm in arms)


def latex_notes(notes: Sequence[str]) -> str:
    """Render notes as LaTeX.

    Args:
        notes: Sentences without full stop.

    Returns:
        One small paragraph.
    """
    return rf"\footnotesize {' '.join(f'{escape_latex(note)}.' for note in notes)}"


def latex_box(notes: Sequence[str]) -> list[str]:
    """Render notes as a paragraph that goes below a float.

    Args:
        notes: Sentences without full stop.

    Returns:
        One line; none without notes.
    """
    if not notes:
        return []
    return [rf"\par\smallskip\parbox{{\linewidth}}{{{latex_notes(notes)}}}"]


def show_notes(console: Console, notes: Sequence[str], commands: Sequence[str]) -> None:
    """Print notes and commands, and an empty line.

    Args:
        console: Where to print.
        notes: One line each.
        commands: Shell commands that produce what is missing.
    """
    for note in notes:
        console.print(Text(f"- {note}"))
    if commands:
        console.print(Text(MISSING_FROM))
        for command in commands:
            console.print(Text(f"    {command}"), soft_wrap=True)
    console.print()


def markdown_notes(notes: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Render notes and commands as Markdown.

    Args:
        notes: One item each.
        commands: Shell commands that produce what is missing.

    Returns:
        Paragraphs; none without notes and commands.
    """
    parts = []
    if notes:
        parts.append("\n".join(f"- {escape_markdown(note)}" for note in notes))
    if commands:
        parts += [MISSING_FROM, "\n".join(["```sh", *commands, "```"])]
    return parts


def latex_commands(commands: Sequence[str]) -> list[str]:
    """Render commands as LaTeX comments: they are for whoever edits the file, not for the page.

    Args:
        commands: Shell commands that produce what is missing.

    Returns:
        One line each.
    """
    return [f"% missing cells: {command}" for command in commands]


def escape_markdown(text: str) -> str:
    """Escape what Markdown would take for its own.

    Args:
        text: Plain text.

    Returns:
        Markdown that shows `text`, in a table's cell too.
    """
    return _MARKDOWN.sub(r"\\\g<0>", text)


def escape_latex(text: str) -> str:
    """Escape what LaTeX would take for its own.

    Args:
        text: Plain text; dagger, en dash and plus-minus sign become their LaTeX forms.

    Returns:
        LaTeX source that prints `text`.
    """
    return text.translate(_LATEX)
