"""Statistics over few seeds: intervals, interquartile means, paired differences, orders."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from report.cells import EN_DASH, format_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 9999
# Subsets of seeds: all of them up to this number of seeds, beyond it so many random ones.
ENUMERATED_SEEDS = 20
DRAWN_SUBSETS = 20_000
# Decimal fractions are inexact in binary: a distance equal to the tolerance is within it.
_SLACK = 1e-9


class Interval(NamedTuple):
    """A confidence interval.

    Attributes:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float


def format_interval(interval: Interval | None, decimals: int, signed: bool = False) -> str:
    """Print an interval: `[1.5, 2.5]`.

    Args:
        interval: The interval, or None where one seed gives none.
        decimals: Of each end.
        signed: Whether ends above zero get a plus sign.

    Returns:
        The cell's text.
    """
    if interval is None:
        return EN_DASH
    return f"[{', '.join(format_number(end, signed, decimals) for end in interval)}]"


class Outcomes(NamedTuple):
    """How often one of two was better.

    Attributes:
        wins: Differences above the tolerance.
        ties: Differences within it.
        losses: Differences below its negative.
    """

    wins: int
    ties: int
    losses: int


def bootstrap_interval(values: Iterable[float]) -> Interval | None:
    """Compute the percentile bootstrap interval of the mean, the same for the same values.

    Args:
        values: One value per seed; their order does not matter.

    Returns:
        The interval of `CONFIDENCE`, that one number twice where all values are equal, or None for
        fewer than two values.
    """
    # The generator's draws meet the values in this order.
    ordered = sorted(values)
    if len(ordered) < 2:
        return None
    if ordered[0] == ordered[-1]:
        return Interval(ordered[0], ordered[0])
    # Here and not above: importing it takes longer than building a table.
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.array(ordered),),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def interquartile_mean(values: Sequence[float]) -> float:
    """Compute the mean without the lowest and the highest quarter, as `scipy.stats.trim_mean`.

    Args:
        values: One value per seed, at least one.

    Returns:
        The mean of what is left when floor(n / 4) values are left out at each end.
    """
    cut = len(values) // 4
    return statistics.fmean(sorted(values)[cut : len(values) - cut])


def paired_differences(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Subtract seed by seed: seeds differ more than methods do.

    Args:
        first: Seed to value.
        second: Seed to the value that is subtracted.

    Returns:
        Seed to `first - second`, for the seeds that have both.
    """
    return {seed: value - second[seed] for seed, value in first.items() if seed in second}


def count_outcomes(differences: Iterable[float], tolerance: float) -> Outcomes:
    """Count wins, ties and losses.

    Args:
        differences: One per seed.
        tolerance: Largest distance that is a tie.

    Returns:
        The counts.
    """
    wins = ties = losses = 0
    for difference in differences:
        wins += difference > tolerance + _SLACK
        ties += abs(difference) <= tolerance + _SLACK
        losses += difference < -tolerance - _SLACK
    return Outcomes(wins, ties, losses)


def order_share(
    descending: Sequence[Mapping[str, float]], size: int, tolerance: float
) -> float | None:
    """Compute how often so many of the seeds would show an order in their means.

    Args:
        descending: Seed to value, one mapping per method, in the order asked about: the best first.
        size: Number of seeds in a subset.
        tolerance: Means must be further apart than this.

    Returns:
        The share, 0 to 1, of the subsets of the common seeds whose means are strictly in this
        order: of all subsets up to `ENUMERATED_SEEDS` seeds, else of `DRAWN_SUBSETS` random ones,
        the same for the same seeds. None with fewer than `size` seeds.
    """
    seeds = sorted(set(descending[0]).intersection(*descending[1:]))
    if len(seeds) < size:
        return None
    subsets = _subsets(len(seeds), size)
    columns = (np.array([values[seed] for seed in seeds]) for values in descending)
    means = [column[subsets].mean(axis=1) for column in columns]
    gaps = np.array([better - worse for better, worse in pairwise(means)])
    return float((gaps > tolerance + _SLACK).all(axis=0).mean())


def _subsets(count: int, size: int) -> NDArray[np.intp]:
    """List subsets of `count` seeds, one row of `size` places each."""
    if count <= ENUMERATED_SEEDS:
        return np.array([*combinations(range(count), size)])
    order = np.random.default_rng(0).random((DRAWN_SUBSETS, count)).argsort(axis=1)
    return order[:, :size]
