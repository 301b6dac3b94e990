"""A table with blocks of rows, and its four faces: terminal, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from scripts._captions import (
    escape_latex,
    escape_markdown,
    join_sentences,
    latex_commands,
    markdown_notes,
    show_notes,
)


@dataclass(frozen=True)
class ColumnGroup:
    """Columns under a common heading.

    Attributes:
        title: The heading; empty for none.
        headers: One header per column.
    """

    title: str
    headers: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """Rows under a common label, such as one protocol.

    Attributes:
        labels: Name to text; the same names in every block of a table.
        rows: Rows of cells, each as long as the stub and all column groups together.
    """

    labels: Mapping[str, str]
    rows: tuple[tuple[str, ...], ...]

    @property
    def title(self) -> str:
        """The labels in one line."""
        return ", ".join(f"{name}={text}" for name, text in self.labels.items())


@dataclass(frozen=True)
class Table:
    """A table, independent of how it is shown: an artefact, with `show` and `write`.

    Attributes:
        name: File name without ending, and LaTeX label.
        title: First sentence of the caption.
        stub: Headers of the leading columns, which name a row.
        groups: The column groups after them.
        blocks: The rows.
        notes: Further sentences of the caption.
        commands: Shell commands that produce the missing cells.
        latex_columns: How LaTeX sets the columns; empty for one line per cell.
    """

    name: str
    title: str
    stub: tuple[str, ...]
    groups: tuple[ColumnGroup, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    latex_columns: str = ""

    def __post_init__(self) -> None:
        """Refuse rows that do not fit the header.

        Raises:
            ValueError: A row has another number of cells than there are columns.
        """
        for block in self.blocks:
            for row in block.rows:
                if len(row) != len(self.headers):
                    raise ValueError(
                        f"{self.name}: a row of {len(row)} cells under {len(self.headers)} headers"
                    )

    @property
    def headers(self) -> tuple[str, ...]:
        """All headers in one line, those of a titled group preceded by its title."""
        grouped = [
            f"{group.title}: {header}" if group.title else header
            for group in self.groups
            for header in group.headers
        ]
        return (*self.stub, *grouped)

    @property
    def caption(self) -> str:
        """Title and notes as one paragraph."""
        return join_sentences(self.title, self.notes)

    def show(self, console: Console) -> None:
        """Print the table, each column group below the one before so that lines stay short.

        Args:
            console: Where to print.
        """
        console.print(Text(self.title, style="bold"))
        for block in self.blocks:
            for index, group in enumerate(self.groups):
                title = ": ".join(part for part in (block.title, group.title) if part)
                console.print(Text(title))
                console.print(self._rich(block, index))
        show_notes(console, self.notes, self.commands)

    def _rich(self, block: Block, index: int) -> RichTable:
        group = self.groups[index]
        start = len(self.stub) + sum(len(before.headers) for before in self.groups[:index])
        columns = [*range(len(self.stub)), *range(start, start + len(group.headers))]
        table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for column in columns:
            header = (*self.stub, *(name for each in self.groups for name in each.headers))[column]
            # Long headers break, so that cells need not; a cell that must loses nothing.
            words = [*header.split(), *(row[column] for row in block.rows)]
            table.add_column(Text(header), overflow="fold", max_width=max(map(len, words)))
        for row in block.rows:
            table.add_row(*(Text(row[column]) for column in columns))
        return table

    def write(self, folder: Path) -> list[Path]:
        """Write the table as `<name>.csv`, `<name>.md` and `<name>.tex`.

        Args:
            folder: Where to; made if absent.

        Returns:
            The three paths.
        """
        faces = {".csv": to_csv(self), ".md": to_markdown(self), ".tex": to_latex(self)}
        return write_faces(folder, self.name, faces)


def write_faces(folder: Path, name: str, faces: Mapping[str, str]) -> list[Path]:
    """Write the faces of an artefact.

    Args:
        folder: Where to; made if absent.
        name: Name of the files, without ending.
        faces: Ending to text.

    Returns:
        The paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ending, text in faces.items():
        paths.append(folder / f"{name}{ending}")
        paths[-1].write_text(text, encoding="utf-8", newline="")
    return paths


def to_csv(table: Table) -> str:
    """Render the cells as CSV, with the block's labels as first columns and without the caption.

    Args:
        table: The table.

    Returns:
        The text, lines ending with a line feed.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*(table.blocks[0].labels if table.blocks else ()), *table.headers])
    for block in table.blocks:
        writer.writerows([*block.labels.values(), *row] for row in block.rows)
    return stream.getvalue()


def to_markdown(table: Table) -> str:
    """Render as Markdown: title, one table per block, notes, commands.

    Args:
        table: The table.

    Returns:
        The text.
    """
    parts = [f"### {escape_markdown(table.title)}"]
    for block in table.blocks:
        lines = [
            _pipes(table.headers),
            _pipes(["---"] * len(table.headers)),
            *map(_pipes, block.rows),
        ]
        parts += [f"**{escape_markdown(block.title)}**", "\n".join(lines)]
    parts += markdown_notes(table.notes, table.commands)
    return "\n\n".join(parts) + "\n"


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(escape_markdown, cells))} |"


def to_latex(table: Table) -> str:
    r"""Render as a LaTeX table that needs `\usepackage{booktabs}`.

    Args:
        table: The table.

    Returns:
        The text.
    """
    width = len(table.headers)
    columns = table.latex_columns or "l" * width
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\small",
        r"\setlength{\tabcolsep}{4pt}",
    ]
    lines += [rf"\caption{{{escape_latex(table.caption)}}}", rf"\label{{tab:{table.name}}}"]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *_latex_groups(table)]
    lines.append(
        _ampersands([*table.stub, *(header for group in table.groups for header in group.headers)])
    )
    for block in table.blocks:
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{{escape_latex(block.title)}}} \\"]
        lines += map(_ampersands, block.rows)
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    lines += latex_commands(table.commands)
    return "\n".join(lines) + "\n"


def _latex_groups(table: Table) -> list[str]:
    if not any(group.title for group in table.groups):
        return []
    heads, rules, column = [""] * len(table.stub), [], len(table.stub) + 1
    for group in table.groups:
        last = column + len(group.headers) - 1
        heads.append(rf"\multicolumn{{{len(group.headers)}}}{{c}}{{{escape_latex(group.title)}}}")
        rules.append(rf"\cmidrule(lr){{{column}-{last}}}")
        column = last + 1
    return [rf"{' & '.join(heads)} \\", "".join(rules)]


def _ampersands(cells: Sequence[str]) -> str:
    return rf"{' & '.join(escape_latex(cell) for cell in cells)} \\"
