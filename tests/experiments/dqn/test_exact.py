"""Expected returns by dynamic programming: known optima, policies that walk in circles, a toy."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.dqn.envs.cartpole import CartPole
from experiments.dqn.envs.gridworld import Gridworld
from experiments.dqn.envs.simulator import Simulator, Transition
from experiments.dqn.exact import Table, expected_return, optimal_return, tabulate

LIMIT = Gridworld.max_steps


def gridworld(prey_probability: float) -> Table:
    table = tabulate(Gridworld(prey_probability))
    assert table is not None
    return table


def approach(table: Table) -> np.ndarray:
    """The shortest way to where the prey is seen: first the rows, then the columns."""
    rows, columns = table.states.T
    sideways = np.where(columns > 0, 4, np.where(columns < 0, 2, 0))
    return np.where(rows > 0, 3, np.where(rows < 0, 1, sideways))


def play(simulator: Simulator, episodes: int, policy: np.ndarray | None = None) -> np.ndarray:
    """Returns of episodes of a policy on the Gridworld's 49 states, or of random actions."""
    rng = np.random.default_rng(0)
    states, returns = simulator.reset(episodes, rng), np.zeros(episodes)
    running = np.ones(episodes, bool)
    for _ in range(simulator.max_steps):
        actions = rng.integers(simulator.actions, size=episodes)
        if policy is not None:
            rows, columns = states.astype(int).T + 3
            actions = policy[7 * rows + columns]
        states, rewards, terminated = simulator.step(
            states, actions, simulator.draw_outcomes(episodes, rng)
        )
        returns += rewards * running
        running &= ~terminated
    return returns


@pytest.mark.parametrize(("probability", "optimum"), [(0.15, 0.7315), (0.0, 0.7551)])
def test_the_gridworlds_optimum(probability: float, optimum: float) -> None:
    table = gridworld(probability)
    best = optimal_return(table, LIMIT)
    assert round(best, 4) == optimum
    reached = expected_return(approach(table), table, LIMIT)
    if probability == 0:
        assert reached == pytest.approx(best, abs=1e-12)
    else:
        # Which of the shortest ways matters a little when the prey may step aside.
        assert best - 0.01 < reached < best


def test_the_table_lists_every_state_with_its_picture() -> None:
    table = gridworld(0.15)
    assert table.states.shape == (49, 2) and table.following.shape == (49, 5, 5)
    assert np.array_equal(table.states, Gridworld().start_states())
    assert np.array_equal(table.observations, Gridworld().observe(table.states))
    assert np.allclose(table.start, 1 / 49) and table.outcomes.sum() == pytest.approx(1)
    # One step of the table is one of the simulator.
    state, action, outcome = 10, 2, 3
    after = Gridworld().step(table.states[[state]], np.array([action]), np.array([outcome]))
    place = state, action, outcome
    assert np.array_equal(table.states[table.following[place]], after.states[0])
    assert (table.rewards[place], table.terminated[place]) == (
        after.rewards[0],
        after.terminated[0],
    )


def test_a_policy_that_walks_in_circles_is_worth_minus_ten() -> None:
    table = gridworld(0.0)
    stay = np.zeros(49, int)
    # Only the episode that starts on the prey ends.
    assert expected_return(stay, table, LIMIT) == pytest.approx((1 - 48 * 10) / 49)
    # To and fro on the far side of the torus.
    away = np.where(table.states[:, 0] >= 0, 1, 3)
    assert expected_return(away, table, LIMIT) == pytest.approx(-10)
    assert -10 < expected_return(away, gridworld(0.15), LIMIT) < -7
    assert expected_return(stay, table, 0) == 0


def test_the_expected_return_is_the_mean_of_episodes() -> None:
    table, rng = gridworld(0.15), np.random.default_rng(1)
    policy = np.where(rng.random(49) < 0.3, rng.integers(5, size=49), approach(table))
    returns = play(Gridworld(), 20000, policy)
    error = returns.std() / np.sqrt(len(returns))
    assert abs(returns.mean() - expected_return(policy, table, LIMIT)) < 4 * error


def test_random_actions_are_worth_about_minus_five() -> None:
    assert play(Gridworld(), 10000).mean() == pytest.approx(-4.97, abs=0.15)


class Stairs(Simulator):
    """Steps 0 to 3; action 1 climbs with probability 0.5; the top ends with reward 10."""

    observation_shape = (1,)
    actions = 2
    max_steps = 5
    outcomes = np.array([0.5, 0.5])

    def start_states(self) -> np.ndarray:
        return np.array([[0.0], [0.0], [0.0], [2.0]])

    def reset(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(self.start_states(), count)

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(4, size=(count, 1)).astype(np.float64)

    def observe(self, states: np.ndarray) -> np.ndarray:
        return states.astype(np.float32)

    def states_of(self, observations: np.ndarray) -> np.ndarray:
        return observations.astype(np.float64)

    def step(self, states: np.ndarray, actions: np.ndarray, outcomes: np.ndarray) -> Transition:
        after = np.minimum(states + (actions * outcomes)[:, None], 3)
        top = after[:, 0] == 3
        return Transition(after, np.where(top, 10.0, -1.0), top)


def test_states_that_only_follow_are_found() -> None:
    table = tabulate(Stairs())
    assert table is not None
    assert table.states.ravel().tolist() == [0, 1, 2, 3]
    assert table.start.tolist() == [0.75, 0, 0.25, 0]
    # From 2: the top at once or not, 0.5 * 10 - 0.5; from 0 it is out of reach in one step.
    climb = np.ones(4, int)
    assert expected_return(climb, table, 1) == pytest.approx(0.25 * 4.5 - 0.75)
    # Three climbs in a row, 10 - 2, or -3.
    assert expected_return(climb, table, 3) == pytest.approx(
        0.75 * (8 / 8 - 3 * 7 / 8) + 0.25 * (10 / 2 + 9 / 4 + 8 / 8 - 3 / 8)
    )
    assert optimal_return(table, 3) == expected_return(climb, table, 3)


def test_what_cannot_be_tabulated_or_followed_is_refused() -> None:
    assert tabulate(CartPole()) is None
    with pytest.raises(ValueError, match="more than 3 states"):
        tabulate(Stairs(), max_states=3)
    with pytest.raises(ValueError, match=r"shape \(48,\) for 49 states"):
        expected_return(np.zeros(48, int), gridworld(0.0), LIMIT)
    with pytest.raises(ValueError, match=r"outside of 0 \.\. 4"):
        expected_return(np.full(49, 5), gridworld(0.0), LIMIT)
