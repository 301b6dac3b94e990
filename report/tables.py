"""A table with blocks of rows, and its four faces: terminal, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from report.captions import (
    escape_latex,
    escape_markdown,
    latex_box,
    latex_commands,
    latex_notes,
    markdown_notes,
    show_notes,
)

# Lines of a table that LaTeX may break over pages: fewer fit on one.
_PAGE = 28
_LATEX_GAP = r"\setlength{\tabcolsep}{4pt}"


@dataclass(frozen=True)
class ColumnGroup:
    """Columns under a common heading, which may be empty."""

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

    def show(self, console: Console) -> None:
        """Print the table, each column group below the one before so that lines stay short."""
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
        """Write the table as `<name>.csv`, `<name>.md` and `<name>.tex`."""
        faces = {".csv": to_csv(self), ".md": to_markdown(self), ".tex": to_latex(self)}
        return write_faces(folder, self.name, faces)


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
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*(table.blocks[0].labels if table.blocks else ()), *table.headers])
    for block in table.blocks:
        writer.writerows([*block.labels.values(), *row] for row in block.rows)
    return stream.getvalue()


def to_markdown(table: Table) -> str:
    """Markdown: title, one table per block, notes, commands."""
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
    r"""A LaTeX table; a long one breaks over pages, a wide one is made to fit.

    The first line names the packages that it needs.
    """
    height = sum(len(block.rows) + 1 for block in table.blocks)
    lines = _latex_long(table) if height > _PAGE else _latex_float(table)
    return "\n".join([*lines, *latex_commands(table.commands)]) + "\n"


def _latex_float(table: Table) -> list[str]:
    return [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering\small",
        _LATEX_GAP,
        rf"\caption{{{escape_latex(table.title)}.}}",
        rf"\label{{tab:{table.name}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{_latex_columns(table)}}}",
        *_latex_head(table),
        *_latex_body(table),
        r"\end{tabular}}",
        *latex_box(table.notes),
        r"\end{table}",
    ]


def _latex_long(table: Table) -> list[str]:
    head = _latex_head(table)
    return [
        r"% needs \usepackage{booktabs,longtable}",
        r"\begingroup\footnotesize",
        _LATEX_GAP,
        rf"\begin{{longtable}}{{{_latex_columns(table)}}}",
        rf"\caption{{{escape_latex(table.title)}.}}\label{{tab:{table.name}}} \\",
        *head,
        r"\endfirsthead",
        *head,
        r"\endhead",
        *_latex_body(table),
        r"\end{longtable}",
        *([rf"\noindent {latex_notes(table.notes)}\par"] if table.notes else []),
        r"\endgroup",
    ]


def _latex_columns(table: Table) -> str:
    return table.latex_columns or "l" * len(table.headers)


def _latex_head(table: Table) -> list[str]:
    names = [*table.stub, *(header for group in table.groups for header in group.headers)]
    return [r"\toprule", *_latex_groups(table), _ampersands(names)]


def _latex_body(table: Table) -> Iterator[str]:
    for block in table.blocks:
        title = rf"\multicolumn{{{len(table.headers)}}}{{l}}{{{escape_latex(block.title)}}} \\"
        yield from (r"\midrule", title)
        yield from map(_ampersands, block.rows)
    yield r"\bottomrule"


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
