"""Claims: everything that is shown and written about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from report.cells import NOT_REPORTED
from report.claims.file import read_claims
from report.claims.judge import Cell, Reported, judge, left_out, reported_cells, with_ends
from report.claims.tables import cells_table, describe, statements_table, verdicts_table
from report.faces import csv_text
from report.results import Results, load_results, select
from report.tables import Table, to_latex, to_markdown, write_faces

NAME = "claims"
FILE = Path("paper") / "claims.yaml"
HEADER = (
    *("claim", "comparison", "cell", "protocol", "scale", "model", "stand_in", "n", "basis"),
    *("difference", "low", "high", "verdict", "lacks", "p", "p_holm", "verdict_holm"),
    *("paper_difference", "paper_std", "paper_verdict", "command"),
)


class Report(NamedTuple):
    """An artefact: tables of claims and verdicts, and the cells without rounding."""

    tables: tuple[Table, ...]
    cells: tuple[Cell, ...]

    def show(self, console: Console) -> None:
        """Print the verdicts: on cells, then on claims, which are what is left on the screen."""
        _, verdicts, cells = self.tables
        cells.show(console)
        verdicts.show(console)

    def write(self, folder: Path) -> list[Path]:
        """Write `claims.csv`, one line per cell, and all tables as `claims.md` and `claims.tex`."""
        faces = {
            ".csv": _to_csv(self.cells),
            ".md": "\n".join(map(to_markdown, self.tables)),
            ".tex": "\n".join(map(to_latex, self.tables)),
        }
        return write_faces(folder, NAME, faces)


def make_report(results: Path, scale: str, root: Path, loaded: Results | None = None) -> Report:
    """The verdicts on all claims; `loaded` are rows at this scale, read here by default.

    Names of tests begin in `root`. Refused claims or rows are a ValueError of one line.
    """
    path = results / FILE
    claims = [claim for claim in read_claims(path) if scale in claim.scales]
    if loaded is None:
        tasks = tuple(dict.fromkeys(task for claim in claims for task in claim.task))
        loaded = load_results(results, tasks, (scale,))
    ours = with_ends(select(loaded.ours, scale=scale))
    cells: list[Cell] = []
    papers: list[Reported] = []
    notes: list[str] = []
    for claim in claims:
        try:
            # The paper's numbers are at its own scale, whatever ours is.
            theirs = reported_cells(claim, loaded.reported)
            cells += judge(claim.at(scale), ours, theirs, scale, root)
        except ValueError as error:
            raise ValueError(f"{path}: claim {claim.id!r}: {error}") from None
        papers += theirs
        notes += left_out(claim.at(scale), ours)
    tables = (
        statements_table([claim.at(scale) for claim in claims]),
        verdicts_table(cells, papers, scale, [*notes, *loaded.gaps]),
        cells_table(cells, scale),
    )
    return Report(tables, tuple(cells))


def _to_csv(cells: Sequence[Cell]) -> str:
    return csv_text([HEADER, *map(_line, cells)])


def _line(cell: Cell) -> tuple[object, ...]:
    found, paper = cell.found, cell.paper
    ours = (found.seeds, found.basis, found.value) if found else (0, "", None)
    ends = (found and found.interval) or (None, None)
    theirs = (paper.value, paper.spread, paper.verdict) if paper else (None, None, NOT_REPORTED)
    return (
        *(cell.claim.id, cell.comparison, describe(cell.labels), cell.protocol),
        *(cell.scale, cell.models, str(cell.stand_in).lower(), *ours, *ends),
        *(cell.verdict, cell.lacks, cell.p, cell.adjusted, cell.corrected),
        *(*theirs, cell.command),
    )
