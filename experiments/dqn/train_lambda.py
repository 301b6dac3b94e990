"""Stage ``lambda``: weights of the views of an observation (ours; the paper has none for DQN).

The Q-network is frozen. For every stored step, one network lambda is trained, or one temperature of
a soft choice is searched for the same objective. The network reads the Q-network's last hidden
layer at gs, so that both need one forward pass. The states are those of fresh episodes in the
simulator, as no replay buffer is kept; those of half of the episodes are held out, and tell whether
the learned weights are better than uniform ones. On the Gridworld, whose 49 states all are in both
halves, these are new outcomes of chance and not new states.
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
from experiments.dqn.orbits import SoftChoice, Weigh, by_features, by_values
from experiments.dqn.policy import LOSSES, load_network
from experiments.dqn.pretrain import by_step, networks
from experiments.estimates import bootstrap
from experiments.frame.errors import UserError
from experiments.frame.fields import given
from experiments.lambdas import Gain, build_net, fit_lambda, fit_temperature

if TYPE_CHECKING:
    from torch import Tensor, nn

    from experiments.dqn.options import DqnConfig
    from experiments.frame.options import LambdaNetConfig
    from experiments.frame.records import Run

NETS = "lambdas.safetensors"
#: The name of a stored temperature, behind its step.
_TEMPERATURE = "temperature"
#: Exponents of ten of the lowest and the highest temperature, in the unit of Q-values.
_EXPONENTS = (-4, 3)
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
        lambda net, rows: -objective.sign * objective.per_state(by_features(net), rows).mean(),
        seed=seed,
        order=np.random.default_rng([seed, _ORDER, step]),
    )


@torch.no_grad()
def train_temperature(objective: Objective, score: str) -> float:
    """Return the temperature of a soft choice that is best for an objective.

    Args:
        objective: The objective on the training states.
        score: A key of `LOSSES`.
    """

    def cost(temperature: float) -> float:
        weigh = by_values(SoftChoice(LOSSES[score], temperature))
        return -objective.sign * float(objective.per_state(weigh).double().mean())

    return fit_temperature(cost, *_EXPONENTS)


@torch.no_grad()
def held_out_gain(objective: Objective, weigh: Weigh, rng: np.random.Generator) -> Gain:
    """Compare learned with uniform weights, per state.

    Args:
        objective: The objective on states of held-out episodes.
        weigh: Gives lambda.
        rng: Draws the resamples.
    """
    learned = objective.per_state(weigh).double().numpy()
    uniform = objective.per_state(None).double().numpy()
    difference = objective.sign * (learned - uniform)
    low, high = bootstrap(difference, rng, RESAMPLES, objective.episodes)
    return Gain(float(learned.mean()), float(uniform.mean()), float(difference.mean()), low, high)


def weigh(config: DqnConfig, run: Run) -> None:
    """Fit the weights for every stored network and compare them with uniform ones.

    Raises:
        UserError: If there is no simulator.
    """
    problem, settings = make_problem(config), config.method.lambda_net
    tensors: dict[str, Tensor] = {}
    steps = []
    sources = _sources(config, run, problem)
    for step, source in sources.items():
        rng = np.random.default_rng([config.seed, _DATA, step or 0])
        halves = collect(
            source, given(config.task.weighting), given(config.task.weighting_data), rng
        )
        if settings is None:
            temperature = train_temperature(halves.training, given(config.task.score))
            run.row("temperature", temperature, split="validation", **_column(step))
            state = {_TEMPERATURE: torch.tensor(temperature, dtype=torch.float64)}
            learned = by_values(SoftChoice(LOSSES[given(config.task.score)], temperature))
        else:
            net = train_lambda(run, halves.training, settings, config.seed, step or 0)
            state, learned = net.state_dict(), by_features(net)
        bootstrap = np.random.default_rng([config.seed, _BOOTSTRAP, step or 0])
        for judge, objective in halves.held_out.judges().items():
            held_out_gain(objective, learned, bootstrap).write(run, judge, step)
        steps.append(step or 0)
        tensors |= {f"{step or 0}.{name}": value for name, value in state.items()}
    run.fact("device", "cpu")
    known = {} if settings is None else dataclasses.asdict(settings)
    run.save(NETS, tensors, {"kept": steps, **known})


def _column(step: int | None) -> dict[str, int]:
    return {} if step is None else {"step": step}


def _sources(config: DqnConfig, run: Run, problem: Problem) -> dict[int | None, Source]:
    """Return the stored networks with their environment, by step."""
    shape, actions, symmetry, simulator = problem
    if simulator is None:
        # Checked before the Q-network is trained.
        raise UserError(
            f"method={config.method.name} needs a simulator to learn its weights, and "
            f"dataset.simulator names none of {config.dataset.environment}; name one or choose "
            "method=equitune"
        )
    known = recipe(config)
    assert known.hidden is not None and known.gamma is not None
    return {
        step: Source(
            simulator, symmetry, load_network(w, shape, known.hidden, actions), known.gamma
        )
        for step, w in networks(config, run).items()
    }


def load_learned(config: DqnConfig, run: Run) -> dict[int, nn.Module]:
    """Return what the weights are from, see `policy.make_values`, by step (0 for given weights).

    Args:
        config: The configuration.
        run: The run in progress, which needs the run that has learned them.
    """
    finished = run.need("lambda")
    tensors, facts = finished.tensors(NETS)
    return {step: _load(config, state) for step, state in by_step(tensors, facts["kept"]).items()}


def _load(config: DqnConfig, state: dict[str, Tensor]) -> nn.Module:
    settings, hidden = config.method.lambda_net, recipe(config).hidden
    if settings is None:
        return SoftChoice(LOSSES[given(config.task.score)], float(state[_TEMPERATURE]))
    assert hidden is not None
    # The random initial weights are replaced.
    with torch.random.fork_rng(devices=[]):
        net = build_net(hidden[-1], settings)
    net.load_state_dict(state)
    return net.eval()
