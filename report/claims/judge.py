"""Claims: the cells of a claim, with their differences and verdicts, ours and the paper's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.frame.methods import EQUITUNE
from report.cells import Interval
from report.claims import statistics
from report.claims.model import Claim, Comparison, Filter
from report.claims.statistics import CONTRARY, NOT_RUN, REPRODUCED, TESTED, UNDECIDED, Found
from report.results import select
from report.rows import KEY_COLUMNS

LEVEL = 0.05
#: A cell: the texts of some columns.
Key = tuple[str, ...]
#: Cell to seed to the numbers of a comparison's terms.
Terms = dict[Key, dict[str, list["Number"]]]
#: Metric, empty for that of the claim, to the rows of it that count.
Own = Mapping[str, pd.DataFrame]
#: A cell, its models, and what was found.
Difference = tuple[Key, str, Found]
_SHOWN = 3
_RUN = "python run.py experiment="


class Number(NamedTuple):
    """A number with the ends of its interval and its spread; NaN where it has none."""

    value: float
    low: float
    high: float
    std: float
    model: str
    where: str

    def times(self, factor: float, over: float = 1.0) -> Number:
        """The number times a factor over a divisor."""
        value, *ends, std = (each * factor / over for each in self[:4])
        return Number(value, min(ends), max(ends), abs(std), self.model, self.where)


class Reported(NamedTuple):
    """What the paper's own numbers say of one cell of a claim: a difference, `HOLDS` or `FAILS`.

    Attributes:
        labels: The columns that the claim knows, with their texts.
        spread: Root of the summed squares of its standard deviations, None where it gives none.
    """

    claim: str
    comparison: str
    labels: Mapping[str, str]
    value: float
    spread: float | None
    verdict: str


@dataclass(frozen=True)
class Cell:
    """One verdict.

    Attributes:
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
    def stand_in(self) -> bool:
        """Whether its model is none of those that the claim names."""
        named = self.claim.models if "model" in self.claim.per else ()
        return bool(named) and self.labels.get("model") not in named

    @property
    def group(self) -> tuple[str, str, bool]:
        """What it is judged with: claim, protocol, and whether by stand-ins."""
        return (self.claim.id, self.protocol, self.stand_in)

    @property
    def corrected(self) -> str:
        """The verdict where the adjusted p-value must be small as well."""
        signed = self.verdict in (REPRODUCED, CONTRARY) and self.p is not None and self.p <= LEVEL
        too_large = self.adjusted is not None and self.adjusted > LEVEL
        return UNDECIDED if signed and too_large else self.verdict


def with_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the ends of their intervals, which have rows of their own, in `low` and `high`.

    They are NaN where one of the two is missing. The column `std` is NaN, as in all our rows.
    """
    keys = [*zip(*(rows[column] for column in KEY_COLUMNS), strict=True)]
    values = dict(zip(keys, rows["value"], strict=True))
    names = ((key[:-1], f"{key[-1]}_{end}") for key in keys for end in ("low", "high"))
    ends = np.array([values.get((*key, name), math.nan) for key, name in names]).reshape(-1, 2)
    ends[np.isnan(ends).any(axis=1)] = math.nan
    return rows.assign(low=ends[:, 0], high=ends[:, 1], std=math.nan)


def left_out(claim: Claim, ours: pd.DataFrame) -> list[str]:
    """A sentence on the rows that a claim would be about but for their `variant`, if any."""
    if claim.kind in ("test", "bound"):
        return []
    terms = [term for comparison in claim.compared for term in comparison.terms]
    methods = tuple(name for term in terms for name in term.get("method", ()))
    rows = _kept(_rows(claim, ours, {"variant": ()}), {"method": methods})
    counts = rows[~rows["variant"].isin(claim.variants)]["variant"].value_counts()
    if counts.empty:
        return []
    names = ", ".join(map(repr, counts.index[:_SHOWN]))
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return [
        f"{claim.id}: {counts.sum()} rows do not count, as their runs have other options than the "
        f"protocol's: {names}{more}"
    ]


def reported_cells(claim: Claim, reported: pd.DataFrame) -> list[Reported]:
    """What the paper's numbers say of a claim; two numbers for one term are a ValueError."""
    paper = claim.paper
    if not paper.artefact:
        return []
    rows = select(reported, artefact=paper.artefact)
    for column, names in paper.names.items():
        rows = rows.assign(**{column: rows[column].replace(dict(names))})
    rows = rows.assign(low=math.nan, high=math.nan, where=rows["artefact"])
    rows = _rows(claim, rows, {**paper.filters, "protocol": ()})
    found: dict[tuple[str, Key], Reported] = {}
    for comparison in claim.compared:
        columns = claim.known(comparison)
        for key, seeds in _terms(rows, comparison.of_paper, columns, paper.over).items():
            labels = dict(zip(columns, key, strict=True))
            [numbers] = seeds.values()
            number = _sum([each.times(paper.times) for each in numbers])
            spread = None if math.isnan(number.std) else number.std
            verdict = statistics.holds(number.value, claim.aim(comparison, labels))
            # Comparisons of the same name are of different protocols, which the paper has not.
            found[comparison.name, key] = Reported(
                claim.id, comparison.name, labels, number.value, spread, verdict
            )
    return [*found.values()]


