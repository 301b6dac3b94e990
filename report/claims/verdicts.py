"""Claims: everything that is shown and written about them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from rich.console import Console

from report.cells import NOT_REPORTED
from report.claims.file import read_claims
from report.claims.judge import Cell, Reported, judge, left_out, reported_cells, with_ends
from report.claims.model import Claim
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


@dataclass(frozen=True)
class Report:
    """An artefact: what is claimed, and the verdicts on it.

    Attributes:
        claims: As they are judged at the scale.
        papers: The paper's verdicts on these claims.
        departures: Claim to sentences on rows of it that do not count.
        gaps: Sentences on files of rows that are missing or were changed.
    """

    claims: tuple[Claim, ...]
    cells: tuple[Cell, ...]
    papers: tuple[Reported, ...]
    scale: str
    departures: Mapping[str, Sequence[str]]
    gaps: tuple[str, ...]

    @cached_property
    def tables(self) -> tuple[Table, Table, Table]:
        """Tables of the statements, of the verdicts on them, and of those on their cells."""
        notes = [note for claim in self.claims for note in self.departures[claim.id]]
        return (
            statements_table(self.claims),
            verdicts_table(self.cells, self.papers, self.scale, [*notes, *self.gaps]),
            cells_table(self.cells, self.scale),
        )

    def of(self, names: Collection[str]) -> Report:
        """The part on some claims, by id."""
        return replace(
            self,
            claims=tuple(claim for claim in self.claims if claim.id in names),
            cells=tuple(cell for cell in self.cells if cell.claim.id in names),
            papers=tuple(paper for paper in self.papers if paper.claim in names),
        )

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
    found = replace(loaded, ours=with_ends(select(loaded.ours, scale=scale)))
    ours = {claim.task: found.of(*claim.task).ours for claim in claims}

    judged: list[Claim] = []
    cells: list[Cell] = []
    papers: list[Reported] = []
    for claim in claims:
        at_scale = claim.at(scale)
        try:
            # The paper's numbers are at its own scale, whatever ours is.
            theirs = reported_cells(claim, loaded.reported)
            cells += judge(at_scale, ours[claim.task], theirs, scale, root)
        except ValueError as error:
            raise ValueError(f"{path}: claim {claim.id!r}: {error}") from None
        judged.append(at_scale)
        papers += theirs
    return Report(
        *(tuple(judged), tuple(cells), tuple(papers), scale),
        departures={claim.id: left_out(claim, ours[claim.task]) for claim in judged},
        gaps=tuple(loaded.gaps),
    )


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
