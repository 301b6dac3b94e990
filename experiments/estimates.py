"""Means over images, and the intervals that their number allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.frame.records import Run

#: Of the bootstrap.
RESAMPLES, ENDS = 4000, (0.025, 0.975)


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
    """Return the mean over images, in percent, and its 95 % percentile bootstrap interval.

    Images are resampled; how often each value comes is drawn at once, and the same every time.
    """
    distinct, counts = np.unique(values.double().numpy(), return_counts=True)
    total = len(values)
    drawn = np.random.default_rng(0).multinomial(total, counts / total, RESAMPLES)
    low, high = np.quantile(drawn @ distinct / total, ENDS)
    return Estimate(100 * float(values.double().mean()), 100 * float(low), 100 * float(high))