def judge(
    claim: Claim, ours: pd.DataFrame, papers: Sequence[Reported], scale: str, root: Path
) -> list[Cell]:
    """The cells of a claim: those with rows, and those that should have some.

    Cells that are judged together stand side by side. `ours` is from `with_ends`; names of tests
    begin in `root`. Rows that differ in nothing that the claim names are a ValueError.
    """
    if claim.kind == "test":
        return [*_tests(claim, root)]
    own = {metric: _own(claim, ours, metric) for metric in {"", claim.interval}}
    found = (_cells(claim, comparison, own, scale) for comparison in claim.compared)
    cells = sorted(chain.from_iterable(found), key=lambda cell: cell.group)
    adjusted = []
    for _, group in groupby(cells, key=lambda cell: cell.group):
        inside = [*group]
        values = statistics.holm([cell.p for cell in inside])
        adjusted += [
            replace(cell, adjusted=value, paper=_paper_of(cell, papers))
            for cell, value in zip(inside, values, strict=True)
        ]
    return adjusted


def _cells(claim: Claim, comparison: Comparison, own: Own, scale: str) -> Iterator[Cell]:
    seen: list[Mapping[str, str]] = []
    differences = _largest if claim.kind == "bound" else _differences
    for key, models, found in differences(claim, comparison, own):
        seen.append(dict(zip(claim.columns, key, strict=True)))
        aim = claim.aim(comparison, seen[-1])
        yield Cell(
            *(claim, comparison.name, scale, seen[-1], models, found),
            verdict=statistics.decide(found, aim),
            lacks=statistics.lacking(found, aim),
            p=statistics.p_value(found, aim),
        )
    for labels in claim.expected(comparison):
        if not any(labels.items() <= each.items() for each in seen):
            seen.append(labels)
            models = labels.get("model", ", ".join(claim.models))
            text = comparison.command or claim.command.of(labels)
            command = f"{_RUN}{text.format_map(labels)} scale={scale}" if text else ""
            yield Cell(claim, comparison.name, scale, labels, models, command=command)


def _paper_of(cell: Cell, papers: Sequence[Reported]) -> Reported | None:
    model = cell.labels.get("model", "")
    own = {**cell.labels, "model": cell.claim.stands_for.get(model, model)}.items()
    named = (each for each in papers if each.comparison == cell.comparison)
    return next((each for each in named if each.labels.items() <= own), None)


def _tests(claim: Claim, root: Path) -> Iterator[Cell]:
    """Look whether tests are there; nothing runs them here."""
    if not claim.tests:
        yield Cell(claim, "no test", lacks="no test")
    for name in claim.tests:
        path, _, function = name.partition("::")
        text = (root / path).read_text(encoding="utf-8") if (root / path).is_file() else ""
        verdict = TESTED if f"def {function}(" in text else NOT_RUN
        yield Cell(claim, name, verdict=verdict, command=f"python -m pytest {name}")


def _largest(claim: Claim, comparison: Comparison, own: Own) -> Iterator[Difference]:
    """Find the largest number of each cell."""
    rows = _kept(own[""], comparison.filters)
    rows = pd.concat([_kept(rows, term) for term in comparison.terms])
    for key, cell in rows.groupby([*claim.columns]):
        seeds, basis = cell["seed"].nunique(), f"largest of {len(cell)} rows"
        found = Found(float(cell["value"].max()), seeds=seeds, basis=basis)
        yield key, _models(cell["model"]), found


