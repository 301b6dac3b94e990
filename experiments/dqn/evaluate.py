"""Stage ``evaluate``: the return of one method with every kept network (Figure 2)."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import torch

from experiments.dqn.environment import make_environment, make_problem
from experiments.dqn.exact import expected_return, tabulate
from experiments.dqn.identity import recipe
from experiments.dqn.policy import equivariance_error, greedy, load_network, make_values
from experiments.dqn.pretrain import networks
from experiments.dqn.rollouts import Episodes, play, play_gymnasium
from experiments.dqn.weighting import load_nets
from experiments.lambdas import copy_gains

if TYPE_CHECKING:
    from torch import Tensor, nn

    import equitune
    from experiments.records import Run
    from experiments.schema import RunConfig

log = logging.getLogger(__name__)


class Evaluation:
    """One method on one environment."""

    def __init__(self, config: RunConfig, run: Run) -> None:
        """Make the environment and check that the group is a symmetry of it."""
        self.config, self.run = config, run
        self.dataset = config.dataset
        self.shape, self.actions, self.symmetry, self.simulator = make_problem(config)
        self.table = None if self.simulator is None else tabulate(self.simulator)
        run.fact("symmetry_checked", self.simulator is not None)
        if self.simulator is None and config.group.name != "trivial":
            log.warning(
                "group=%s is taken on trust: dataset.simulator names no simulator of %s, so "
                "whether it commutes with the dynamics cannot be checked",
                config.group.name,
                self.dataset.environment,
            )

    def measure(
        self,
        weights: dict[str, Tensor],
        net: equitune.LambdaNet | None,
        columns: dict[str, int],
    ) -> dict[str, Tensor]:
        """Play with one network and write its rows; returns the episodes' returns and lengths."""
        network = load_network(weights, self.shape, recipe(self.config).hidden or [], self.actions)
        method, score = self.config.method.name, self.config.task.score
        values = make_values(network, self.symmetry, method, score, net)
        episodes = self._play(values)
        row = self.run.row
        row("return", float(episodes.returns.mean()), split="test", **columns)
        row("episode_length", float(episodes.lengths.mean()), split="test", **columns)
        row("episodes", len(episodes.returns), split="test", **columns)
        if self.table is not None and self.simulator is not None:
            actions = greedy(values)(self.table.observations)
            exact = expected_return(actions, self.table, self.simulator.max_steps)
            row("expected_return", exact, split="test", **columns)
        if method != "pretrained":
            met = torch.from_numpy(episodes.observations)
            error = equivariance_error(values, self.symmetry, met)
            # NaN: every observation is left as it is by some element, and none counts.
            if math.isfinite(error):
                row("equivariance_error", error, split="test", **columns)
        return {
            "returns": torch.from_numpy(episodes.returns),
            "lengths": torch.from_numpy(episodes.lengths),
        }

    def _play(self, values: nn.Module) -> Episodes:
        count, seed = self.config.task.episodes, self.config.seed
        if self.simulator is not None:
            return play(self.simulator, greedy(values), count, seed)
        return play_gymnasium(lambda: make_environment(self.dataset), greedy(values), count, seed)


def evaluate(config: RunConfig, run: Run) -> None:
    """Measure the return of a method with every kept network."""
    evaluation = Evaluation(config, run)
    nets: dict[int, equitune.LambdaNet] = {}
    if config.method.name == "lambda_equitune":
        nets = load_nets(config, run)
        copy_gains(run)
    outcomes: dict[str, Tensor] = {}
    for step, weights in networks(config, run).items():
        columns = {} if step is None else {"step": step}
        measured = evaluation.measure(weights, nets.get(step or 0), columns)
        outcomes |= {f"{step or 0}.{name}": value for name, value in measured.items()}
    run.save("episodes.safetensors", outcomes)
    run.fact("device", "cpu")
