"""Numbers over seeds: mean, spread and interval, and how a cell of a table prints them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from report.options import Spread

SPREAD_NOTES: dict[Spread, str] = {
    "sample": "spread: sample standard deviation over seeds (ddof = 1)",
    "reference": "spread: as the authors' code computes it, each seed's value stored twice and "
    "ddof = 1 over the 2n values (for n = 3 this is 0.894 times the sample standard deviation)",
}
# The same in a picture.
SPREAD_WORDS: dict[Spread, str] = {
    "sample": "one standard deviation over seeds",
    "reference": "the authors' smaller spread over seeds",
}

DAGGER = "\N{DAGGER}"
EN_DASH = "\N{EN DASH}"
MISSING = "missing"
NOT_REPORTED = "not reported"
NOT_RUN = "not run"
NUMBER_HEADERS = ("mean", "spread", "low", "high", "n")


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Number(NamedTuple):
    """A number over seeds; a single seed gives no spread.

    Attributes:
        interval: The mean of its 95 % interval over images or sentences, if it has any.
    """

    mean: float
    spread: float | None
    seeds: int
    interval: Interval | None = None

    @property
    def ends(self) -> Interval:
        """Its error bar: one spread to each side, and for a single seed the interval."""
        if self.spread is None:
            return self.interval or Interval(self.mean, self.mean)
        return Interval(self.mean - self.spread, self.mean + self.spread)


def summarise(values: Sequence[float], spread: Spread = "sample") -> Number | None:
    """Mean and spread over seeds, one value each; None without values.

    The spread `sample` is the standard deviation with ddof = 1. `reference` is the authors' smaller
    one, where every value counts twice: sqrt((2n - 2) / (2n - 1)) times the sample standard
    deviation.
    """
    if not values:
        return None
    if len(values) == 1:
        return Number(values[0], None, 1)
    stored = [*values, *values] if spread == "reference" else values
    return Number(statistics.fmean(values), statistics.stdev(stored), len(values))


def format_summary(summary: Number | None, signed: bool = False, decimals: int = 1) -> str:
    """A mean with its spread: `75.2 (1.5)`, with an en dash where n = 1; `missing` for None.

    `signed` gives a mean above zero a plus sign, as differences have.
    """
    if summary is None:
        return MISSING
    spread = EN_DASH if summary.spread is None else f"{summary.spread:.{decimals}f}"
    return f"{format_number(summary.mean, signed, decimals)} ({spread})"


def format_mean(number: Number | None, decimals: int = 1) -> str:
    """A mean alone: `75.2`; `missing` for None."""
    return MISSING if number is None else format_number(number.mean, decimals=decimals)


def format_digits(number: Number | None, digits: int = 2) -> str:
    """The first digits of a mean: `0.0012`; `missing` for None."""
    return MISSING if number is None else f"{number.mean:.{digits}g}"


def format_number(number: float, signed: bool = False, decimals: int = 1) -> str:
    """A number as text; one that rounds to zero has neither plus nor minus."""
    # Adding zero turns the -0.0 that rounding may leave into 0.0.
    rounded = round(number, decimals) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{decimals}f}"


def format_interval(interval: Interval | None, decimals: int, signed: bool = False) -> str:
    """An interval as text: `[1.5, 2.5]`; a dash for None, where one seed gives none.

    `signed` gives ends above zero a plus sign.
    """
    if interval is None:
        return EN_DASH
    return f"[{', '.join(format_number(end, signed, decimals) for end in interval)}]"


def format_counts(summaries: Sequence[Number | None]) -> str:
    """The number of seeds of neighbouring cells; where they differ all in order: `3/0`."""
    counts = [0 if summary is None else summary.seeds for summary in summaries]
    return str(counts[0]) if len(set(counts)) == 1 else "/".join(map(str, counts))


def format_reported(mean: float, std: float) -> str:
    """A number of the paper with the decimals that the paper gives, at least one.

    `std` is NaN where the paper gives no spread.
    """
    return _decimals(mean) if std != std else f"{_decimals(mean)} ({_decimals(std)})"


def format_papers(reported: tuple[float, float] | None) -> str:
    """A mean and a spread of the paper as a cell; `not reported` for None."""
    return NOT_REPORTED if reported is None else format_reported(*reported)


def _decimals(number: float) -> str:
    text = repr(float(number))
    return text if "e" not in text else f"{number:.1f}"


def outside_spread(ours: Number, mean: float, std: float) -> bool:
    """Whether |ours - paper| > paper's spread + our spread; none (None, NaN) counts as zero."""
    together = (ours.spread or 0.0) + (0.0 if std != std else std)
    # Decimal fractions are inexact in binary: a distance equal to the spreads is not outside.
    return abs(ours.mean - mean) > together + 1e-9


def span(numbers: Iterable[int]) -> str:
    """The least and the greatest: `8`, or `7` and `9` with an en dash between."""
    ordered = sorted(numbers)
    return EN_DASH.join(map(str, dict.fromkeys((ordered[0], ordered[-1])))) if ordered else ""


def format_estimate(found: Number | None, signed: bool = False, decimals: int = 1) -> str:
    """A mean with its interval, without its spread: `53.0 [51.5, 54.5]`; `missing` for None."""
    if found is None:
        return MISSING
    mean = format_number(found.mean, signed, decimals)
    return f"{mean} {format_interval(found.interval, decimals, signed)}"


def format_measure(found: Number | None, signed: bool = False, decimals: int = 1) -> str:
    """A number with its spread and its interval: `53.0 (1.2) [51.5, 54.5]`."""
    text = format_summary(found, signed, decimals)
    if found is None or found.interval is None:
        return text
    return f"{text} {format_interval(found.interval, decimals, signed)}"


def number_cells(found: Number) -> tuple[str, ...]:
    """The cells `NUMBER_HEADERS` of a number, without rounding."""
    mean, spread, seeds, _ = found
    ends = map(repr, found.interval or ())
    return (
        repr(mean),
        "" if spread is None else repr(spread),
        *(tuple(ends) or ("", "")),
        str(seeds),
    )
