"""Stage ``evaluate``: the return of one method with every stored network (Figure 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

import torch

from experiments.costs import parameters
from experiments.dqn.ensemble import SideBySide
from experiments.dqn.environment import make_environment, make_problem
from experiments.dqn.exact import expected_return, tabulate
from experiments.dqn.fingerprint import recipe
from experiments.dqn.orbits import SoftChoice
from experiments.dqn.policy import (
    LOSSES,
    equivariance_error,
    greedy,
    load_network,
    make_values,
    passes,
)
from experiments.dqn.pretrain import networks
from experiments.dqn.rollouts import Episodes, play, play_gymnasium
from experiments.dqn.train_lambda import load_learned
from experiments.frame.fields import given
from experiments.lambdas import copy_rows

if TYPE_CHECKING:
    from torch import Tensor, nn

    from experiments.dqn.options import DqnConfig
    from experiments.frame.records import Run


class Evaluation:
    """One method on one environment."""

    def __init__(self, config: DqnConfig, run: Run) -> None:
        """Make the environment and check that the group is a symmetry of it."""
        self.config, self.run = config, run
        self.dataset = config.dataset
        self.shape, self.actions, self.symmetry, self.simulator = make_problem(config)
        self.table = None if self.simulator is None else tabulate(self.simulator)
        run.fact("symmetry_checked", self.simulator is not None)

    def values(self, network: nn.Sequential, net: nn.Module | None) -> nn.Module:
        """Return the Q-values of the method with a network, or with joined ones."""
        score = self.config.task.score
        return make_values(network, self.symmetry, self.config.method.name, score, net)

    def load(self, weights: dict[str, Tensor]) -> nn.Sequential:
        """Build a network with given weights."""
        return load_network(weights, self.shape, recipe(self.config).hidden or [], self.actions)

    def play(self, networks: Sequence[nn.Sequential], nets: Sequence[nn.Module]) -> list[Episodes]:
        """Play the same episodes with the method and each network."""
        count, seed = self.config.task.episodes, self.config.seed
        if self.simulator is not None:
            return play(self.simulator, SideBySide(networks, nets, self.values), count, seed)
        make = partial(make_environment, self.dataset)
        # Without a simulator nothing is learned, but a temperature may be given.
        pairs = zip_longest(networks, nets)
        policies = [greedy(self.values(network, net)) for network, net in pairs]
        return [play_gymnasium(make, policy, count, seed) for policy in policies]

    def write(
        self, network: nn.Sequential, net: nn.Module | None, episodes: Episodes, step: int | None
    ) -> None:
        """Write the rows of one network."""
        row, values = self.run.row, self.values(network, net)
        columns = {} if step is None else {"step": step}
        row("return", float(episodes.returns.mean()), split="test", **columns)
        row("episode_length", float(episodes.lengths.mean()), split="test", **columns)
        row("episodes", len(episodes.returns), split="test", **columns)
        if self.table is not None and self.simulator is not None:
            actions = greedy(values)(self.table.observations)
            exact = expected_return(actions, self.table, self.simulator.max_steps)
            row("expected_return", exact, split="test", **columns)
        met = torch.from_numpy(episodes.observations)
        row("passes", passes(network, values, met[:1]), split="test", **columns)
        trained = _trained(self.config, network, net)
        row("trained_parameters", trained, split="test", **columns)
        if self.config.method.entry.uses_group:
            error = equivariance_error(values, self.symmetry, met)
            # NaN: some element fixes each observation, so none counts.
            if math.isfinite(error):
                row("equivariance_error", error, split="test", **columns)


def evaluate(config: DqnConfig, run: Run) -> None:
    """Measure the return of a method with every stored network."""
    evaluation = Evaluation(config, run)
    nets: dict[int, nn.Module] = {}
    if config.method.is_fitted:
        nets = load_learned(config, run)
        copy_rows(run, "lambda")
    loaded = {step: evaluation.load(weights) for step, weights in networks(config, run).items()}
    if config.method.temperature is not None:
        chosen = SoftChoice(LOSSES[given(config.task.score)], config.method.temperature)
        nets = {step or 0: chosen for step in loaded}
    ordered = [nets[step or 0] for step in loaded] if nets else []
    played = evaluation.play(list(loaded.values()), ordered)
    outcomes: dict[str, Tensor] = {}
    for (step, network), episodes in zip(loaded.items(), played, strict=True):
        evaluation.write(network, nets.get(step or 0), episodes, step)
        outcomes[f"{step or 0}.returns"] = torch.from_numpy(episodes.returns).contiguous()
        outcomes[f"{step or 0}.lengths"] = torch.from_numpy(episodes.lengths).contiguous()
    run.save("episodes.safetensors", outcomes)
    run.fact("device", "cpu")


def _trained(config: DqnConfig, network: nn.Module, net: nn.Module | None) -> int:
    """Return how many numbers are trained for the method, besides those of the pretrained model."""
    model = network if config.method.entry.augments else None
    return parameters(model, net) + config.method.fits_temperature
