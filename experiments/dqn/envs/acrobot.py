"""Acrobot-v1 of gymnasium for many states at once (Sutton, 1996; the book's dynamics).

The mass, length and inertia of a link are 1 and its centre is at 0.5. Multiplying by these is exact
in binary, so they are omitted if that changes no rounding; all else is in gymnasium's
order. Negating the state and exchanging actions 0 and 2 negates the next state.

Two rounding differences are visible only in double precision, not in the observations: gymnasium
squares with the C library's `pow` (up to 3e-14 in a state), and its sin(x), written cos(x - pi/2)
here too, is odd only up to rounding (up to 1e-11 in a state, at the highest speeds).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from experiments.dqn.envs.simulator import Simulator, Transition

GRAVITY = 9.8
SECONDS = 0.2
MAX_SPEEDS = np.array([4 * np.pi, 9 * np.pi])
TORQUES = np.array([-1.0, 0.0, 1.0])


def _rates(
    states: Float64[np.ndarray, "n 4"], torques: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, "n 4"]:
    """Return the time derivative of the states under constant torques."""
    angle_1, angle_2, speed_1, speed_2 = states.T
    cos, sin = np.cos(angle_2), np.sin(angle_2)
    inertia = 0.25 + (1.25 + cos) + 1.0 + 1.0
    coupling = (0.25 + 0.5 * cos) + 1.0
    weight_2 = 0.5 * GRAVITY * np.cos(angle_1 + angle_2 - np.pi / 2.0)
    weight_1 = (
        -0.5 * speed_2**2 * sin
        - speed_2 * speed_1 * sin
        + 1.5 * GRAVITY * np.cos(angle_1 - np.pi / 2)
        + weight_2
    )
    drive = torques + coupling / inertia * weight_1 - 0.5 * speed_1**2 * sin - weight_2
    acceleration_2 = drive / (1.25 - coupling**2 / inertia)
    acceleration_1 = -(coupling * acceleration_2 + weight_1) / inertia
    return np.stack([speed_1, speed_2, acceleration_1, acceleration_2], axis=1)


def _wrap(angles: Float64[np.ndarray, "n angle"]) -> Float64[np.ndarray, "n angle"]:
    """Return the angles in [-pi, pi], subtracting one turn at a time as gymnasium does."""
    while (high := angles > np.pi).any():
        angles = np.where(high, angles - 2 * np.pi, angles)
    while (low := angles < -np.pi).any():
        angles = np.where(low, angles + 2 * np.pi, angles)
    return angles


class Acrobot(Simulator):
    """Two links that hang from a joint; actions 0, 1, 2 turn the second by torque -1, 0, 1.

    A state is (angle of link 1 to the downward direction, angle of link 2 to link 1, their
    velocities), observed as (cos, sin, cos, sin, velocity, velocity). A step gives reward -1, and 0
    when the free end is more than one length above the fixed joint, where the episode ends.

    gymnasium takes cos and sin of an episode's first state in single precision, so its first
    observation can differ from `observe` in the last bit; later ones do not.
    """

    observation_shape = (6,)
    actions = 3
    max_steps = 500

    def reset(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 4"]:
        """Draw all four numbers from [-0.1, 0.1], rounded to single precision as gymnasium does."""
        return rng.uniform(-0.1, 0.1, (count, 4)).astype(np.float32).astype(np.float64)

    def sample(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 4"]:
        """Draw any angles and any speeds up to the limits."""
        bounds = np.array([np.pi, np.pi, *MAX_SPEEDS])
        return rng.uniform(-bounds, bounds, (count, 4))

    def observe(self, states: Float64[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 6"]:
        """Return cos and sin of both angles, and both velocities."""
        cos, sin = np.cos(states[:, :2]), np.sin(states[:, :2])
        columns = [cos[:, 0], sin[:, 0], cos[:, 1], sin[:, 1], states[:, 2], states[:, 3]]
        return np.stack(columns, axis=1).astype(np.float32)

    def states_of(self, observations: Float[np.ndarray, "n 6"]) -> Float64[np.ndarray, "n 4"]:
        """Return the angles by arctan and the velocities, accurate to single precision."""
        seen = observations.astype(np.float64)
        angles = np.arctan2(seen[:, [1, 3]], seen[:, [0, 2]])
        return np.concatenate([angles, seen[:, 4:]], axis=1)

    def step(
        self,
        states: Float64[np.ndarray, "n 4"],
        actions: Int[np.ndarray, " n"],
        outcomes: Int[np.ndarray, " n"],
    ) -> Transition:
        """Advance by 0.2 s with one Runge-Kutta step; it is deterministic."""
        torques = TORQUES[actions]
        half = SECONDS / 2.0
        rates_1 = _rates(states, torques)
        rates_2 = _rates(states + half * rates_1, torques)
        rates_3 = _rates(states + half * rates_2, torques)
        rates_4 = _rates(states + SECONDS * rates_3, torques)
        total = rates_1 + 2 * rates_2 + 2 * rates_3 + rates_4
        moved = states + SECONDS / 6.0 * total
        speeds = np.clip(moved[:, 2:], -MAX_SPEEDS, MAX_SPEEDS)
        following = np.concatenate([_wrap(moved[:, :2]), speeds], axis=1)
        height = -np.cos(following[:, 0]) - np.cos(following[:, 1] + following[:, 0])
        terminated = height > 1.0
        return Transition(following, np.where(terminated, 0.0, -1.0), terminated)
