"""Claims: everything that is shown and written about them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from rich.console import Console

from report.cells import NOT_REPORTED
from report.claims.cells import Cell, judge
from report.claims.file import read_claims
from report.claims.model import Claim
from report.claims.paper import reported_cells
from report.claims.rows import departures, with_intervals
from report.claims.tables import cells_table, describe, statements_table, verdicts_table
from report.results import Results, load_results, select
from report.tables import Table, to_latex, to_markdown, write_faces

NAME = "claims"
FILE = Path("paper") / "claims.yaml"
HEADER = (
    *("claim", "comparison", "cell", "protocol", "scale", "model", "stand_in", "n", "basis"),
    *("difference", "low", "high", "verdict", "lacks", "p", "p_holm", "verdict_holm"),
    *("paper_difference", "paper_std", "paper_verdict", "command"),
)
_SHOWN = 3


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
    claims, main = read_claims(path, scale), {each.id: each for each in read_claims(path)}
    if loaded is None:
        tasks = tuple(dict.fromkeys(task for claim in claims for task in claim.tasks))
        loaded = load_results(results, tasks, (scale,))
    # Claims of the same tasks look at the same rows.
    ours = {
        tasks: with_intervals(select(loaded.ours, task=tasks, scale=scale))
        for tasks in {claim.tasks for claim in claims}
    }
    cells: list[Cell] = []
    papers = {}
    for claim in claims:
        try:
            # The paper's numbers are at its own scale, whatever ours is.
            theirs = reported_cells(main[claim.id], loaded.reported)
            cells += judge(claim, ours[claim.tasks], theirs, scale, root)
            papers[claim.id] = [each for found in theirs.values() for each in found.values()]
        except ValueError as error:
            raise ValueError(f"{path}: claim {claim.id!r}: {error}") from None
    left_out = [line for claim in claims for line in _left_out(ours[claim.tasks], claim, scale)]
    left_out += loaded.gaps
    tables = (
        statements_table(claims),
        verdicts_table(cells, papers, scale, left_out),
        cells_table(cells, scale),
    )
    return Report(tables, tuple(cells))


def _left_out(ours: pd.DataFrame, claim: Claim, scale: str) -> list[str]:
    counts = departures(ours, claim, scale)
    if claim.kind in ("test", "bound") or not counts:
        return []
    names = ", ".join(repr(name) for name in [*counts][:_SHOWN])
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return [f"{claim.id}: {sum(counts.values())} rows left out as departures: {names}{more}"]


def _to_csv(cells: Sequence[Cell]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    for cell in cells:
        found, paper = cell.found, cell.paper
        ends = (None,) * 3 if found is None else (found.value, found.low, found.high)
        theirs = (None, None) if paper is None else (paper.value, paper.spread)
        numbers = [*ends, cell.p, cell.adjusted, *theirs]
        value, low, high, p, adjusted, paper_value, spread = map(_number, numbers)
        writer.writerow(
            (
                *(cell.claim.id, cell.comparison, describe(cell.labels), cell.protocol),
                *(cell.scale, cell.models, str(cell.stand_in).lower()),
                *(("0", "") if found is None else (found.seeds, found.basis)),
                *(value, low, high, cell.verdict, cell.lacks, p, adjusted, cell.corrected),
                *(paper_value, spread, NOT_REPORTED if paper is None else paper.verdict),
                cell.command,
            )
        )
    return stream.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
