"""Means and their bootstrap intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.frame.records import Run

#: Number of resamples of an estimate's bootstrap.
RESAMPLES = 4000


class Estimate(NamedTuple):
    """A mean over images, in percent, with its 95 % interval."""

    mean: float
    low: float
    high: float

    def write(self, run: Run, metric: str, **columns: Any) -> None:
        """Write three rows: the mean and the two ends of its interval."""
        run.row(metric, self.mean, **columns)
        run.row(f"{metric}_low", self.low, **columns)
        run.row(f"{metric}_high", self.high, **columns)


def estimate(values: Float[Tensor, " n"]) -> Estimate:
    """Return the mean over images, in percent, and its 95 % percentile bootstrap interval.

    Images are resampled with a fixed seed; see `bootstrap`.
    """
    low, high = bootstrap(values.double().numpy(), np.random.default_rng(0), RESAMPLES)
    return Estimate(100 * float(values.double().mean()), 100 * low, 100 * high)


def bootstrap(
    values: Float[np.ndarray, " n"],
    rng: np.random.Generator,
    resamples: int,
    clusters: Int[np.ndarray, " n"] | None = None,
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean.

    Args:
        values: The values.
        rng: Draws the resamples.
        resamples: Number of resamples.
        clusters: The cluster of each value; the values of a cluster are resampled together. None:
            the values are independent; the count of each distinct value is drawn at once, which is
            fast if many are equal.
    """
    if clusters is None:
        distinct, counts = np.unique(values, return_counts=True)
        total = len(values)
        means = rng.multinomial(total, counts / total, resamples) @ distinct / total
    else:
        _, index = np.unique(clusters, return_inverse=True)
        sums, sizes = np.bincount(index, weights=values), np.bincount(index)
        drawn = rng.integers(0, len(sums), (resamples, len(sums)))
        means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
