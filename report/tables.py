"""A table with blocks of rows; its faces are the terminal, CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from report.cells import NOT_RUN
from report.faces import csv_text, render

_GAP = 2  # characters between two columns


@dataclass(frozen=True)
class ColumnGroup:
    """Columns under a common heading, which may be empty."""

    title: str
    headers: tuple[str, ...]


class Span(NamedTuple):
    """The columns of a group: the first and the last, counted from one with those of the stub."""

    title: str
    first: int
    last: int


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
        title: The caption, without full stop.
        stub: Headers of the leading columns, which name a row.
        notes: Sentences that go below, without full stop.
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
        """Raise a ValueError for rows with another number of cells than there are columns."""
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
    def names(self) -> tuple[str, ...]:
        """All headers in one line, without the titles of their groups."""
        return (*self.stub, *(header for group in self.groups for header in group.headers))

    @property
    def spans(self) -> list[Span]:
        """The columns of each group."""
        spans, last = [], len(self.stub)
        for group in self.groups:
            first, last = last + 1, last + len(group.headers)
            spans.append(Span(group.title, first, last))
        return spans

    @property
    def flat(self) -> list[tuple[str, ...]]:
        """All headers and then all rows, with the labels of their blocks as first columns."""
        head = (*(self.blocks[0].labels if self.blocks else ()), *self.headers)
        rows = ((*block.labels.values(), *row) for block in self.blocks for row in block.rows)
        return [head, *rows]

    @property
    def numbers(self) -> tuple[object, ...]:
        """All that is shown of rows."""
        return self.blocks

    def without(self, cell: str) -> Table:
        """The same without the rows that have such a cell."""
        blocks = (
            Block(block.labels, tuple(row for row in block.rows if cell not in row))
            for block in self.blocks
        )
        return replace(self, blocks=tuple(blocks))

    def parts(self, most: int) -> list[Table]:
        """The table itself, or one for each titled group where it has more columns than `most`.

        Each part has the stub, the groups without a title, and the rows with a run in its group.
        """
        if len(self.names) <= most:
            return [self]
        spans = [*zip(self.groups, self.spans, strict=True)]
        common = [(group, span) for group, span in spans if not group.title]
        found = []
        for group, own in ((group, span) for group, span in spans if group.title):
            kept = [*range(len(self.stub))]
            for span in (*(span for _, span in common), own):
                kept += range(span.first - 1, span.last)
            blocks = (
                Block(
                    block.labels,
                    tuple(
                        tuple(row[place] for place in kept)
                        for row in block.rows
                        if {*row[own.first - 1 : own.last]} != {NOT_RUN}
                    ),
                )
                for block in self.blocks
            )
            groups = (*(group for group, _ in common), group)
            found.append(replace(self, groups=groups, blocks=tuple(blocks)))
        return found

    def noted(self, note: str) -> Table:
        """The same with one note more."""
        return replace(self, notes=(*self.notes, note))

    def show(self, console: Console) -> None:
        """Print the table: each group of columns, and what no line has room for, below the last."""
        console.print(Text(self.title, style="bold"))
        for block in self.blocks:
            for span in self.spans:
                console.print(Text(": ".join(filter(None, (block.title, span.title)))))
                for columns in self._parts(block, span, console.width):
                    console.print(_rich(columns, console.width))
                    console.print()
        for note in self.notes:
            console.print(Text(f"- {note}"))
        if self.commands:
            console.print(Text("Missing cells are produced by:"))
        for command in self.commands:
            console.print(Text(f"    {command}"), soft_wrap=True)
        console.print()

    def _parts(self, block: Block, span: Span, room: int) -> list[list[list[str]]]:
        """The columns of a group, header first, in as many parts as their words need room.

        Each part begins with the stub.
        """
        columns = [[name, *cells] for name, *cells in zip(self.names, *block.rows, strict=True)]
        stub = columns[: len(self.stub)]
        parts = [list(stub)]
        for column in columns[span.first - 1 : span.last]:
            if len(parts[-1]) > len(stub) and _spare([*parts[-1], column], room) < 0:
                parts.append(list(stub))
            parts[-1].append(column)
        return parts

    def write(self, folder: Path) -> list[Path]:
        """Write the table as `<name>.csv`, `<name>.md` and `<name>.tex`."""
        faces = {".csv": to_csv(self), ".md": to_markdown(self), ".tex": to_latex(self)}
        return write_faces(folder, self.name, faces)


def _rich(columns: Sequence[Sequence[str]], room: int) -> RichTable:
    """Columns, header first. Headers break between words; cells where the room asks for it."""
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    widths = [_word(column) for column in columns]
    whole = [
        max([least, *map(len, cells)]) for least, (_, *cells) in zip(widths, columns, strict=True)
    ]
    for _ in range(_spare(columns, room)):
        tallest = max(range(len(whole)), key=lambda at: whole[at] / widths[at])
        widths[tallest] += widths[tallest] < whole[tallest]
    for (header, *_), width in zip(columns, widths, strict=True):
        table.add_column(Text(header), overflow="fold", max_width=width)
    for row in zip(*(cells for _, *cells in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def _word(column: Sequence[str]) -> int:
    """The length of the longest word of a column."""
    return max(len(word) for cell in column for word in (cell.split() or ["-"]))


def _spare(columns: Sequence[Sequence[str]], room: int) -> int:
    """How many characters a line has left when no word of the columns breaks."""
    return room - sum(_word(column) + _GAP for column in columns) + 1


def write_faces(folder: Path, name: str, faces: Mapping[str, str]) -> list[Path]:
    """Write texts by file ending into a folder, which is made if absent, and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ending, text in faces.items():
        paths.append(folder / f"{name}{ending}")
        paths[-1].write_text(text, encoding="utf-8", newline="")
    return paths


def to_csv(table: Table) -> str:
    """The cells as CSV, with the block's labels as first columns and without the caption."""
    return csv_text(table.flat)


def to_markdown(table: Table) -> str:
    """Markdown: title, one table per block, notes, commands."""
    return render("table.md", table=table)


def to_latex(table: Table) -> str:
    """A LaTeX table; a long one breaks over pages, a wide one is made to fit.

    The first line names the packages that it needs.
    """
    return render("table.tex", table=table)
