"""Means over images, and the intervals that their number allows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.records import Run

#: Half the width of a 95 % interval, in standard errors.
WIDTH = 1.96


class Estimate(NamedTuple):
    """A mean over images, in percent, with its 95 % interval."""

    mean: float
    low: float
    high: float

    def write(self, run: Run, metric: str, **columns: Any) -> None:
        """Write three rows."""
        run.row(metric, self.mean, **columns)
        run.row(f"{metric}_low", self.low, **columns)
        run.row(f"{metric}_high", self.high, **columns)


def estimate(values: Float[Tensor, " n"]) -> Estimate:
    """Return the mean over images, in percent, and the interval that their number allows."""
    mean = 100 * float(values.mean())
    half = WIDTH * 100 * float(values.std()) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)
