"""Claims: every cell with its difference and its verdict."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from report.captions import commands
from report.claims.found import Differences
from report.claims.model import Claim, Comparison
from report.claims.paper import Cells, Reported, paper_of
from report.claims.rows import columns_of, expected_cells
from report.claims.statistics import (
    CONTRARY,
    NOT_RUN,
    REPRODUCED,
    TESTED,
    UNDECIDED,
    Aim,
    Found,
    decide,
    holm,
    lacking,
    p_value,
)

LEVEL = 0.05
NO_AIM = Aim("above")
_TEST = "python -m pytest {}"


@dataclass(frozen=True)
class Cell:
    """One verdict.

    Attributes:
        stand_in: Whether that is none of the models that the claim names.
        found: The difference; None without rows.
        lacks: What would decide it.
        p: Two-sided p-value; None where there is none.
        adjusted: The same by Holm's method, among the cells that it is judged with.
        paper: What the paper reports; None where it does not.
        command: What makes the rows; empty where there are some.
    """

    claim: Claim
    comparison: str
    scale: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    models: str = ""
    stand_in: bool = False
    aim: Aim = NO_AIM
    found: Found | None = None
    verdict: str = NOT_RUN
    lacks: str = ""
    p: float | None = None
    adjusted: float | None = None
    paper: Reported | None = None
    command: str = ""

    @property
    def protocol(self) -> str:
        """The protocol of its rows."""
        return self.labels.get("protocol", "")

    @property
    def group(self) -> tuple[str, str, bool]:
        """What it is judged with: claim, protocol, and whether by stand-ins."""
        return (self.claim.id, self.protocol, self.stand_in)

    @property
    def corrected(self) -> str:
        """The verdict where the adjusted p-value must be small as well."""
        signed = self.verdict in (REPRODUCED, CONTRARY) and self.p is not None and self.p <= LEVEL
        if signed and self.adjusted is not None and self.adjusted > LEVEL:
            return UNDECIDED
        return self.verdict


def judge(
    claim: Claim, ours: pd.DataFrame, papers: Mapping[str, Cells], scale: str, root: Path
) -> list[Cell]:
    """The cells of a claim: those with rows, and those that should have some.

    Cells that are judged together stand side by side. Names of tests begin in `root`. Rows that
    differ in nothing that the claim names are a ValueError.
    """
    if claim.kind == "test":
        return [*_tests(claim, root)]
    cells = []
    for comparison in claim.comparisons:
        theirs = papers.get(comparison.name, {})
        for cell in _cells(claim, comparison, ours, scale):
            paper = paper_of(theirs, cell.labels, claim.stands_for)
            cells.append(replace(cell, paper=paper))
    cells.sort(key=lambda cell: cell.group)
    return [*_adjusted(cells)]


def _cells(claim: Claim, comparison: Comparison, ours: pd.DataFrame, scale: str) -> Iterator[Cell]:
    differences = Differences(claim, comparison, ours, scale)
    seen = []
    for key in differences.keys:
        labels = dict(zip(columns_of(claim), key, strict=True))
        found = differences.find(key)
        if found is not None:
            seen.append(labels)
            cell = _cell(claim, comparison, labels, scale)
            yield _judged(replace(cell, models=differences.models(key), found=found))
    for wanted in expected_cells(claim, comparison):
        if not any(wanted.items() <= labels.items() for labels in seen):
            seen.append(dict(wanted))
            cell = _cell(claim, comparison, wanted, scale)
            models = wanted.get("model", ", ".join(_named_models(claim)))
            yield replace(cell, models=models, command=_command(claim, wanted, scale))


def _cell(claim: Claim, comparison: Comparison, labels: Mapping[str, str], scale: str) -> Cell:
    named = _named_models(claim)
    stand_in = "model" in claim.per and bool(named) and labels["model"] not in named
    aim = claim.aim(comparison, labels)
    return Cell(claim, comparison.name, scale, labels, stand_in=stand_in, aim=aim)


def _named_models(claim: Claim) -> Sequence[str]:
    return {**claim.filters, **claim.expected}.get("model", ())


def _judged(cell: Cell) -> Cell:
    found, aim = cell.found, cell.aim
    assert found is not None
    if cell.claim.kind == "bound":
        return replace(cell, verdict=REPRODUCED if found.value <= aim.margin else CONTRARY)
    verdict = decide(found, aim)
    lacks = lacking(found, aim, verdict)
    return replace(cell, verdict=verdict, lacks=lacks, p=p_value(found, aim))


def _adjusted(cells: Sequence[Cell]) -> Iterator[Cell]:
    for group in dict.fromkeys(cell.group for cell in cells):
        inside = [cell for cell in cells if cell.group == group]
        for cell, value in zip(inside, holm([cell.p for cell in inside]), strict=True):
            yield replace(cell, adjusted=value)


def _command(claim: Claim, labels: Mapping[str, str], scale: str) -> str:
    text = claim.command.of(labels)
    if not text:
        return ""
    preset, *words = str(text).format_map(labels).split()
    return commands(preset, [" ".join([*words, f"scale={scale}"])])[0]


def _tests(claim: Claim, root: Path) -> Iterator[Cell]:
    """Look whether tests are there; nothing runs them here."""
    if not claim.tests:
        yield Cell(claim, "no test", lacks="no test")
    for name in claim.tests:
        path, _, function = name.partition("::")
        verdict = TESTED if function in _functions(root / path) else NOT_RUN
        yield Cell(claim, name, verdict=verdict, command=_TEST.format(name))


def _functions(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
