"""Where an epsilon-greedy policy comes to, and what every action would have been worth there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import nn

from experiments.dqn.envs.simulator import Simulator
from experiments.dqn.policy import finite

#: Maps observations [n, ...] to Q-values [n, A].
Values = Callable[[Any], Any]


class Visits(NamedTuple):
    """Steps of an epsilon-greedy policy.

    Attributes:
        states: Where the policy was, [n, state].
        actions: What it did, [n].
        rewards: What it got, [n].
        following: Where that led, [n, state].
        terminated: Whether the episode ended there, [n]; reaching the time limit does not count.
        episodes: The number of the episode, [n].
    """

    states: Float64[np.ndarray, "n state"]
    actions: Int[np.ndarray, " n"]
    rewards: Float64[np.ndarray, " n"]
    following: Float64[np.ndarray, "n state"]
    terminated: Bool[np.ndarray, " n"]
    episodes: Int[np.ndarray, " n"]

    def take(self, rows: np.ndarray) -> Visits:
        """Return some of the steps."""
        return Visits(*(part[rows] for part in self))


def numpy_values(values: nn.Module) -> Values:
    """Return Q-values as a function of and to numpy arrays; see `finite`."""

    @torch.no_grad()
    def function(observations: Any) -> Any:
        return finite(values(torch.from_numpy(observations))).numpy()

    return function


def visit(
    simulator: Simulator, values: Values, episodes: int, epsilon: float, rng: np.random.Generator
) -> Visits:
    """Play episodes side by side, up to the time limit, and keep every step.

    Args:
        simulator: The environment's dynamics.
        values: Q-values of the greedy policy.
        episodes: How many.
        epsilon: Share of actions that are drawn at random.
        rng: Draws initial states, chance and the random actions.
    """
    states, running = simulator.reset(episodes, rng), np.arange(episodes)
    steps = []
    for _ in range(simulator.max_steps):
        actions = values(simulator.observe(states)).argmax(axis=1)
        drawn = rng.integers(simulator.actions, size=len(states))
        actions = np.where(rng.random(len(states)) < epsilon, drawn, actions)
        chance = simulator.draw_outcomes(len(states), rng)
        after = simulator.step(states, actions, chance)
        ended = after.terminated
        steps.append(Visits(states, actions, after.rewards, after.states, ended, running))
        states, running = after.states[~ended], running[~ended]
        if not len(running):
            break
    return Visits(*(np.concatenate(parts) for parts in zip(*steps, strict=True)))


def action_returns(
    simulator: Simulator,
    values: Values,
    states: Float64[np.ndarray, "n state"],
    horizon: int,
    gamma: float,
    rng: np.random.Generator,
) -> Float64[np.ndarray, "n actions"]:
    """Estimate what each action is worth, if a greedy policy goes on after it.

    All actions of a state meet the same outcomes of chance, so that their difference is less noisy
    than their returns. The time limit is not applied: neither a state nor a Q-network knows the age
    of its episode.

    Args:
        simulator: The environment's dynamics.
        values: Q-values of the greedy policy, and of the states in which an estimate stops.
        states: Where to try the actions, [n, state].
        horizon: Steps of an estimate, the first included; the largest Q-value stands for the rest.
        gamma: Discount per step.
        rng: Draws chance.

    Returns:
        Discounted returns, [n, A].
    """
    count = len(states)
    here, running = (
        np.repeat(states, simulator.actions, axis=0),
        np.arange(count * simulator.actions),
    )
    actions, worth = np.tile(np.arange(simulator.actions), count), np.zeros(0)
    returns = np.zeros(len(running))
    for step in range(horizon):
        chance = np.repeat(simulator.draw_outcomes(count, rng), simulator.actions)[running]
        after = simulator.step(here, actions, chance)
        returns[running] += gamma**step * after.rewards
        here, running = after.states[~after.terminated], running[~after.terminated]
        if not len(running):
            break
        seen = values(simulator.observe(here))
        actions, worth = seen.argmax(axis=1), seen.max(axis=1)
    if len(running):
        returns[running] += gamma**horizon * worth
    return returns.reshape(count, simulator.actions)
