"""Claims: the same comparisons on the numbers that the paper reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from report.claims.model import Claim, Comparison, Filter
from report.claims.rows import known_columns
from report.claims.statistics import holds
from report.results import select

# The paper's rows have one protocol, `reported`.
_OWN = ("protocol",)

Cells = Mapping[frozenset[tuple[str, str]], "Reported"]


class Reported(NamedTuple):
    """What the paper's own numbers say: a difference, and `HOLDS` or `FAILS`.

    Attributes:
        spread: Root of the summed squares of its standard deviations, None where it gives none.
    """

    value: float
    spread: float | None
    verdict: str


def reported_cells(claim: Claim, reported: pd.DataFrame) -> dict[str, Cells]:
    """Name of the comparison to labels to what the paper's numbers say.

    Labels have the columns that `known_columns` lists. Two numbers of the paper for one term of a
    cell are a ValueError.
    """
    if not claim.paper.artefacts:
        return {}
    rows = select(reported, task=claim.tasks, artefact=claim.paper.artefacts)
    for column, names in claim.paper.names.items():
        rows = rows.assign(**{column: rows[column].replace(dict(names))})
    rows = _kept(rows, {**claim.filters, **claim.paper.filters})
    for column, texts in claim.excluded.items():
        rows = rows[~rows[column].isin(texts)]
    if claim.alternatives:
        replaced = claim.paper.filters
        parts = [
            _kept(rows, {k: v for k, v in each.items() if k not in replaced}).index
            for each in claim.alternatives
        ]
        rows = rows[rows.index.isin([place for part in parts for place in part])]
    found: dict[str, Cells] = {}
    for comparison in claim.comparisons:
        # Comparisons of the same name are of different protocols, which the paper does not have.
        cells = _compare(claim, comparison, rows)
        found[comparison.name] = {**found.get(comparison.name, {}), **cells}
    return found


def _kept(rows: pd.DataFrame, filters: Filter) -> pd.DataFrame:
    wanted = {name: texts for name, texts in filters.items() if texts and name not in _OWN}
    return select(rows, **wanted)


def _compare(claim: Claim, comparison: Comparison, rows: pd.DataFrame) -> Cells:
    columns = known_columns(claim, comparison)
    rows = _kept(rows, comparison.filters)
    parts = [_numbers(_kept(rows, term.paper), columns) for term in comparison.terms]
    bases = _numbers(_kept(rows, claim.paper.over), columns) if claim.paper.over else None
    cells = {}
    for key in parts[0]:
        if not all(key in part for part in parts):
            continue
        factor = claim.paper.times / (bases[key][0] if bases else 1.0)
        terms = [
            (term.weight * factor, *part[key])
            for term, part in zip(comparison.terms, parts, strict=True)
        ]
        value = math.fsum(weight * number for weight, number, _ in terms)
        spread = math.hypot(*(weight * std for weight, _, std in terms))
        labels = dict(zip(columns, key, strict=True))
        verdict = holds(value, claim.aim(comparison, labels))
        cells[frozenset(labels.items())] = Reported(
            value, None if math.isnan(spread) else spread, verdict
        )
    return cells


def _numbers(rows: pd.DataFrame, columns: list[str]) -> dict[tuple[str, ...], tuple[float, float]]:
    """Take one number and its spread for each cell."""
    found: dict[tuple[str, ...], tuple[float, float]] = {}
    texts = zip(*(rows[column] for column in columns), strict=True) if columns else None
    keys = texts if texts is not None else iter([()] * len(rows))
    for key, value, std in zip(keys, rows["value"], rows["std"], strict=True):
        first = found.setdefault(tuple(key), (float(value), float(std)))
        if first[0] != float(value):
            raise ValueError(
                f"the paper's rows have {first[0]} and {float(value)} for {', '.join(key)} of one "
                f"comparison; name the artefact"
            )
    return found


def paper_of(
    cells: Cells, labels: Mapping[str, str], stands_for: Mapping[str, str]
) -> Reported | None:
    """The paper's numbers for one of our cells, None where it reports none."""
    own = {**labels, "model": stands_for.get(labels.get("model", ""), labels.get("model", ""))}
    return next((each for wanted, each in cells.items() if wanted <= own.items()), None)
