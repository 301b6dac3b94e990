"""Expected returns without episodes, for environments with few states, by dynamic programming.

Returns are sums of rewards, without a discount, up to the time limit. With a time limit, a policy
that never reaches the goal has a finite return, too: -10 on the Gridworld.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from experiments.dqn.envs.simulator import Simulator, Transition


class Table(NamedTuple):
    """An environment as tables: the result of each state, action and random outcome.

    Attributes:
        states: All states, sorted.
        observations: The observation of each state.
        start: Probability of each state at the start of an episode.
        outcomes: Probability of each random outcome.
        following: Index of the next state.
        rewards: Reward of the step.
        terminated: Whether the episode ends with it.
    """

    states: Float64[np.ndarray, "states state"]
    observations: Float32[np.ndarray, "states ..."]
    start: Float64[np.ndarray, " states"]
    outcomes: Float64[np.ndarray, " outcomes"]
    following: Int[np.ndarray, "states actions outcomes"]
    rewards: Float64[np.ndarray, "states actions outcomes"]
    terminated: Bool[np.ndarray, "states actions outcomes"]


def tabulate(simulator: Simulator, max_states: int = 10_000) -> Table | None:
    """Find all states that can be reached and tabulate every step.

    Args:
        simulator: The environment.
        max_states: Largest number of states, default 10 000.

    Returns:
        The table, or None if the simulator lists no `start_states`.

    Raises:
        ValueError: If there are more than `max_states`, as in a continuous space.
    """
    starts = simulator.start_states()
    if starts is None:
        return None
    states = np.unique(starts, axis=0)
    while len(states) <= max_states:
        steps = _every_step(simulator, states)
        found = np.unique(np.concatenate([states, steps.states]), axis=0)
        if len(found) == len(states):
            return _table(simulator, starts, states, steps)
        states = found
    raise ValueError(f"more than {max_states} states can be reached: too many for a table")


def _table(
    simulator: Simulator,
    starts: Float64[np.ndarray, "starts state"],
    states: Float64[np.ndarray, "states state"],
    steps: Transition,
) -> Table:
    """Tabulate the steps of all states."""
    shape = (len(states), simulator.actions, len(simulator.outcomes))
    return Table(
        states=states,
        observations=simulator.observe(states),
        start=np.bincount(_index(states, starts), minlength=len(states)) / len(starts),
        outcomes=simulator.outcomes,
        following=_index(states, steps.states).reshape(shape),
        rewards=steps.rewards.reshape(shape),
        terminated=steps.terminated.reshape(shape),
    )


def _every_step(simulator: Simulator, states: Float64[np.ndarray, "states state"]) -> Transition:
    """Return the steps of all states, actions and outcomes as one batch, in this order."""
    shape = (len(states), simulator.actions, len(simulator.outcomes))
    state, action, outcome = np.indices(shape).reshape(3, -1)
    return simulator.step(states[state], action, outcome)


def _index(
    states: Float64[np.ndarray, "states state"], rows: Float64[np.ndarray, "n state"]
) -> Int[np.ndarray, " n"]:
    """Return the index of each row in `states`, which is sorted and contains all rows."""
    _, inverse = np.unique(np.concatenate([states, rows]), axis=0, return_inverse=True)
    return inverse.ravel()[len(states) :]


def optimal_return(table: Table, max_steps: int) -> float:
    """Return the greatest expected return of any policy, including time-dependent ones.

    Args:
        table: The environment.
        max_steps: Time limit of an episode.

    Returns:
        The expected return over the starts and over chance.
    """
    values = np.zeros(len(table.states))
    for _ in range(max_steps):
        # values: the best return of the remaining steps, from the last step backwards.
        future = np.where(table.terminated, 0.0, values[table.following])
        values = ((table.rewards + future) @ table.outcomes).max(axis=1)
    return float(table.start @ values)


def expected_return(
    policy_actions: Int[np.ndarray, " states"], table: Table, max_steps: int
) -> float:
    """Return the expected return of a policy, exactly.

    Args:
        policy_actions: The action in each of `table.states`.
        table: The environment.
        max_steps: Time limit of an episode.

    Returns:
        The expected return over the starts and over chance.

    Raises:
        ValueError: If there is not one valid action per state.
    """
    states, actions, _ = table.rewards.shape
    policy = np.asarray(policy_actions)
    if policy.shape != (states,):
        raise ValueError(f"a policy of shape {policy.shape} for {states} states")
    if policy.min() < 0 or policy.max() >= actions:
        raise ValueError(f"a policy has actions outside of 0 .. {actions - 1}")
    # With a single action per state, the best policy is this policy.
    chosen = policy[:, None, None]
    parts = (table.following, table.rewards, table.terminated)
    following, rewards, terminated = (np.take_along_axis(x, chosen, axis=1) for x in parts)
    fixed = table._replace(following=following, rewards=rewards, terminated=terminated)
    return optimal_return(fixed, max_steps)