def _differences(claim: Claim, comparison: Comparison, own: Own) -> Iterator[Difference]:
    """Find the difference in each cell, paired by seed."""
    terms = _terms(own[""], comparison, claim.columns, claim.over)
    brought = _brought(claim, comparison, own)
    for key, seeds in sorted(terms.items()):
        sums = [_sum(numbers) for numbers in seeds.values()]
        models = _models(each.model for numbers in seeds.values() for each in numbers)
        if not sums:
            continue
        alone = brought.get(key, {}).get(min(seeds))
        number = alone[0] if alone else sums[0]
        single = _single(claim, number, len(comparison.terms) > 1 and not alone)
        # Seeds that draw nothing repeat one number: it counts once.
        drawn = {tuple(each.value for each in numbers) for numbers in seeds.values()}
        if len(sums) == 1 or (len(drawn) == 1 and single.interval):
            yield key, models, single
        else:
            yield key, models, statistics.paired([each.value for each in sums])


def _single(claim: Claim, number: Number, is_joined: bool) -> Found:
    """Take the interval of one seed from its rows, where they have one."""
    if math.isnan(number.low) or (is_joined and not claim.unpaired):
        return Found(number.value)
    basis = f"{claim.unit}, unpaired" if is_joined else claim.unit
    return Found(number.value, Interval(number.low, number.high), basis=basis)


def _brought(claim: Claim, comparison: Comparison, own: Own) -> Terms:
    """Find differences to equitune that rows bring along, if this is such a difference."""
    weighted = [*zip(comparison.terms, comparison.weights, strict=False)]
    others = [each for each in weighted if each[0].get("method") != (EQUITUNE,)]
    if not claim.interval or len(weighted) != 2 or len(others) != 1 or sum(comparison.weights) != 0:
        return {}
    [(term, weight)] = others
    alone = replace(comparison, terms=(term,), weights=(weight,), paper=())
    return _terms(own[claim.interval], alone, claim.columns, {})


def _models(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))


def _rows(claim: Claim, rows: pd.DataFrame, changes: Filter) -> pd.DataFrame:
    """Select what a claim is about; `changes` replace its filters, and empty ones drop them."""
    whole = {"task": claim.task, "metric": claim.metric, **claim.filters}
    first, *others = (_kept(rows, {**whole, **each, **changes}) for each in claim.any or ({},))
    places = [place for part in (first, *others) for place in part.index]
    rows = rows[rows.index.isin(places)] if others else first
    for column, texts in claim.without.items():
        rows = rows[~rows[column].isin(texts)]
    return rows


def _own(claim: Claim, ours: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Select our rows that count for a claim, of its metric (empty) or another."""
    rows = _rows(claim, ours, {"metric": (metric,)} if metric else {})
    return _kept(rows, {"variant": tuple(claim.variants)})


def _kept(rows: pd.DataFrame, filters: Filter) -> pd.DataFrame:
    return select(rows, **{column: texts for column, texts in filters.items() if texts})


def _terms(
    rows: pd.DataFrame, comparison: Comparison, columns: Sequence[str], over: Filter
) -> Terms:
    """Return the weighted numbers of all terms, for cells and seeds that have them all."""
    rows = _kept(rows, comparison.filters)
    parts = [_numbers(_kept(rows, term), columns) for term in comparison.terms]
    bases = [_numbers(_kept(rows, over), columns)] if over else []
    terms: Terms = {}
    for key in set(parts[0]).intersection(*parts, *bases):
        cells, divisors = [part[key] for part in parts], [base[key] for base in bases]
        terms[key] = {
            seed: [
                cell[seed].times(weight, *(each[seed].value for each in divisors))
                for cell, weight in zip(cells, comparison.weights, strict=False)
            ]
            for seed in sorted(set(cells[0]).intersection(*cells, *divisors))
        }
    return terms


def _numbers(rows: pd.DataFrame, columns: Sequence[str]) -> dict[Key, dict[str, Number]]:
    """Sort rows into cells and seeds."""
    cells: dict[Key, dict[str, Number]] = {}
    names = (*columns, "seed", *Number._fields)
    for texts in zip(*(rows[name] for name in names), strict=True):
        key, seed, number = texts[: len(columns)], texts[len(columns)], Number(*texts[-6:])
        first = cells.setdefault(key, {}).setdefault(seed, number)
        if first is not number:
            raise ValueError(
                f"two numbers for {', '.join(filter(None, (*key, seed)))} in one term: "
                f"{first.value:g} at {first.where}, {number.value:g} at {number.where}; "
                f"remove one, or tell them apart by a filter"
            )
    return cells


def _sum(numbers: Sequence[Number]) -> Number:
    """Add numbers up, with their intervals and spreads as if they were independent."""
    value = math.fsum(each.value for each in numbers)
    low = value - math.hypot(*(each.low - each.value for each in numbers))
    high = value + math.hypot(*(each.high - each.value for each in numbers))
    return Number(value, low, high, math.hypot(*(each.std for each in numbers)), "", "")
