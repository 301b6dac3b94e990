"""Pendulum-v1 of gymnasium with a few discrete torques: the environment and its simulator.

Negating the state and reversing the order of the actions negates the next state exactly. The reward
is the same up to the last bits of double precision, as gymnasium's normalised angle is not exactly
odd; in single precision there is no difference.
"""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import PendulumEnv
from jaxtyping import Float, Float32, Float64, Int

from experiments.dqn.envs.simulator import Simulator, Transition

GRAVITY = 10.0
SECONDS = 0.05
MAX_TORQUE = 2.0
MAX_SPEED = 8.0


def evenly_spaced_torques(count: int) -> Float32[np.ndarray, " count"]:
    """Return torques from -2 to 2 whose reverse is their negative, and whose middle is 0.

    Args:
        count: How many, odd, at least 3.

    Raises:
        ValueError: If `count` is even or below 3.
    """
    if count < 3 or count % 2 == 0:
        raise ValueError(f"torques={count} must be odd and at least 3")
    # Integers over one divisor round symmetrically about 0, which linspace does not guarantee.
    steps = 2 * np.arange(count) - (count - 1)
    return (MAX_TORQUE * steps / (count - 1)).astype(np.float32)


class DiscretePendulum(gymnasium.ActionWrapper[np.ndarray, np.int64, np.ndarray]):
    """gymnasium's Pendulum whose action is the index of a torque."""

    def __init__(self, torques: int = 5, render_mode: str | None = None) -> None:
        """Build the pendulum.

        Args:
            torques: Number of evenly spaced torques from -2 to 2, odd, default 5.
            render_mode: As in gymnasium, default None.

        Raises:
            ValueError: If `torques` is even or below 3.
        """
        super().__init__(PendulumEnv(render_mode=render_mode))
        self.torques = evenly_spaced_torques(torques)
        self.action_space = gymnasium.spaces.Discrete(torques)

    def action(self, action: int | np.int64) -> Float32[np.ndarray, " 1"]:
        """Return the torque with this index."""
        return self.torques[[int(action)]]


class Pendulum(Simulator):
    """A pendulum to swing up; an action is the index of a torque.

    A state is (angle to the upward direction, velocity), observed as (cos, sin, velocity). The
    reward is minus a cost of angle, velocity and torque; an episode ends only by the time limit.
    """

    observation_shape = (3,)
    max_steps = 200

    def __init__(self, torques: int = 5) -> None:
        """Choose the actions.

        Args:
            torques: Number of evenly spaced torques from -2 to 2, odd, default 5.

        Raises:
            ValueError: If `torques` is even or below 3.
        """
        self.torques = evenly_spaced_torques(torques)
        self.actions = torques

    def reset(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 2"]:
        """Draw any angle, and a velocity from [-1, 1]."""
        bounds = np.array([np.pi, 1.0])
        return rng.uniform(-bounds, bounds, (count, 2))

    def sample(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 2"]:
        """Draw angles of up to two turns (they are never wrapped), and any velocity."""
        bounds = np.array([4 * np.pi, MAX_SPEED])
        return rng.uniform(-bounds, bounds, (count, 2))

    def observe(self, states: Float64[np.ndarray, "n 2"]) -> Float32[np.ndarray, "n 3"]:
        """Return cos and sin of the angle, and the velocity."""
        angle, speed = states.T
        return np.stack([np.cos(angle), np.sin(angle), speed], axis=1).astype(np.float32)

    def states_of(self, observations: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 2"]:
        """Return the angle by arctan and the velocity, accurate to single precision."""
        cos, sin, speed = observations.astype(np.float64).T
        return np.stack([np.arctan2(sin, cos), speed], axis=1)

    def step(
        self,
        states: Float64[np.ndarray, "n 2"],
        actions: Int[np.ndarray, " n"],
        outcomes: Int[np.ndarray, " n"],
    ) -> Transition:
        """Advance by 0.05 s; the cost is that of the previous state and the action."""
        angle, speed = states.T
        torque = self.torques[actions]
        wrapped = (angle + np.pi) % (2 * np.pi) - np.pi
        # The torque is in single precision until it is combined with a state, as in gymnasium.
        cost = wrapped**2 + 0.1 * speed**2 + 0.001 * torque**2
        acceleration = 3 * GRAVITY / 2 * np.sin(angle) + 3.0 * torque
        following = np.clip(speed + acceleration * SECONDS, -MAX_SPEED, MAX_SPEED)
        after = np.stack([angle + following * SECONDS, following], axis=1)
        return Transition(after, -cost, np.zeros(len(states), bool))
