"""Claims: the interval of a difference, and the verdict that it allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from report.statistics import CONFIDENCE

REPRODUCED, CONTRARY, UNDECIDED = "reproduced", "not reproduced", "undecided"
NOT_RUN, TESTED = "not run here", "tested"
VERDICTS = (REPRODUCED, CONTRARY, UNDECIDED, NOT_RUN, TESTED)
HOLDS, FAILS = "holds", "does not hold"
MOST_SEEDS = 100
ONE_SEED = "one seed"
# What the interval of one seed is over. That of rounds is their least and greatest.
ROUNDS = "rounds"
UNITS = ("images", "sentences", ROUNDS)
UNPAIRED = ", unpaired"
# Decimal fractions are inexact in binary: a distance equal to the margin is within it.
_SLACK = 1e-9
# Of the normal distribution, for intervals that rows bring along.
_DEVIATIONS = 1.959963984540054


class Found(NamedTuple):
    """A difference with its 95 % interval.

    Attributes:
        low: Lower end of the 95 % interval, None where nothing gives one.
        spread: Standard deviation over seeds, None for fewer than two.
        basis: What the interval is over: `seeds`, `images`; empty without one.
    """

    value: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    seeds: int = 1
    basis: str = ""


class Aim(NamedTuple):
    """What a claim says of a difference.

    Attributes:
        side: `above` or `below` the level, `equal` to it (within the margin), or `unequal`.
        margin: Differences from the level of at most this are none.
    """

    side: str
    level: float = 0.0
    margin: float = 0.0


def paired(differences: Sequence[float]) -> Found:
    """The mean of differences, one per seed; of two or more with Student's interval."""
    count = len(differences)
    mean = math.fsum(differences) / count
    if count < 2:
        return Found(mean)
    spread = math.sqrt(math.fsum((each - mean) ** 2 for each in differences) / (count - 1))
    half = _quantiles(count)[-1] * spread / math.sqrt(count)
    return Found(mean, mean - half, mean + half, spread, count, "seeds")


@cache
def _quantiles(most: int) -> tuple[float, ...]:
    """List the factors of Student's t for 2, 3, ..., `most` seeds."""
    # Here and not above: importing it takes longer than all the rest.
    from scipy.stats import t

    return tuple(map(float, t.ppf((1 + CONFIDENCE) / 2, range(1, most))))


def seeds_needed(mean: float, spread: float) -> int | None:
    """The least number of seeds (2 to `MOST_SEEDS`) whose interval would exclude zero, or None.

    They are taken to show the same mean, counted from the level asked about, and spread.
    """
    for count, factor in enumerate(_quantiles(MOST_SEEDS), start=2):
        if factor * spread / math.sqrt(count) < abs(mean):
            return count
    return None


def decide(found: Found, aim: Aim) -> str:
    """`REPRODUCED`, `CONTRARY` or `UNDECIDED`, by the interval."""
    if found.low is None or found.high is None:
        return UNDECIDED
    low, high = found.low - aim.level, found.high - aim.level
    inside = low >= -aim.margin - _SLACK and high <= aim.margin + _SLACK
    outside = low > aim.margin + _SLACK or high < -aim.margin - _SLACK
    if aim.side == "equal":
        return REPRODUCED if inside else CONTRARY if outside else UNDECIDED
    if inside:
        return CONTRARY
    if aim.side == "unequal":
        return REPRODUCED if low > 0 or high < 0 else UNDECIDED
    if aim.side == "below":
        low, high = -high, -low
    return REPRODUCED if low > 0 else CONTRARY if high < 0 else UNDECIDED


def holds(value: float, aim: Aim) -> str:
    """`HOLDS` or `FAILS`, for a number without interval; a tie is no order.

    The margin counts where the claim says `equal` or `unequal`.
    """
    distance = value - aim.level
    held = {
        "above": distance > _SLACK,
        "below": distance < -_SLACK,
        "equal": abs(distance) <= aim.margin + _SLACK,
        "unequal": abs(distance) > aim.margin + _SLACK,
    }[aim.side]
    return HOLDS if held else FAILS


def lacking(found: Found, aim: Aim, verdict: str) -> str:
    """What an undecided cell lacks: `7 more seeds`, `> 100 seeds`, `one seed`.

    It is empty where the verdict is another, or where more seeds would bring the number nearer to
    the edge of a margin that it lies on.
    """
    if verdict != UNDECIDED:
        return ""
    if found.spread is None:
        return ONE_SEED
    edges = (-aim.margin, aim.margin) if aim.side == "equal" else (0.0,)
    distance = min(abs(found.value - aim.level - edge) for edge in edges)
    needed = seeds_needed(distance, found.spread)
    if needed is None:
        return f"> {MOST_SEEDS} seeds"
    more = max(needed - found.seeds, 1)
    return f"{more} more seed{'s' * (more > 1)}"


def p_value(found: Found, aim: Aim) -> float | None:
    """The two-sided p-value of the level; normal where the interval is over images.

    It is None for claims of equality, without interval, and where that is no interval of 95 %.
    """
    if aim.side == "equal" or found.basis.startswith(ROUNDS):
        return None
    if found.low is None or found.high is None:
        return None
    distance = abs(found.value - aim.level)
    if found.spread is None:
        error = (found.high - found.low) / 2 / _DEVIATIONS
    else:
        error = found.spread / math.sqrt(found.seeds)
    if error == 0:
        return 1.0 if distance == 0 else 0.0
    if found.spread is None:
        return math.erfc(distance / error / math.sqrt(2))
    from scipy.stats import t

    return float(2 * t.sf(distance / error, found.seeds - 1))


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
    """The worst verdict: one contrary cell is enough; reproduced only where all cells are."""
    worst = (CONTRARY, UNDECIDED, NOT_RUN, TESTED, REPRODUCED)
    return next(verdict for verdict in worst if verdict in verdicts)
