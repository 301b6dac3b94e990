"""Paired intervals, and the recommendation that follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    """A method on the samples that chose nothing.

    Attributes:
        method: Its name.
        values: The metric of every sample, higher is better, [N].
        cost: Sorts methods from cheap to dear: passes of the model, then what must be trained.
    """

    method: str
    values: Float[Tensor, " n"]
    cost: tuple[int, int]


class Verdict(NamedTuple):
    """The recommended method, or None where the samples do not decide; and the evidence."""

    method: str | None
    reason: str


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


def recommend(
    trials: Sequence[Trial],
    error: float,
    tolerance: float,
    margin: float,
    between: Callable[[Tensor], Gain],
    show: Callable[[Gain], str],
) -> Verdict:
    """Return the cheapest method that is about as good as the best; see `equitune.audit`.

    Args:
        trials: The pretrained model, then the methods.
        error: The equivariance error of the pretrained model.
        tolerance: Largest error of a model that counts as equivariant.
        margin: Smallest gain that matters.
        between: Returns the gain of paired differences; see `gain`.
        show: Writes a gain.
    """
    bare, *others = trials
    if error <= tolerance:
        reason = f"it is equivariant already: its error {error:.1e} is at most {tolerance:g}"
        return Verdict(bare.method, reason)
    if not others:
        return Verdict(None, "there is no method to compare it with")
    gains = {trial.method: between(trial.values - bare.values) for trial in others}
    best = max(others, key=lambda trial: gains[trial.method].mean)
    top = f"{best.method} is best with {show(gains[best.method])} over {bare.method}"
    if max(found.high for found in gains.values()) <= margin:
        return Verdict(bare.method, f"no method gains what matters; {top}")
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
    return Verdict(
        found.method, reason + (f"; within noise of the best: {', '.join(rest)}" if rest else "")
    )
