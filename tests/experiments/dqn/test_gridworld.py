"""The Gridworld: picture, rules, the symmetries of the square, and the environment of gymnasium."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.seeding import np_random

import equitune
from experiments.dqn.envs.catalogue import GRIDWORLD, register_environments
from experiments.dqn.envs.gridworld import AGENT, PREY, Gridworld, GridworldEnv


def test_a_picture_shows_the_agent_in_the_middle_and_the_prey_around_it() -> None:
    picture = Gridworld().observe(np.array([[1.0, 2.0]]))[0, 0]
    assert np.array_equal(picture[9:12, 9:12], AGENT)
    assert np.array_equal(picture[12:15, 15:18], PREY)
    assert picture.sum() == AGENT.sum() + PREY.sum()
    assert Gridworld().observe(np.zeros((1, 2))).sum() == AGENT.sum()


def test_the_agent_moves_then_the_prey_then_they_are_compared() -> None:
    simulator = Gridworld()
    # The agent stands one row below the prey and steps onto it (3); the prey rests, or moves on.
    states = np.array([[1.0, 0.0]] * 5)
    after = simulator.step(states, np.full(5, 3), np.arange(5))
    assert after.terminated.tolist() == [True, False, False, False, False]
    assert after.rewards.tolist() == [1.0, -0.1, -0.1, -0.1, -0.1]
    assert after.states.tolist() == [[0, 0], [-1, 0], [0, -1], [1, 0], [0, 1]]
    # A prey that walks into the waiting agent is caught, and the edges are joined.
    assert simulator.step(states[:1], np.array([0]), np.array([1])).terminated.all()
    assert simulator.step(
        np.array([[3.0, -3.0]]), np.array([1]), np.array([2])
    ).states.tolist() == [[-3, 3]]


def gridworld_defect(mirror: list[int]) -> float:
    """Return the worst defect over the square's 8 symmetries and all states, actions, outcomes."""
    simulator, images = Gridworld(), equitune.DihedralImage()
    turn, worst = np.array([0, 2, 3, 4, 1]), 0.0
    index = np.indices((49, 5, 5)).reshape(3, -1)
    states, action, outcome = simulator.start_states()[index[0]], index[1], index[2]
    seen = torch.from_numpy(simulator.observe(states))
    here = simulator.step(states, action, outcome)
    following = torch.from_numpy(simulator.observe(here.states))
    for g in images.group.elements:
        moves = np.array(mirror) if g >= 4 else np.arange(5)
        for _ in range(g % 4):
            moves = turn[moves]
        moved = simulator.states_of(images.act(g, seen).numpy())
        there = simulator.step(moved, moves[action], moves[outcome])
        expected = images.act(g, following).numpy()
        worst = max(
            worst,
            float(np.abs(expected - simulator.observe(there.states)).max()),
            float(np.abs(here.rewards - there.rewards).max()),
        )
        assert np.array_equal(simulator.outcomes[moves], simulator.outcomes)
    return worst


def test_the_square_commutes_with_every_step_of_the_gridworld() -> None:
    assert gridworld_defect([0, 1, 4, 3, 2]) == 0
    for wrong in ([0, 3, 2, 1, 4], [0, 1, 2, 3, 4], [0, 3, 4, 1, 2]):
        assert gridworld_defect(wrong) >= 1


def test_a_quarter_turn_is_numpys() -> None:
    pictures = Gridworld().observe(Gridworld().start_states())
    rows, columns = Gridworld().start_states().T
    turned = Gridworld().observe(np.stack([-columns, rows], axis=1))
    assert np.array_equal(np.rot90(pictures, 1, axes=(-2, -1)), turned)


def test_the_gridworld_environment_passes_the_checker() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(GridworldEnv(), skip_render_check=True)


@pytest.mark.parametrize("probability", [0.15, 0.0, 1.0])
def test_the_gridworld_environment_equals_the_simulator(probability: float) -> None:
    register_environments()
    env = gymnasium.make(GRIDWORLD, prey_probability=probability)
    simulator, actions = Gridworld(probability), np.random.default_rng(7)
    for seed in range(5):
        rng, _ = np_random(seed)
        seen, _ = env.reset(seed=seed)
        state = simulator.reset(1, rng)
        for age in range(1, 101):
            assert seen in env.observation_space
            assert np.array_equal(seen, simulator.observe(state)[0])
            action = actions.integers(5, size=1)
            state, rewards, ended = simulator.step(state, action, simulator.draw_outcomes(1, rng))
            seen, reward, terminated, truncated, _ = env.step(action[0])
            assert (reward, terminated, truncated) == (rewards[0], ended[0], age == 100)
            if terminated:
                break
    with pytest.raises(ValueError, match="action 5 is not one of"):
        GridworldEnv().step(5)
