"""Training objectives of lambda with a frozen Q-network; ours, the paper has none for DQN.

Both objectives are one number per state that the uniform average visits with some random actions.
`Advantage` measures how good the actions are, by simulation; `TemporalDifference` whether the
values are consistent with each other.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn
from torch.nn import functional

from experiments.dqn.envs.simulator import Simulator
from experiments.dqn.orbits import Orbits, Rows, Weigh, look, spread
from experiments.dqn.policy import make_values
from experiments.dqn.symmetry import Symmetry
from experiments.dqn.transitions import Visits, action_returns, numpy_values, visit
from experiments.frame.methods import EQUITUNE

if TYPE_CHECKING:
    from experiments.dqn.options import WeightingData

#: Temperature of the softmax policy in units of `orbits.spread`. With two actions it is a quarter
#: of the typical gap between their values: typical decisions are nearly certain (softmax 0.98), so
#: the objective is close to that of the greedy policy, and closer decisions have a gradient.
TEMPERATURE = 0.5


@dataclass(frozen=True)
class Objective(ABC):
    """One number per state as a function of lambda.

    Attributes:
        sign: 1 if higher is better, -1 for a loss.
        orbits: The frozen network's views of the states.
        episodes: The episode of each state, [N].
    """

    sign: ClassVar[float]
    orbits: Orbits
    episodes: Int[np.ndarray, " states"]

    @abstractmethod
    def per_state(self, weigh: Weigh | None, rows: Rows = slice(None)) -> Float[Tensor, " rows"]:
        """Return the objective at some states.

        Args:
            weigh: Gives lambda; None: uniform weights.
            rows: Indices of the states; default all.
        """

    def judges(self) -> dict[str, Objective]:
        """Return the measures that compare learned with uniform weights, by name: the objective."""
        return {"objective": self}


@dataclass(frozen=True)
class Advantage(Objective):
    """sum_a softmax(Q_lambda(s, .) / T)(a) A(s, a): how good the actions are.

    Attributes:
        advantages: A(s, a), of mean 0 over actions, in units of their standard deviation over all
            training states and actions, [N, A].
        temperature: T; 0 is the greedy policy, which has no gradient.
    """

    sign = 1.0
    advantages: Float[Tensor, "states actions"]
    temperature: float

    def per_state(self, weigh: Weigh | None, rows: Rows = slice(None)) -> Float[Tensor, " rows"]:
        """Return the expected advantage of the softmax policy."""
        values, advantages = self.orbits.take(rows).mean(weigh), self.advantages[rows]
        if self.temperature == 0:
            return advantages.gather(-1, values.argmax(dim=-1, keepdim=True)).squeeze(-1)
        policy = (values / self.temperature).softmax(dim=-1)
        return (policy * advantages).sum(dim=-1)

    def judges(self) -> dict[str, Objective]:
        """Return the objective and its limit for the greedy policy, which plays the episodes.

        Weights that prefer the view with the largest values sharpen the softmax. This can improve
        the objective without changing any action.
        """
        return {"objective": self, "greedy": dataclasses.replace(self, temperature=0.0)}


@dataclass(frozen=True)
class TemporalDifference(Objective):
    """Huber's loss of Q_lambda(s, a) - (r + gamma max_b Q_lambda(s', b)), semi-gradient.

    Attributes:
        following: The views of s'.
        actions: a, [N].
        rewards: r, [N].
        terminated: Whether s' ended the episode, [N].
        gamma: Discount.
    """

    sign = -1.0
    following: Orbits
    actions: Int[Tensor, " states"]
    rewards: Float[Tensor, " states"]
    terminated: Bool[Tensor, " states"]
    gamma: float

    def per_state(self, weigh: Weigh | None, rows: Rows = slice(None)) -> Float[Tensor, " rows"]:
        """Return the loss; its target uses the same lambda, without gradient."""
        values = self.orbits.take(rows).mean(weigh)
        chosen = values.gather(-1, self.actions[rows, None]).squeeze(-1)
        with torch.no_grad():
            future = self.following.take(rows).mean(weigh).amax(dim=-1)
            future = future.masked_fill(self.terminated[rows], 0.0)
            target = self.rewards[rows] + self.gamma * future
        return functional.smooth_l1_loss(chosen, target, reduction="none")


class Halves(NamedTuple):
    """An objective on training states, and on held-out states of other episodes."""

    training: Objective
    held_out: Objective


@dataclass(frozen=True)
class Source:
    """The environment and network for states and objectives.

    Attributes:
        simulator: The environment's dynamics.
        symmetry: The group's actions.
        network: The frozen Q-network.
        gamma: Discount of the network's recipe.
    """

    simulator: Simulator
    symmetry: Symmetry
    network: nn.Sequential
    gamma: float

    def uniform(self) -> nn.Module:
        """Return the Q-values of equitune."""
        return make_values(self.network, self.symmetry, EQUITUNE, None)

    @torch.no_grad()
    def look(self, states: Float64[np.ndarray, "states state"]) -> Orbits:
        """Return the network's views of states."""
        return look(self.network, self.symmetry, torch.from_numpy(self.simulator.observe(states)))


def collect(source: Source, name: str, data: WeightingData, rng: np.random.Generator) -> Halves:
    """Play with the uniform average, draw states of both halves of episodes, and evaluate them.

    Args:
        source: The environment and the network.
        name: A key of `OBJECTIVES`.
        data: Budgets.
        rng: Draws everything.
    """
    values = numpy_values(source.uniform())
    visits = visit(source.simulator, values, data.episodes, data.epsilon, rng)
    first = visits.episodes < data.episodes // 2
    halves = [_draw(visits, np.flatnonzero(half), data.states, rng) for half in (first, ~first)]
    return OBJECTIVES[name](source, halves[0], halves[1], data, rng)


def _draw(
    visits: Visits, rows: Int[np.ndarray, " rows"], count: int, rng: np.random.Generator
) -> Visits:
    return visits.take(np.sort(rng.choice(rows, min(count, len(rows)), replace=False)))


def _advantage(
    source: Source, first: Visits, second: Visits, data: WeightingData, rng: np.random.Generator
) -> Halves:
    assert data.horizon is not None
    values = numpy_values(source.uniform())
    centred, orbits = [], []
    for visits in (first, second):
        returns = action_returns(
            source.simulator, values, visits.states, data.horizon, source.gamma, rng
        )
        centred.append(returns - returns.mean(axis=1, keepdims=True))
        orbits.append(source.look(visits.states))
    # Both units are those of the training half; a unit of zero is replaced by one.
    scale = float(centred[0].std()) or 1.0
    temperature = TEMPERATURE * spread(orbits[0]) or 1.0
    parts = [
        Advantage(views, visits.episodes, torch.from_numpy(advantages / scale).float(), temperature)
        for views, visits, advantages in zip(orbits, (first, second), centred, strict=True)
    ]
    return Halves(*parts)


def _temporal_difference(
    source: Source, first: Visits, second: Visits, data: WeightingData, rng: np.random.Generator
) -> Halves:
    parts = [
        TemporalDifference(
            source.look(visits.states),
            visits.episodes,
            source.look(visits.following),
            torch.from_numpy(visits.actions),
            torch.from_numpy(visits.rewards).float(),
            torch.from_numpy(visits.terminated),
            source.gamma,
        )
        for visits in (first, second)
    ]
    return Halves(*parts)


#: Functions that make the two halves of an objective from visited states.
OBJECTIVES: dict[
    str, Callable[[Source, Visits, Visits, WeightingData, np.random.Generator], Halves]
] = {"advantage": _advantage, "td": _temporal_difference}
