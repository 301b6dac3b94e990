"""Interface of a batched simulator: many states of one environment, advanced together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int


class Transition(NamedTuple):
    """The result of one step of n states; a terminated state's successor is the final state."""

    states: Float64[np.ndarray, "n state"]
    rewards: Float64[np.ndarray, " n"]
    terminated: Bool[np.ndarray, " n"]


class Simulator(ABC):
    """An environment without memory: it maps states to states and stores nothing between calls.

    The time limit `max_steps` is not applied, as a state does not contain its time.

    Attributes:
        observation_shape: Shape of one observation.
        actions: Number of discrete actions.
        max_steps: Time limit of an episode.
        outcomes: Probabilities of the random outcomes of one step; [1.] if it is deterministic.
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
        """Draw states over the whole space, to check symmetries also far from the start."""

    @abstractmethod
    def observe(self, states: Float64[np.ndarray, "n state"]) -> Float32[np.ndarray, "n ..."]:
        """Return the observations, [n, *observation_shape]."""

    @abstractmethod
    def states_of(self, observations: Float[np.ndarray, "n ..."]) -> Float64[np.ndarray, "n state"]:
        """Return the states of observations [n, *observation_shape]; angles in [-pi, pi]."""

    @abstractmethod
    def step(
        self,
        states: Float64[np.ndarray, "n state"],
        actions: Int[np.ndarray, " n"],
        outcomes: Int[np.ndarray, " n"],
    ) -> Transition:
        """Advance every state by one step.

        Args:
            states: The current states; not changed.
            actions: The agents' actions, from 0 to `actions` - 1.
            outcomes: The random outcomes, as indices into the probabilities `outcomes`.

        Returns:
            The next states, the rewards, and whether the episodes ended there.
        """

    def start_states(self) -> Float64[np.ndarray, "starts state"] | None:
        """Return the equally likely start states of an episode, or None.

        None, unless the reachable states are few enough for a table.
        """
        return None

    def draw_outcomes(self, count: int, rng: np.random.Generator) -> Int[np.ndarray, " count"]:
        """Draw the random outcomes, independently for each of `count` states."""
        bounds = np.cumsum(self.outcomes)[:-1]
        return np.searchsorted(bounds, rng.random(count), side="right")
