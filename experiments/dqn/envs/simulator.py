"""What a batched simulator offers: many states of one environment, advanced together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int


class Transition(NamedTuple):
    """What one step of n states leads to; a terminated state's successor is the final state."""

    states: Float64[np.ndarray, "n state"]
    rewards: Float64[np.ndarray, " n"]
    terminated: Bool[np.ndarray, " n"]


class Simulator(ABC):
    """An environment without memory: states go in and come out, nothing is kept between calls.

    The time limit is told (`max_steps`), not applied: a state does not know its age.

    Attributes:
        observation_shape: shape of one observation.
        actions: number of discrete actions.
        max_steps: time limit of an episode.
        outcomes: probabilities of what chance does in one step; [1.] if it does nothing.
    """

    observation_shape: tuple[int, ...]
    actions: int
    max_steps: int
    outcomes: Float64[np.ndarray, " outcomes"] = np.ones(1)

    @abstractmethod
    def reset(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count state"]:
        """Draw initial states from the environment's distribution."""

    @abstractmethod
    def sample(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count state"]:
        """Draw states spread over the whole space, to check symmetries far from the start too."""

    @abstractmethod
    def observe(self, states: Float64[np.ndarray, "n state"]) -> Float32[np.ndarray, "n ..."]:
        """Return what the agent sees, [n, *observation_shape]."""

    @abstractmethod
    def states_of(self, observations: Float[np.ndarray, "n ..."]) -> Float64[np.ndarray, "n state"]:
        """Return the states seen in observations [n, *observation_shape]; angles in [-pi, pi]."""

    @abstractmethod
    def step(
        self,
        states: Float64[np.ndarray, "n state"],
        actions: Int[np.ndarray, " n"],
        outcomes: Int[np.ndarray, " n"],
    ) -> Transition:
        """Advance every state by one step.

        Args:
            states: where the environments are; not changed.
            actions: what the agents do, from 0 to `actions` - 1.
            outcomes: what chance does, an index into the probabilities `outcomes`.

        Returns:
            The next states, the rewards, and whether the episodes ended there.
        """

    def start_states(self) -> Float64[np.ndarray, "starts state"] | None:
        """Return the states with which an episode starts, equally often, or None.

        None, unless all states that can be reached from them are few enough for a table.
        """
        return None

    def draw_outcomes(self, count: int, rng: np.random.Generator) -> Int[np.ndarray, " count"]:
        """Draw what chance does, independently for each of `count` states."""
        bounds = np.cumsum(self.outcomes)[:-1]
        return np.searchsorted(bounds, rng.random(count), side="right")
