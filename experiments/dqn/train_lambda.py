"""Stage ``lambda``: networks weigh the views of an observation (ours; the paper has none for DQN).

The Q-network is frozen, and one network lambda is trained for every stored step. It
reads the Q-network's last hidden layer at gs, so that both need one forward pass. The states are
those of fresh episodes in the simulator, as no replay buffer is kept; those of half of the episodes
are held out, and tell whether the learned weights are better than uniform ones. On the Gridworld,
whose 49 states all are in both halves, these are new outcomes of chance and not new states.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

import equitune
from experiments.dqn.environment import Problem, make_problem
from experiments.dqn.fingerprint import recipe
from experiments.dqn.objectives import Objective, Source, collect
from experiments.dqn.policy import load_network
from experiments.dqn.pretrain import by_step, networks
from experiments.estimates import bootstrap
from experiments.frame.errors import UserError
from experiments.frame.fields import given
from experiments.lambdas import Gain, build_net, fit_lambda

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.dqn.options import DqnConfig
    from experiments.frame.options import LambdaNetConfig
    from experiments.frame.records import Run

NETS = "lambdas.safetensors"
#: Streams of random numbers, apart from those of training and of evaluation.
_DATA = 20
_ORDER = 21
_BOOTSTRAP = 22
#: Resamples of the bootstrap interval.
RESAMPLES = 2000


def train_lambda(
    run: Run, objective: Objective, config: LambdaNetConfig, seed: int, step: int = 0
) -> equitune.LambdaNet:
    """Train a network lambda; see `fit_lambda`.

    Args:
        run: The run in progress.
        objective: The objective on the training states.
        config: Network, optimiser (Adam), steps and batch size.
        seed: Seed of initialisation, dropout and the order of states.
        step: The stored step of the Q-network, which also decides the order.

    Returns:
        The network, in evaluation mode.
    """
    return fit_lambda(
        run,
        config,
        objective.orbits.features.shape[-1],
        len(objective.episodes),
        lambda net, rows: -objective.sign * objective.per_state(net, rows).mean(),
        seed=seed,
        order=np.random.default_rng([seed, _ORDER, step]),
    )


@torch.no_grad()
def held_out_gain(objective: Objective, net: equitune.LambdaNet, rng: np.random.Generator) -> Gain:
    """Compare learned with uniform weights, per state.

    Args:
        objective: The objective on states of held-out episodes.
        net: The network lambda.
        rng: Draws the resamples.
    """
    learned = objective.per_state(net).double().numpy()
    uniform = objective.per_state(None).double().numpy()
    difference = objective.sign * (learned - uniform)
    low, high = bootstrap(difference, rng, RESAMPLES, objective.episodes)
    return Gain(float(learned.mean()), float(uniform.mean()), float(difference.mean()), low, high)


def weigh(config: DqnConfig, run: Run) -> None:
    """Train lambda for every stored network and compare it with uniform weights.

    Raises:
        UserError: If there is no simulator.
    """
    problem, settings = make_problem(config), config.method.lambda_net
    assert settings is not None
    tensors: dict[str, Tensor] = {}
    steps = []
    sources = _sources(config, run, problem)
    for step, source in sources.items():
        rng = np.random.default_rng([config.seed, _DATA, step or 0])
        halves = collect(
            source, given(config.task.weighting), given(config.task.weighting_data), rng
        )
        net = train_lambda(run, halves.training, settings, config.seed, step or 0)
        bootstrap = np.random.default_rng([config.seed, _BOOTSTRAP, step or 0])
        for judge, objective in halves.held_out.judges().items():
            held_out_gain(objective, net, bootstrap).write(run, judge, step)
        steps.append(step or 0)
        tensors |= {f"{step or 0}.{name}": value for name, value in net.state_dict().items()}
    run.fact("device", "cpu")
    run.save(NETS, tensors, {"kept": steps, **dataclasses.asdict(settings)})


def _sources(config: DqnConfig, run: Run, problem: Problem) -> dict[int | None, Source]:
    """Return the stored networks with their environment, by step."""
    shape, actions, symmetry, simulator = problem
    if simulator is None:
        # Checked before the Q-network is trained.
        raise UserError(
            f"method=lambda_equitune needs a simulator, and dataset.simulator names none of "
            f"{config.dataset.environment}; name one or choose method=equitune"
        )
    known = recipe(config)
    assert known.hidden is not None and known.gamma is not None
    return {
        step: Source(
            simulator, symmetry, load_network(w, shape, known.hidden, actions), known.gamma
        )
        for step, w in networks(config, run).items()
    }


def load_nets(config: DqnConfig, run: Run) -> dict[int, equitune.LambdaNet]:
    """Return lambda by step (0 for given weights) from the run that trained it.

    Args:
        config: The configuration.
        run: The run in progress, which needs lambda.
    """
    finished = run.need("lambda")
    tensors, facts = finished.tensors(NETS)
    settings, hidden = config.method.lambda_net, recipe(config).hidden
    assert settings is not None and hidden is not None
    nets = {}
    for step, state in by_step(tensors, facts["kept"]).items():
        # The random initial weights are replaced.
        with torch.random.fork_rng(devices=[]):
            nets[step] = build_net(hidden[-1], settings)
        nets[step].load_state_dict(state)
        nets[step].eval()
    return nets
