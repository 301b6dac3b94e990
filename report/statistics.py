"""Statistics over few seeds: intervals, interquartile means, paired differences, orders."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from report.cells import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95
COVERAGE = f"{CONFIDENCE:.0%}".replace("%", " %")
RESAMPLES = 9999
# Subsets of seeds: all of them up to this number of seeds, beyond it so many random ones.
ENUMERATED_SEEDS = 20
DRAWN_SUBSETS = 20_000
# Decimal fractions are inexact in binary: a distance equal to the tolerance is within it.
_SLACK = 1e-9


class Outcomes(NamedTuple):
    """How often one of two was better; a tie is a difference within the tolerance."""

    wins: int
    ties: int
    losses: int


def bootstrap_interval(values: Iterable[float]) -> Interval | None:
    """The percentile bootstrap interval of the mean over seeds, the same for the same values.

    It is that of `CONFIDENCE`, one number twice where all values are equal, and None for fewer than
    two values; the order of values does not matter.
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
    """The mean without floor(n / 4) values at each end, as `scipy.stats.trim_mean`."""
    cut = len(values) // 4
    return statistics.fmean(sorted(values)[cut : len(values) - cut])


def paired_differences(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Seed to `first - second`, for the seeds that have both: they differ more than methods do."""
    return {seed: value - second[seed] for seed, value in first.items() if seed in second}


def count_outcomes(differences: Iterable[float], tolerance: float) -> Outcomes:
    """Wins, ties and losses; differences of at most `tolerance` are ties."""
    wins = ties = losses = 0
    for difference in differences:
        wins += difference > tolerance + _SLACK
        ties += abs(difference) <= tolerance + _SLACK
        losses += difference < -tolerance - _SLACK
    return Outcomes(wins, ties, losses)


def order_share(
    descending: Sequence[Mapping[str, float]], size: int, tolerance: float
) -> float | None:
    """The share (0 to 1) of subsets of the common seeds whose means are strictly in an order.

    The best method comes first, and means must be further apart than `tolerance`. Subsets of `size`
    are all up to `ENUMERATED_SEEDS` seeds, else `DRAWN_SUBSETS` random ones, the same for the same
    seeds. With fewer than `size` seeds it is None.
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
