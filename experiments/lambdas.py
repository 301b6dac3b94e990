"""What the tasks share of lambda-equitune: building the network, measuring what it gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

import equitune

if TYPE_CHECKING:
    from experiments.frame.options import LambdaNetConfig
    from experiments.frame.records import Run


#: What makes a training of lambda shorter.
LAMBDA_SHORTER = "method.lambda_net.steps makes it shorter"


def build_net(width: int, config: LambdaNetConfig, relus: int | None = None) -> equitune.LambdaNet:
    """Build the network lambda; its weights are drawn from the global generator.

    Args:
        width: Of the features that it reads.
        config: Its architecture.
        relus: Number of hidden layers that end in a ReLU; None: all.
    """
    return equitune.LambdaNet(
        width,
        hidden=config.hidden,
        depth=config.depth,
        dropout=config.dropout,
        relus=relus,
        positive=config.positive,  # type: ignore[arg-type]  # checked by the schema
    )


class Gain(NamedTuple):
    """How much better learned weights are than uniform ones, on held-out examples.

    Attributes:
        learned: Mean of what is measured, with the network's weights.
        uniform: The same with uniform weights.
        gain: Their difference, positive where the learned weights are better.
        gain_low: Lower end of the 95 % bootstrap interval of the gain.
        gain_high: Its upper end.
    """

    learned: float
    uniform: float
    gain: float
    gain_low: float
    gain_high: float

    def write(self, run: Run, measure: str, step: int | None = None) -> None:
        """Write the rows ``<measure>_learned`` and so on of the validation split."""
        columns = {} if step is None else {"step": step}
        for name, value in self._asdict().items():
            run.row(f"{measure}_{name}", value, split="validation", **columns)


def compare(
    learned: Float[np.ndarray, " examples"],
    uniform: Float[np.ndarray, " examples"],
    rng: np.random.Generator,
    resamples: int,
) -> Gain:
    """Compare losses with learned and with uniform weights, example by example.

    Args:
        learned: Loss of every example with learned weights; less is better.
        uniform: The same with uniform weights.
        rng: Draws the examples of each resample.
        resamples: Of the bootstrap.
    """
    difference, count = uniform - learned, len(learned)
    means = [difference[rng.integers(0, count, count)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Gain(
        float(learned.mean()),
        float(uniform.mean()),
        float(difference.mean()),
        float(low),
        float(high),
    )


def copy_rows(run: Run, stage: str) -> None:
    """Repeat the rows of the run of another stage, so that the results have them."""
    for row in run.need(stage).rows():
        columns: dict[str, Any] = {"step": int(row["step"])} if row["step"] else {}
        if row["view"]:
            columns["view"] = row["view"]
        run.row(row["metric"], float(row["value"]), split=row["split"], **columns)
