"""Paired intervals, and the recommendation that follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

ALPHA = 0.05
"""Chance that one or more of the intervals of an audit miss, by Bonferroni's bound."""


class Gain(NamedTuple):
    """A mean difference of paired samples with its interval, in the unit of the metric."""

    mean: float
    low: float
    high: float


class Trial(NamedTuple):
    """A method on samples that its choices did not see.

    Attributes:
        method: Its name.
        values: The metric of every sample, higher is better, [N].
        cost: Sorts methods from cheap to dear: passes of the model, then what must be trained.
    """

    method: str
    values: Float[Tensor, " n"]
    cost: tuple[int, int]


class Verdict(NamedTuple):
    """The recommended method, or None where the samples do not decide; and the evidence.

    Attributes:
        method: Its name.
        reason: The evidence.
        at_most_behind: With probability 95 % no other candidate is better by more than this.
    """

    method: str | None
    reason: str
    at_most_behind: float | None = None


def gain(differences: Float[Tensor, " n"], scale: float, comparisons: int) -> Gain:
    """Return the mean of paired differences and its interval.

    The interval is a normal one with two samples added, as Agresti and Min (2005) do for paired
    proportions: half a sample at +scale, half at -scale and one at 0. Few samples that all agree
    are then not taken for certainty.

    Args:
        differences: One difference per sample, [N].
        scale: The largest difference that can be.
        comparisons: Number of intervals that shall all hold with probability 1 - `ALPHA`.
    """
    values = differences.double()
    total = len(values) + 2
    centre = float(values.sum()) / total
    variance = (float(values.square().sum()) + scale**2) / total - centre**2
    tail = torch.tensor(1 - ALPHA / (2 * max(comparisons, 1)), dtype=torch.float64)
    half = float(torch.special.ndtri(tail)) * math.sqrt(variance / total)
    return Gain(float(values.mean()), centre - half, centre + half)


def show_gain(value: Gain, percent: bool) -> str:
    """Write a gain with its interval; shares in percentage points."""
    mean, low, high = (f"{100 * number:+.1f}" if percent else f"{number:+.3g}" for number in value)
    return f"{mean} [{low}, {high}]"


def recommend(
    trials: Sequence[Trial],
    error: float,
    tolerance: float,
    margin: float,
    between: Callable[[Tensor], Gain],
    percent: bool,
) -> Verdict:
    """Return the cheapest method that is about as good as the best; see `equitune.audit`.

    `Verdict.at_most_behind` is a bound of multiple comparisons with the best (Hsu, 1984). It also
    holds for a method that was chosen by the same samples, because it is never below 0.

    Args:
        trials: The pretrained model, then the methods.
        error: The equivariance error of the pretrained model.
        tolerance: Largest error of a model that counts as equivariant.
        margin: Smallest gain that matters.
        between: Returns the gain of paired differences; see `gain`.
        percent: Whether the metric is a share, shown in percent.
    """
    bare, *others = trials
    show = partial(show_gain, percent=percent)

    def verdict(found: Trial, reason: str) -> Verdict:
        """Return the verdict for a method, with the bound on what others are better."""
        ends = [between(other.values - found.values).high for other in trials if other is not found]
        bound = max([0.0, *ends])
        size = f"{100 * bound:.1f} points" if percent else f"{bound:.3g}"
        reason += f"; no other candidate is more than {size} better (95 %)"
        return Verdict(found.method, reason, bound)

    if error <= tolerance:
        reason = f"it is equivariant already: its error {error:.1e} is at most {tolerance:g}"
        return verdict(bare, reason)
    if not others:
        return Verdict(None, "there is no method to compare it with")
    gains = {trial.method: between(trial.values - bare.values) for trial in others}
    best = max(others, key=lambda trial: gains[trial.method].mean)
    least = f"{100 * margin:g} points" if percent else f"{margin:g}"
    top = f"{best.method} is best with {show(gains[best.method])} over {bare.method}"
    if max(found.high for found in gains.values()) <= margin:
        return verdict(bare, f"no method gains more than the margin of {least}; {top}")
    sure = [trial for trial in others if gains[trial.method].low > 0]
    if not sure:
        return Verdict(None, f"no method is surely better than {bare.method}; {top}")
    best = max(sure, key=lambda trial: gains[trial.method].mean)
    behind = {trial.method: between(best.values - trial.values) for trial in sure}
    near = [trial for trial in sure if behind[trial.method].mean <= margin]
    found = min(near, key=lambda trial: (trial.cost, -gains[trial.method].mean))
    reason = f"{show(gains[found.method])} over {bare.method}"
    if found is not best:
        ahead = show(behind[found.method])
        reason += f"; {best.method} needs more and is ahead by {ahead} only"
    rest = [
        trial.method
        for trial in sure
        if behind[trial.method].low <= 0 and trial not in (found, best)
    ]
    if rest:
        reason += f"; within noise of the best: {', '.join(rest)}"
    return verdict(found, reason)
