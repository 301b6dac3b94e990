"""Claims: the interval of a difference, and the verdict that it allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from report.cells import Interval, summarise
from report.statistics import CONFIDENCE

REPRODUCED, CONTRARY, UNDECIDED = "reproduced", "not reproduced", "undecided"
NOT_RUN, TESTED = "not run here", "tested"
# From the worst to the best.
VERDICTS = (CONTRARY, UNDECIDED, NOT_RUN, TESTED, REPRODUCED)
HOLDS, FAILS = "holds", "does not hold"
SIDES = ("above", "below", "equal", "unequal")
MOST_SEEDS = 100
# What the interval of one seed is over. That of rounds is their least and greatest.
ROUNDS = "rounds"
UNITS = ("images", "sentences", ROUNDS)
# Decimal fractions are inexact in binary: a distance equal to the margin is within it.
_SLACK = 1e-9
_QUANTILE = (1 + CONFIDENCE) / 2
# That quantile of the normal distribution, for intervals that rows bring along.
_DEVIATIONS = 1.959963984540054


class Found(NamedTuple):
    """A difference.

    Attributes:
        interval: Its 95 % interval, None where nothing gives one.
        spread: Standard deviation over seeds, None for fewer than two.
        basis: What the interval is over: `seeds`, `images`; empty without one.
    """

    value: float
    interval: Interval | None = None
    spread: float | None = None
    seeds: int = 1
    basis: str = ""


class Aim(NamedTuple):
    """What a claim says of a difference.

    Attributes:
        side: One of `SIDES`: `above` or `below` the level, `equal` to it (within the margin), or
            `unequal`; or `bound`: at most the margin, without an interval.
        margin: Differences from the level of at most this are none.
    """

    side: str
    level: float = 0.0
    margin: float = 0.0


def paired(differences: Sequence[float]) -> Found:
    """The mean of one or more differences, one per seed; of two or more with Student's interval."""
    summary = summarise(differences)
    assert summary is not None
    mean, spread, seeds, _ = summary
    if spread is None:
        return Found(mean)
    # Here and not above: importing scipy takes longer than building a table.
    from scipy.special import stdtrit

    half = float(stdtrit(seeds - 1, _QUANTILE)) * spread / math.sqrt(seeds)
    return Found(mean, Interval(mean - half, mean + half), spread, seeds, "seeds")


def seeds_needed(mean: float, spread: float) -> int | None:
    """The least number of seeds (2 to `MOST_SEEDS`) whose interval would exclude zero, or None.

    They are taken to show the same mean, counted from the level asked about, and spread.
    """
    from scipy.special import stdtrit

    counts = np.arange(2, MOST_SEEDS + 1)
    enough = counts[stdtrit(counts - 1, _QUANTILE) * spread / np.sqrt(counts) < abs(mean)]
    return int(enough[0]) if len(enough) else None


def decide(found: Found, aim: Aim) -> str:
    """`REPRODUCED`, `CONTRARY` or `UNDECIDED`, by the interval."""
    if aim.side == "bound":
        return REPRODUCED if found.value <= aim.margin else CONTRARY
    if found.interval is None:
        return UNDECIDED
    low, high = (end - aim.level for end in found.interval)
    if aim.side == "below":
        low, high = -high, -low
    inside = low >= -aim.margin - _SLACK and high <= aim.margin + _SLACK
    outside = low > aim.margin + _SLACK or high < -aim.margin - _SLACK
    reproduced, contrary = {
        "equal": (inside, outside),
        "unequal": (low > 0 or high < 0, inside),
    }.get(aim.side, (low > 0, high < 0 or inside))
    return CONTRARY if contrary else REPRODUCED if reproduced else UNDECIDED


def holds(value: float, aim: Aim) -> str:
    """`HOLDS` or `FAILS`, for a number without interval; a tie is no order.

    The margin counts where the claim says `equal` or `unequal`.
    """
    if aim.side in ("above", "below"):
        aim = aim._replace(margin=0.0)
    point = Found(value, Interval(value, value))
    return HOLDS if decide(point, aim) == REPRODUCED else FAILS


def lacking(found: Found, aim: Aim) -> str:
    """What an undecided cell lacks: `7 more seeds`, `> 100 seeds`, `one seed`; empty for others.

    Of equality, more seeds must bring the nearer edge of the margin out of the interval.
    """
    if decide(found, aim) != UNDECIDED:
        return ""
    if found.spread is None:
        return "one seed"
    edges = (-aim.margin, aim.margin) if aim.side == "equal" else (0.0,)
    distance = min(abs(found.value - aim.level - edge) for edge in edges)
    needed = seeds_needed(distance, found.spread)
    if needed is None:
        return f"> {MOST_SEEDS} seeds"
    more = max(needed - found.seeds, 1)
    return f"{more} more seed{'s' * (more > 1)}"


def p_value(found: Found, aim: Aim) -> float | None:
    """The two-sided p-value of the level; normal where the interval is over images.

    Of equality it is twice the larger p-value of two one-sided tests, against differences of the
    margin: at most 5 % where the interval of 95 % is within the margin. It is None without
    interval, and where that is no interval of 95 %.
    """
    if found.basis.startswith(ROUNDS) or found.interval is None:
        return None
    distance = abs(found.value - aim.level)
    if aim.side == "equal":
        distance = aim.margin - distance
        if distance <= 0:
            return 1.0
    low, high = found.interval
    if found.spread is None:
        error = (high - low) / 2 / _DEVIATIONS
    else:
        error = found.spread / math.sqrt(found.seeds)
    if error == 0:
        return float(distance == 0)
    if found.spread is None:
        return math.erfc(distance / error / math.sqrt(2))
    from scipy.special import stdtr

    return float(2 * stdtr(found.seeds - 1, -distance / error))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """P-values adjusted by Holm's method, in the same order; None stays None and does not count."""
    order = sorted((value, place) for place, value in enumerate(values) if value is not None)
    adjusted: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (value, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * value))
        adjusted[place] = largest
    return adjusted


def overall(verdicts: Sequence[str]) -> str:
    """The worst verdict of what was run: one contrary cell is enough; reproduced where all are."""
    run = [verdict for verdict in verdicts if verdict != NOT_RUN]
    return min(run or verdicts, key=VERDICTS.index)
