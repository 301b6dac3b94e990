"""Check of a declared symmetry, step(gs, ga) = g step(s, a), on sampled states."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.dqn.envs.simulator import Simulator
from experiments.dqn.symmetry import Symmetry
from experiments.frame.errors import UserError

#: Sampled states, each of which is tried with every element and action.
STATES = 256
TOLERANCE = 1e-5


class Defect(NamedTuple):
    """The largest deviation from step(gs, ga) = g step(s, a) in a sample.

    Attributes:
        size: Largest difference in an entry of the next observation, the reward or the termination.
        what: Which of the three.
        element: The group element g.
        action: The action a.
        observation: The observation of s.
    """

    size: float
    what: str
    element: int
    action: int
    observation: NDArray[np.float32]


def check_symmetry(simulator: Simulator, symmetry: Symmetry, group: str, environment: str) -> None:
    """Refuse a group that does not commute with the dynamics.

    Raises:
        UserError: Naming the element, the action, the state and the size of the defect.
    """
    defect = worst_defect(simulator, symmetry, np.random.default_rng(0))
    if defect.size > TOLERANCE:
        place = np.array2string(defect.observation.ravel()[:8], precision=3, threshold=8)
        raise UserError(
            f"group={group} is no symmetry of {environment}: from the observation {place} with "
            f"action {defect.action}, element {defect.element} changes the {defect.what} by "
            f"{defect.size:.3g}; choose group=trivial or correct dataset.representations"
        )


def worst_defect(
    simulator: Simulator, symmetry: Symmetry, rng: np.random.Generator, states: int = STATES
) -> Defect:
    """Measure the largest defect of a symmetry over sampled states, elements and actions.

    Chance outcomes are compared as distributions: those of (gs, ga) and the transforms of those of
    (s, a), sorted.

    Args:
        simulator: The environment's dynamics.
        symmetry: The group's actions.
        rng: Draws the states.
        states: Number of sampled states.
    """
    observations = simulator.observe(simulator.sample(states, rng))
    places = simulator.states_of(observations)
    worst = Defect(0.0, "nothing", 0, 0, observations[0])
    for g in symmetry.group.elements:
        moved = simulator.states_of(_act(symmetry, g, observations))
        for action in range(simulator.actions):
            other = int(symmetry.values.forward_table[g, action])
            expected = _outcomes(simulator, places, action, symmetry, g)
            found = _outcomes(simulator, moved, other)
            for what, difference in _differences(expected, found):
                row = int(difference.argmax())
                if difference[row] > worst.size:
                    worst = Defect(float(difference[row]), what, g, action, observations[row])
    return worst


def _act(symmetry: Symmetry, g: int, observations: NDArray[np.float32]) -> NDArray[np.float32]:
    moved: NDArray[np.float32] = (
        symmetry.observations.act(g, torch.from_numpy(observations)).contiguous().numpy()
    )
    return moved


def _outcomes(
    simulator: Simulator,
    places: NDArray[np.float64],
    action: int,
    symmetry: Symmetry | None = None,
    g: int = 0,
) -> NDArray[np.float64]:
    """Return the possible next observations, [n, K, width + 3], in one order of the K outcomes.

    The last three columns are reward, termination and probability.
    """
    rows = []
    for outcome, probability in enumerate(simulator.outcomes):
        count = len(places)
        after = simulator.step(places, np.full(count, action), np.full(count, outcome))
        observed = simulator.observe(after.states)
        if symmetry is not None:
            observed = _act(symmetry, g, observed)
        ends = (after.rewards, after.terminated, np.full(count, probability))
        rows.append(np.column_stack((observed.reshape(count, -1), *ends)))
    stacked = np.stack(rows, axis=1).astype(np.float64)
    if len(simulator.outcomes) > 1:
        # Any order will do that does not depend on the last bits; a random projection gives one.
        key = stacked @ np.random.default_rng(0).normal(size=stacked.shape[-1])
        stacked = np.take_along_axis(stacked, key.argsort(axis=1)[..., None], axis=1)
    return stacked


def _differences(
    expected: NDArray[np.float64], found: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.float64]]]:
    """Return the largest absolute difference per sample, [n], of each kind."""
    difference = np.abs(expected - found)
    return [
        ("next observation", difference[..., :-3].max(axis=(1, 2))),
        ("reward", difference[..., -3].max(axis=1)),
        ("termination", difference[..., -2].max(axis=1)),
        ("probability", difference[..., -1].max(axis=1)),
    ]
