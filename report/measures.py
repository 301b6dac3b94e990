"""Numbers whose rows have an interval: mean over seeds, spread and interval, and how they print."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from report.cells import Summary, by_seed, format_summary, summarise
from report.options import Options
from report.results import select
from report.statistics import Interval, format_interval

NUMBER_HEADERS = ("mean", "spread", "low", "high", "n")


class Measure(NamedTuple):
    """A number with what is known about its error.

    Attributes:
        summary: Its mean over seeds.
        interval: 95 % over images or sentences, None where rows give none; the mean over seeds of
            both ends.
    """

    summary: Summary
    interval: Interval | None

    @property
    def ends(self) -> Interval:
        """Its error bar: one spread to each side, and for a single seed the interval."""
        mean, spread, _ = self.summary
        if spread is None:
            return self.interval or Interval(mean, mean)
        return Interval(mean - spread, mean + spread)


def measure(rows: pd.DataFrame, metric: str, options: Options) -> Measure | None:
    """Summarise a metric and its interval over seeds.

    Args:
        rows: Rows that differ by metric and seed only.
        metric: The metric.
        options: The kind of spread.

    Returns:
        The number, or None without rows.

    Raises:
        ValueError: As in `over_seeds`.
    """
    names = (metric, f"{metric}_low", f"{metric}_high")
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    # Thousands of cells: lists are faster than selections of a frame.
    columns = (rows[column].tolist() for column in ("metric", "seed", "value"))
    for name, seed, value in zip(*columns, strict=True):
        if name in found:
            if seed in found[name]:
                by_seed(select(rows, metric=name))  # refuses, and says where
            found[name][seed] = value
    mean, low, high = (summarise([*found[name].values()], options.spread) for name in names)
    if mean is None:
        return None
    return Measure(mean, Interval(low.mean, high.mean) if low and high else None)


def format_measure(found: Measure | None, signed: bool = False, decimals: int = 1) -> str:
    """Print a number with its spread and its interval: `53.0 (1.2) [51.5, 54.5]`.

    Args:
        found: The number, or None.
        signed: As in `format_summary`.
        decimals: Of all its numbers.

    Returns:
        The cell's text.
    """
    text = format_summary(found and found.summary, signed, decimals)
    if found is None or found.interval is None:
        return text
    return f"{text} {format_interval(found.interval, decimals, signed)}"


def number_cells(found: Measure) -> tuple[str, ...]:
    """Write a number without rounding.

    Args:
        found: The number.

    Returns:
        The cells `NUMBER_HEADERS`.
    """
    mean, spread, seeds = found.summary
    ends = map(repr, found.interval or ())
    return (
        repr(mean),
        "" if spread is None else repr(spread),
        *(tuple(ends) or ("", "")),
        str(seeds),
    )
