"""MountainCar-v0 of gymnasium for many states at once (Moore, 1990).

Its mirror image is a different world: the goal is on one side only, and the valley's lowest point
is not at 0. It serves as an example without the symmetry.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from experiments.dqn.envs.simulator import Simulator, Transition

FORCE = 0.001
GRAVITY = 0.0025
MIN_POSITION, MAX_POSITION, GOAL = -1.2, 0.6, 0.5
MAX_SPEED = 0.07


class MountainCar(Simulator):
    """A car in a valley; actions 0, 1, 2 accelerate to the left, not at all, to the right.

    A state is (position, velocity), and is the observation. Every step gives reward -1; the
    episode ends at the goal on the right hill.
    """

    observation_shape = (2,)
    actions = 3
    max_steps = 200

    def reset(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 2"]:
        """Draw a position from [-0.6, -0.4], at rest."""
        return np.stack([rng.uniform(-0.6, -0.4, count), np.zeros(count)], axis=1)

    def sample(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 2"]:
        """Draw any position and any velocity."""
        low, high = [MIN_POSITION, -MAX_SPEED], [MAX_POSITION, MAX_SPEED]
        return rng.uniform(low, high, (count, 2))

    def observe(self, states: Float64[np.ndarray, "n 2"]) -> Float32[np.ndarray, "n 2"]:
        """Return the states in single precision."""
        return states.astype(np.float32)

    def states_of(self, observations: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """Return the observations in double precision."""
        return observations.astype(np.float64)

    def step(
        self,
        states: Float64[np.ndarray, "n 2"],
        actions: Int[np.ndarray, " n"],
        outcomes: Int[np.ndarray, " n"],
    ) -> Transition:
        """Advance by one unit of time; it is deterministic."""
        position, velocity = states.T
        velocity = velocity + ((actions - 1) * FORCE + np.cos(3 * position) * -GRAVITY)
        velocity = np.clip(velocity, -MAX_SPEED, MAX_SPEED)
        position = np.clip(position + velocity, MIN_POSITION, MAX_POSITION)
        velocity = np.where((position == MIN_POSITION) & (velocity < 0), 0.0, velocity)
        terminated = (position >= GOAL) & (velocity >= 0)
        following = np.stack([position, velocity], axis=1)
        return Transition(following, np.full(len(states), -1.0), terminated)
