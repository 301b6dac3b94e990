"""Shared code for learned weights: the network lambda, a temperature, and their gain."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

import equitune
from experiments.estimates import bootstrap
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.progress import progress
from experiments.training import LOOK_EVERY, is_finite

if TYPE_CHECKING:
    from experiments.frame.options import LambdaNetConfig
    from experiments.frame.records import Run

BatchT = TypeVar("BatchT")


def build_net(
    width: int,
    config: LambdaNetConfig,
    relus: int | None = None,
    kind: type[equitune.LambdaNet] = equitune.LambdaNet,
) -> equitune.LambdaNet:
    """Build the network lambda; its weights are drawn from the global generator.

    Args:
        width: Width of its input features.
        config: Its architecture.
        relus: Number of hidden layers that end in a ReLU; None: all.
        kind: Its class, if it has layers of its own before these.
    """
    return kind(
        width,
        hidden=config.hidden,
        depth=config.depth,
        dropout=config.dropout,
        relus=relus,
        positive=config.positive,  # type: ignore[arg-type]  # checked by the schema
    )


def fit_lambda(
    run: Run,
    config: LambdaNetConfig,
    width: int,
    count: int,
    loss: Callable[[equitune.LambdaNet, Tensor], Float[Tensor, ""]],
    *,
    seed: int,
    order: np.random.Generator,
    device: torch.device | str = "cpu",
    relus: int | None = None,
    kind: type[equitune.LambdaNet] = equitune.LambdaNet,
) -> equitune.LambdaNet:
    """Train the network lambda by Adam, on examples drawn with repetition.

    Args:
        run: The run in progress.
        config: Network, optimiser, steps and batch size.
        width: Width of its input features.
        count: Number N of examples.
        loss: Maps the network and rows, [B], each from 0 to N - 1, to a number.
        seed: Seed of initialisation and dropout.
        order: Draws the rows.
        device: Device of the training.
        relus: Number of hidden layers that end in a ReLU; None: all.
        kind: Class of the network.

    Returns:
        The network, in evaluation mode.

    Raises:
        Interrupted: If the process was asked to stop.
        UserError: If the training diverges.
    """
    steps, size = config.budget()
    batches = (torch.from_numpy(order.integers(0, count, size)) for _ in range(steps))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build_net(width, config, relus, kind).to(device)

        def look(step: int, value: float) -> None:
            if not (math.isfinite(value) and is_finite(net)):
                raise UserError(
                    f"lambda has diverged: after {step} steps its loss is {value:.3g}; choose "
                    f"method.lambda_net.learning_rate below {config.learning_rate:g}"
                )

        adam = partial(torch.optim.Adam, lr=config.learning_rate, weight_decay=config.weight_decay)
        descend(run, net, batches, lambda rows: loss(net, rows), steps, adam, look)
    return net


def descend(
    run: Run,
    net: equitune.LambdaNet,
    batches: Iterable[BatchT],
    loss: Callable[[BatchT], Float[Tensor, ""]],
    steps: int,
    optimiser: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    look: Callable[[int, float], None],
    every: int = LOOK_EVERY,
) -> equitune.Fit:
    """Train lambda by `equitune.fit`, in a run that shows its progress and can be stopped.

    Args:
        run: The run in progress.
        net: The network; it is left in evaluation mode.
        batches: One batch per step.
        loss: Maps a batch to its loss.
        steps: Number of steps.
        optimiser: Makes the optimiser of the parameters.
        look: Called regularly, and at the end, with the number of steps and the loss of the last.
        every: Steps between two looks.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
    """
    label, shorter = f"lambda {run.folder.name}", "method.lambda_net.steps makes it shorter"
    with progress(label, steps, shorter=shorter) as bar:

        def watch(step: int, value: float) -> None:
            if run.should_checkpoint:
                raise Interrupted(f"stopped on request; {run.folder.name} begins again")
            bar.update(step, f"loss {value:.3f}")
            look(step, value)

        with warnings.catch_warnings():
            # A task says in its own words that it has diverged.
            warnings.filterwarnings("ignore", "the training has diverged")
            return equitune.fit(
                net, batches, loss, steps=steps, every=every, optimiser=optimiser, watch=watch
            )


def fit_temperature(cost: Callable[[float], float], lowest: float, highest: float) -> float:
    """Return the temperature of least cost: the best of a grid, then a search around it.

    Args:
        cost: The cost at a temperature, without random parts.
        lowest: Exponent of ten of the lowest temperature.
        highest: Exponent of ten of the highest temperature.
    """
    from scipy.optimize import minimize_scalar  # a second, which few runs need

    def at(exponent: float) -> float:
        return cost(10**exponent)

    grid = np.linspace(lowest, highest, round(8 * (highest - lowest)) + 1)
    tried = [at(float(exponent)) for exponent in grid]
    best = int(np.argmin(tried))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(at, bounds=around, method="bounded", options={"xatol": 1e-3})
    return float(10 ** (found.x if found.fun < tried[best] else grid[best]))


class Gain(NamedTuple):
    """The gain of learned weights over uniform ones, on held-out examples.

    Attributes:
        learned: Mean of the measure with the network's weights.
        uniform: Mean of the measure with uniform weights.
        gain: Their difference, positive if the learned weights are better.
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
    """Compare the losses of learned and uniform weights, per example.

    Args:
        learned: Loss of every example with learned weights; less is better.
        uniform: Loss of every example with uniform weights.
        rng: Draws the examples of each resample.
        resamples: Number of resamples of the bootstrap.
    """
    difference = uniform - learned
    low, high = bootstrap(difference, rng, resamples, np.arange(len(difference)))
    return Gain(float(learned.mean()), float(uniform.mean()), float(difference.mean()), low, high)


def copy_rows(run: Run, stage: str) -> None:
    """Copy the rows of another stage's run, so that the results include them."""
    for row in run.need(stage).rows():
        columns: dict[str, Any] = {"step": int(row["step"])} if row["step"] else {}
        if row["view"]:
            columns["view"] = row["view"]
        run.row(row["metric"], float(row["value"]), split=row["split"], **columns)
