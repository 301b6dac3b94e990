"""Claims: the difference that decides one cell, and what its interval is over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.frame.methods import EQUITUNE
from report.claims.model import Claim, Comparison, Term
from report.claims.rows import Key, Number, claim_rows, numbers, term_rows
from report.claims.statistics import UNPAIRED, Found, paired

_EQUITUNE = (EQUITUNE,)


class Differences:
    """The differences of one comparison, by cell."""

    def __init__(
        self, claim: Claim, comparison: Comparison, ours: pd.DataFrame, scale: str
    ) -> None:
        """Select the rows of a comparison; `ours` is from `with_intervals`."""
        self._claim, self._comparison = claim, comparison
        self._rows = claim_rows(ours, claim, scale)
        self._parts = [term_rows(self._rows, claim, comparison, term) for term in comparison.terms]
        self._brought = self._find_brought(ours, scale) if claim.interval else {}

    @property
    def keys(self) -> list[Key]:
        """The cells that have rows of every term."""
        first, *others = self._parts
        return [key for key in first if all(key in part for part in others)]

    def models(self, key: Key) -> str:
        """The names of the models of a cell."""
        return ", ".join(sorted({name for part in self._parts for name in part[key]["model"]}))

    def find(self, key: Key) -> Found | None:
        """The difference in a cell, paired by seed; of a bound the largest number.

        It is None where no seed has all terms. Two rows of a term with the same seed are a
        ValueError.
        """
        if self._claim.kind == "bound":
            return self._largest(key)
        terms = [self._divided(numbers(part[key]), key) for part in self._parts]
        seeds = sorted(set(terms[0]).intersection(*terms[1:]))
        sums = [self._sum([term[seed].value for term in terms]) for seed in seeds]
        if len(sums) != 1:
            return paired(sums) if sums else None
        return self._single(sums[0], key, seeds[0], [term[seeds[0]] for term in terms])

    def _largest(self, key: Key) -> Found:
        values = pd.concat([part[key] for part in self._parts])
        largest, seeds = float(values["value"].max()), values["seed"].nunique()
        return Found(largest, seeds=seeds, basis=f"largest of {len(values)} rows")

    def _sum(self, values: Sequence[float]) -> float:
        weights = (term.weight for term in self._comparison.terms)
        return math.fsum(weight * value for weight, value in zip(weights, values, strict=True))

    def _divided(self, found: Mapping[str, Number], key: Key) -> dict[str, Number]:
        if not self._claim.over:
            return dict(found)
        base = Term(1.0, self._claim.over, {})
        cells = term_rows(self._rows, self._claim, self._comparison, base)
        bases = numbers(cells[key]) if key in cells else {}
        return {seed: each.over(bases[seed]) for seed, each in found.items() if seed in bases}

    def _single(self, value: float, key: Key, seed: str, terms: Sequence[Number]) -> Found:
        """Take the interval of one seed from its rows, where they have one."""
        unit = self._claim.unit
        brought = self._brought.get(key, {}).get(seed)
        if brought is not None:
            return Found(brought.value, brought.low, brought.high, basis=unit)
        if len(terms) > 1 and not self._claim.unpaired:
            return Found(value)
        low, high = 0.0, 0.0
        for term, (middle, *ends) in zip(self._comparison.terms, terms, strict=True):
            distances = [term.weight * (end - middle) for end in ends]
            low, high = math.hypot(low, min(distances)), math.hypot(high, max(distances))
        if math.isnan(low) or math.isnan(high):
            return Found(value)
        basis = unit + UNPAIRED * (len(terms) > 1)
        return Found(value, value - low, value + high, basis=basis)

    def _find_brought(self, ours: pd.DataFrame, scale: str) -> dict[Key, dict[str, Number]]:
        """Find differences to equitune that rows bring along, if this is such a difference."""
        terms = self._comparison.terms
        others = [term for term in terms if term.rows.get("method") != _EQUITUNE]
        if len(terms) != 2 or len(others) != 1 or terms[0].weight != -terms[1].weight:
            return {}
        rows = claim_rows(ours, self._claim, scale, self._claim.interval)
        cells = term_rows(rows, self._claim, self._comparison, others[0])
        weight = others[0].weight
        return {
            key: {seed: _times(each, weight) for seed, each in numbers(cell).items()}
            for key, cell in cells.items()
        }


def _times(number: Number, weight: float) -> Number:
    low, high = sorted((weight * number.low, weight * number.high))
    return Number(weight * number.value, low, high)
