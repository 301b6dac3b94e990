"""The states that an epsilon-greedy policy visits, and the value of every action there."""

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
        states: The visited states, [n, state].
        actions: The chosen actions, [n].
        rewards: The rewards, [n].
        following: The next states, [n, state].
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
        """Return a subset of the steps."""
        return Visits(*(part[rows] for part in self))


def numpy_values(values: nn.Module) -> Values:
    """Return Q-values as a function from numpy arrays to numpy arrays; see `finite`."""

    @torch.no_grad()
    def function(observations: Any) -> Any:
        return finite(values(torch.from_numpy(observations))).numpy()

    return function


def visit(
    simulator: Simulator, values: Values, episodes: int, epsilon: float, rng: np.random.Generator
) -> Visits:
    """Play episodes in parallel, up to the time limit, and store every step.

    Args:
        simulator: The environment's dynamics.
        values: Q-values of the greedy policy.
        episodes: Number of episodes.
        epsilon: Share of actions that are drawn at random.
        rng: Draws initial states, random outcomes and random actions.
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
    """Estimate the return of each action, followed by a greedy policy.

    All actions of a state have the same random outcomes, so that their differences are less noisy
    than their returns. The time limit is not applied, as neither states nor the Q-network contain
    the time.

    Args:
        simulator: The environment's dynamics.
        values: Q-values of the greedy policy, and of the last states of an estimate.
        states: The states, [n, state].
        horizon: Steps of an estimate, with the first one; then the largest Q-value is added.
        gamma: Discount per step.
        rng: Draws the random outcomes.

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
