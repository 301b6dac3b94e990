"""Means over seeds, their spread, and how a cell prints them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

import pandas as pd

Spread = Literal["sample", "reference"]
SPREADS: tuple[Spread, ...] = get_args(Spread)
SPREAD_NOTES: dict[Spread, str] = {
    "sample": "spread: sample standard deviation over seeds (ddof = 1)",
    "reference": "spread: as the authors' code computes it, each seed's value stored twice and "
    "ddof = 1 over the 2n values (for n = 3 this is 0.894 times the sample standard deviation)",
}

DAGGER = "\N{DAGGER}"
EN_DASH = "\N{EN DASH}"
MISSING = "missing"
NOT_REPORTED = "not reported"


class Summary(NamedTuple):
    """A number over seeds; a single seed gives no spread."""

    mean: float
    spread: float | None
    seeds: int


def summarise(values: Sequence[float], spread: Spread = "sample") -> Summary | None:
    """Mean and spread over seeds, one value each; None without values.

    The spread `sample` is the standard deviation with ddof = 1. `reference` is the authors' smaller
    one, where every value counts twice: sqrt((2n - 2) / (2n - 1)) times the sample standard
    deviation.
    """
    if not values:
        return None
    if len(values) == 1:
        return Summary(values[0], None, 1)
    stored = [*values, *values] if spread == "reference" else values
    return Summary(statistics.fmean(values), statistics.stdev(stored), len(values))


def by_seed(rows: pd.DataFrame) -> dict[str, float]:
    """Seed to value of one cell.

    Two rows of the same seed are a ValueError: a mean over seeds would count it twice.
    """
    seeds = rows["seed"].tolist()
    if len(set(seeds)) < len(seeds):
        twice = rows[rows["seed"].duplicated(keep=False)]
        raise ValueError(
            f"{twice['where'].iloc[1]}: a second row for seed {twice['seed'].iloc[1]!r} in a cell; "
            f"remove it or one of {', '.join(twice['where'])}"
        )
    return dict(zip(seeds, rows["value"].tolist(), strict=True))


def over_seeds(rows: pd.DataFrame, spread: Spread = "sample") -> Summary | None:
    """Mean and spread of one cell, whose rows must differ by their seed; None without rows."""
    return summarise([*by_seed(rows).values()], spread)


def format_summary(summary: Summary | None, signed: bool = False, decimals: int = 1) -> str:
    """A mean with its spread: `75.2 (1.5)`, with an en dash where n = 1; `missing` for None.

    `signed` gives a mean above zero a plus sign, as differences have.
    """
    if summary is None:
        return MISSING
    spread = EN_DASH if summary.spread is None else f"{summary.spread:.{decimals}f}"
    return f"{format_number(summary.mean, signed, decimals)} ({spread})"


def format_number(number: float, signed: bool = False, decimals: int = 1) -> str:
    """A number as text; one that rounds to zero has neither plus nor minus."""
    # Adding zero turns the -0.0 that rounding may leave into 0.0.
    rounded = round(number, decimals) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{decimals}f}"


def format_counts(summaries: Sequence[Summary | None]) -> str:
    """The number of seeds of neighbouring cells; where they differ all in order: `3/0`."""
    counts = [0 if summary is None else summary.seeds for summary in summaries]
    return str(counts[0]) if len(set(counts)) == 1 else "/".join(map(str, counts))


def format_reported(mean: float, std: float) -> str:
    """A number of the paper with the decimals that the paper gives, at least one.

    `std` is NaN where the paper gives no spread.
    """
    return _decimals(mean) if std != std else f"{_decimals(mean)} ({_decimals(std)})"


def _decimals(number: float) -> str:
    text = repr(float(number))
    return text if "e" not in text else f"{number:.1f}"


def outside_spread(ours: Summary, mean: float, std: float) -> bool:
    """Whether |ours - paper| > paper's spread + our spread; none (None, NaN) counts as zero."""
    together = (ours.spread or 0.0) + (0.0 if std != std else std)
    # Decimal fractions are inexact in binary: a distance equal to the spreads is not outside.
    return abs(ours.mean - mean) > together + 1e-9


def span(numbers: Iterable[int]) -> str:
    """The least and the greatest: `8`, or `7` and `9` with an en dash between."""
    ordered = sorted(numbers)
    return EN_DASH.join(map(str, dict.fromkeys((ordered[0], ordered[-1])))) if ordered else ""
