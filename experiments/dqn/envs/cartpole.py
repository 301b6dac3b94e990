"""CartPole-v1 of gymnasium for many states at once (Barto, Sutton and Anderson, 1983).

Sums and products have gymnasium's order, so that results are bitwise equal. Negating the state
and exchanging the two actions negates the next state exactly.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from experiments.dqn.envs.simulator import Simulator, Transition

GRAVITY = 9.8
POLE_MASS = 0.1
TOTAL_MASS = POLE_MASS + 1.0
HALF_LENGTH = 0.5
POLE_MOMENT = POLE_MASS * HALF_LENGTH
FORCE = 10.0
SECONDS = 0.02
#: Limits beyond which the episode ends.
MAX_POSITION = 2.4
MAX_ANGLE = 12 * 2 * math.pi / 360


class CartPole(Simulator):
    """A pole on a cart; actions 0, 1 push to the left, right.

    A state is (position, its velocity, angle of the pole, its velocity), and is the observation.
    Every step gives reward 1, the last one too.
    """

    observation_shape = (4,)
    actions = 2
    max_steps = 500

    def reset(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 4"]:
        """Draw all four numbers from [-0.05, 0.05]."""
        return rng.uniform(-0.05, 0.05, (count, 4))

    def sample(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 4"]:
        """Draw states up to 1.25 times the limits; about a third are beyond one of the limits."""
        bounds = np.array([1.25 * MAX_POSITION, 4.0, 1.25 * MAX_ANGLE, 4.0])
        return rng.uniform(-bounds, bounds, (count, 4))

    def observe(self, states: Float64[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 4"]:
        """Return the states in single precision."""
        return states.astype(np.float32)

    def states_of(self, observations: Float[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 4"]:
        """Return the observations in double precision."""
        return observations.astype(np.float64)

    def step(
        self,
        states: Float64[np.ndarray, "n 4"],
        actions: Int[np.ndarray, " n"],
        outcomes: Int[np.ndarray, " n"],
    ) -> Transition:
        """Advance by 0.02 s with one Euler step; it is deterministic."""
        _, speed, angle, turning = states.T
        cos, sin = np.cos(angle), np.sin(angle)
        force = np.where(actions == 1, FORCE, -FORCE)
        push = (force + POLE_MOMENT * np.square(turning) * sin) / TOTAL_MASS
        inertia = HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * np.square(cos) / TOTAL_MASS)
        angular = (GRAVITY * sin - cos * push) / inertia
        linear = push - POLE_MOMENT * angular * cos / TOTAL_MASS
        rates = np.stack([speed, linear, turning, angular], axis=1)
        following = states + SECONDS * rates
        fallen = np.abs(following[:, 2]) > MAX_ANGLE
        terminated = fallen | (np.abs(following[:, 0]) > MAX_POSITION)
        return Transition(following, np.ones(len(states)), terminated)
