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
    """A number over seeds, with the mean of its 95 % interval over images or sentences, if any."""

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
    """Mean and interval of a metric, whose rows differ by seed only; None without rows."""
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
    """A number with its spread and its interval: `53.0 (1.2) [51.5, 54.5]`."""
    text = format_summary(found and found.summary, signed, decimals)
    if found is None or found.interval is None:
        return text
    return f"{text} {format_interval(found.interval, decimals, signed)}"


def number_cells(found: Measure) -> tuple[str, ...]:
    """The cells `NUMBER_HEADERS` of a number, without rounding."""
    mean, spread, seeds = found.summary
    ends = map(repr, found.interval or ())
    return (
        repr(mean),
        "" if spread is None else repr(spread),
        *(tuple(ends) or ("", "")),
        str(seeds),
    )
