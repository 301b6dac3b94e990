"""The Gridworld of van der Pol et al. (2020): catch a prey on a torus of 7 x 7 cells.

One step: the agent moves, then the prey moves with probability 0.15 in one of four directions. Only
then are the two compared: on the same cell the reward is 1 and the episode ends, otherwise the
reward is -0.1. An agent that steps onto the prey therefore misses it if the prey moves on at once;
two that change places do not meet; and an episode that starts on one cell, as 1 of 49 does, needs
one step. With the limit of 100 steps the best expected return is 0.7315 (0.7551 if the prey rests).

A quarter turn of the picture, ``np.rot90(picture, 1, axes=(-2, -1))`` (`equitune.Rot90`), maps to
the cycle 1 -> 2 -> 3 -> 4 -> 1 of actions and of the prey's moves, 0 fixed. The mirror of the last
axis (s of `equitune.DihedralImage`) exchanges 2 and 4 and fixes 0, 1 and 3.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from experiments.dqn.envs.simulator import Simulator, Transition

SIDE = 7
CENTRE = SIDE // 2
#: Moves of the agent by action, and of the prey by outcome, as (rows, columns).
MOVES = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
AGENT = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], np.float32)
PREY = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.float32)
PIXELS = len(AGENT)


class Gridworld(Simulator):
    """The Gridworld; actions 0 to 4 are stay and the four moves.

    A state is (rows, columns) from prey to agent, each from -3 to 3, which is enough on a
    torus. The picture has the agent's X at its centre and the prey's + at the state's offset. This
    is the authors' drawing; it shows the prey on the far side of the agent, which affects neither
    learning nor symmetry. The X covers the + if both are on one cell.
    """

    observation_shape = (1, SIDE * PIXELS, SIDE * PIXELS)
    actions = len(MOVES)
    max_steps = 100

    def __init__(self, prey_probability: float = 0.15) -> None:
        """Set the probability that the prey moves.

        Args:
            prey_probability: Probability of a move per step, default 0.15.

        Raises:
            ValueError: If it is not a probability.
        """
        if not 0 <= prey_probability <= 1:
            raise ValueError(f"prey_probability={prey_probability} is not between 0 and 1")
        self.outcomes = np.array([1 - prey_probability, *[prey_probability / 4] * 4])

    def start_states(self) -> Float64[np.ndarray, "states 2"]:
        """Return the 49 states, which are equally likely at the start of an episode."""
        offsets = np.arange(SIDE, dtype=np.float64) - CENTRE
        return np.stack(np.meshgrid(offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 2)

    def reset(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 2"]:
        """Draw any offset between the two cells."""
        return rng.integers(-CENTRE, CENTRE + 1, (count, 2)).astype(np.float64)

    def sample(self, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 2"]:
        """Draw any offset."""
        return self.reset(count, rng)

    def observe(self, states: Float64[np.ndarray, "n 2"]) -> Float32[np.ndarray, "n 1 21 21"]:
        """Draw the pictures of zeros and ones."""
        row, column = states.astype(np.int64).T + CENTRE
        pictures = np.zeros((len(states), SIDE, PIXELS, SIDE, PIXELS), np.float32)
        pictures[np.arange(len(states)), row, :, column, :] = PREY
        pictures[:, CENTRE, :, CENTRE, :] = AGENT
        return pictures.reshape(-1, *self.observation_shape)

    def states_of(self, observations: Float[np.ndarray, "n 1 21 21"]) -> Float64[np.ndarray, "n 2"]:
        """Find the prey in the pictures."""
        cells = observations.reshape(-1, SIDE, PIXELS, SIDE, PIXELS)
        # Only the + has the middle of a cell's upper edge.
        prey = (cells[:, :, 0, :, 1] > 0.5).reshape(-1, SIDE * SIDE)
        covered = CENTRE * SIDE + CENTRE
        cell = np.where(prey.any(axis=1), prey.argmax(axis=1), covered)
        return np.stack(np.divmod(cell, SIDE), axis=1) - float(CENTRE)

    def step(
        self,
        states: Float64[np.ndarray, "n 2"],
        actions: Int[np.ndarray, " n"],
        outcomes: Int[np.ndarray, " n"],
    ) -> Transition:
        """Move the agents, then the preys by `MOVES[outcomes]`, then compare."""
        moved = states + MOVES[actions] - MOVES[outcomes]
        following = (moved + CENTRE) % SIDE - CENTRE
        caught = ~following.any(axis=1)
        return Transition(following, np.where(caught, 1.0, -0.1), caught)


class GridworldEnv(gymnasium.Env[np.ndarray, np.int64]):
    """The Gridworld for gymnasium, one episode at a time; the time limit is the wrapper's."""

    def __init__(self, prey_probability: float = 0.15) -> None:
        """Build the environment.

        Args:
            prey_probability: Probability of a move of the prey per step, default 0.15.

        Raises:
            ValueError: If it is not a probability.
        """
        self.simulator = Gridworld(prey_probability)
        shape = self.simulator.observation_shape
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, shape, np.float32)
        self.action_space = gymnasium.spaces.Discrete(self.simulator.actions)
        #: The simulator's state, [1, 2].
        self.state = np.zeros((1, 2))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32[np.ndarray, "1 21 21"], dict[str, Any]]:
        """Start an episode; there are no options."""
        super().reset(seed=seed)
        self.state = self.simulator.reset(1, self.np_random)
        return self.simulator.observe(self.state)[0], {}

    def step(
        self, action: int | np.int64
    ) -> tuple[Float32[np.ndarray, "1 21 21"], float, bool, bool, dict[str, Any]]:
        """Advance by one step.

        Raises:
            ValueError: If the action is not one of 0 to 4.
        """
        if not self.action_space.contains(action):
            raise ValueError(f"action {action!r} is not one of 0 .. {self.simulator.actions - 1}")
        outcomes = self.simulator.draw_outcomes(1, self.np_random)
        self.state, rewards, caught = self.simulator.step(self.state, np.array([action]), outcomes)
        picture = self.simulator.observe(self.state)[0]
        return picture, float(rewards[0]), bool(caught[0]), False, {}
