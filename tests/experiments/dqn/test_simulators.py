"""The simulators equal gymnasium, and the symmetries of the environments hold exactly."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest

from experiments.dqn.envs.catalogue import (
    DISCRETE_PENDULUM,
    GRIDWORLD,
    SIMULATORS,
    register_environments,
)
from experiments.dqn.envs.gridworld import Gridworld
from experiments.dqn.envs.pendulum import DiscretePendulum, Pendulum, evenly_spaced_torques
from experiments.dqn.envs.simulator import Simulator

COPIES = ("CartPole-v1", "Acrobot-v1", DISCRETE_PENDULUM, "MountainCar-v0")
#: Observation signs and action permutation of the mirror.
MIRRORS = {
    "CartPole-v1": ((-1, -1, -1, -1), (1, 0)),
    "Acrobot-v1": ((1, -1, 1, -1, -1, -1), (2, 1, 0)),
    DISCRETE_PENDULUM: ((1, -1, -1), (4, 3, 2, 1, 0)),
}
#: Bounds of the initial states: lowest and highest.
STARTS = {
    "CartPole-v1": ([-0.05] * 4, [0.05] * 4),
    "Acrobot-v1": ([-0.1] * 4, [0.1] * 4),
    DISCRETE_PENDULUM: ([-np.pi, -1], [np.pi, 1]),
    "MountainCar-v0": ([-0.6, 0], [-0.4, 0]),
    GRIDWORLD: ([-3, -3], [3, 3]),
}


def make(name: str, **arguments: Any) -> gymnasium.Env:
    register_environments()
    return gymnasium.make(name, **arguments)


def assert_rewards(name: str, ours: float, gymnasiums: float) -> None:
    # gymnasium squares scalars with the C library's pow, whose last bit can differ from x * x; only
    # the pendulum's reward is made of squares.
    slack = 1e-14 if name == DISCRETE_PENDULUM else 0
    assert ours == pytest.approx(gymnasiums, rel=slack, abs=0)


@pytest.mark.parametrize("name", COPIES)
def test_a_step_from_any_state_equals_gymnasiums(name: str) -> None:
    simulator, env, rng = SIMULATORS[name](), make(name), np.random.default_rng(0)
    env.reset(seed=0)
    states = simulator.sample(3000, rng)
    actions = rng.integers(simulator.actions, size=len(states))
    after = simulator.step(states, actions, np.zeros(len(states), int))
    observed = simulator.observe(after.states)
    assert after.states.dtype == after.rewards.dtype == np.float64
    for i, (state, action) in enumerate(zip(states, actions, strict=True)):
        env.unwrapped.state = state
        env.unwrapped.steps_beyond_terminated = None
        observation, reward, terminated, _, _ = env.step(action)
        assert np.array_equal(observed[i], observation)
        assert after.terminated[i] == terminated
        assert_rewards(name, after.rewards[i], reward)
        np.testing.assert_allclose(after.states[i], env.unwrapped.state, rtol=1e-12, atol=1e-12)
    if name != DISCRETE_PENDULUM:
        assert 0 < after.terminated.mean() < 1


@pytest.mark.parametrize("name", COPIES)
def test_episodes_equal_gymnasiums(name: str) -> None:
    simulator, env, rng = SIMULATORS[name](), make(name), np.random.default_rng(1)
    state, age = np.empty(0), None
    for _ in range(2500):
        if age is None:
            seen, _ = env.reset(seed=int(rng.integers(1000)))
            state, age = np.array([env.unwrapped.state], np.float64), 0
            # gymnasium computes Acrobot's first observation in single precision.
            np.testing.assert_allclose(simulator.observe(state)[0], seen, rtol=1e-7, atol=1e-9)
        action = rng.integers(simulator.actions)
        seen, reward, terminated, truncated, _ = env.step(action)
        state, rewards, ended = simulator.step(state, np.array([action]), np.array([0]))
        age += 1
        assert np.array_equal(simulator.observe(state)[0], seen)
        assert_rewards(name, rewards[0], reward)
        assert (ended[0], age == simulator.max_steps) == (terminated, truncated)
        age = None if terminated or truncated else age


@pytest.mark.parametrize("name", SIMULATORS)
def test_states_are_drawn_where_episodes_start_and_far_away(name: str) -> None:
    simulator, rng = SIMULATORS[name](), np.random.default_rng(2)
    low, high = STARTS[name]
    starts, wide = simulator.reset(4000, rng), simulator.sample(4000, rng)
    assert starts.dtype == wide.dtype == np.float64 and starts.shape == wide.shape
    span = np.subtract(high, low)
    assert np.all(starts >= np.subtract(low, 1e-8)) and np.all(starts <= np.add(high, 1e-8))
    assert np.all(starts.min(0) <= low + 0.01 * span)
    assert np.all(starts.max(0) >= high - 0.01 * span)
    np.testing.assert_allclose(starts.mean(0), np.add(low, high) / 2, atol=0.03 * span.max())
    if name != GRIDWORLD:
        assert np.all(np.ptp(wide, axis=0) > 1.5 * span)


@pytest.mark.parametrize("name", SIMULATORS)
def test_states_are_found_again_in_their_observations(name: str) -> None:
    simulator, rng = SIMULATORS[name](), np.random.default_rng(3)
    states = simulator.sample(2000, rng)
    observations = simulator.observe(states)
    assert observations.shape == (2000, *simulator.observation_shape)
    assert observations.dtype == np.float32
    found = simulator.states_of(observations)
    assert found.dtype == np.float64
    difference = found - states
    if name in ("Acrobot-v1", DISCRETE_PENDULUM):
        angles = 2 if name == "Acrobot-v1" else 1
        assert np.all(np.abs(found[:, :angles]) <= np.pi)
        turns = np.round(difference[:, :angles] / (2 * np.pi))
        difference[:, :angles] -= 2 * np.pi * turns
    assert np.abs(difference).max() < 2e-6
    np.testing.assert_allclose(simulator.observe(found), observations, rtol=0, atol=1.2e-7)


class Defect(NamedTuple):
    """The largest departures from step(gs, ga) = g step(s, a)."""

    observation: float
    reward: float
    termination: float


def defect(simulator: Simulator, signs: tuple[int, ...], actions: tuple[int, ...]) -> Defect:
    rng = np.random.default_rng(4)
    seen = simulator.observe(simulator.sample(2000, rng))
    signs_ = np.array(signs, np.float32)
    action, chance = rng.integers(simulator.actions, size=len(seen)), np.zeros(len(seen), int)
    here = simulator.step(simulator.states_of(seen), action, chance)
    there = simulator.step(simulator.states_of(signs_ * seen), np.array(actions)[action], chance)
    expected, found = signs_ * simulator.observe(here.states), simulator.observe(there.states)
    return Defect(
        float(np.abs(expected - found).max()),
        float(np.abs(here.rewards - there.rewards).max()),
        float((here.terminated != there.terminated).max()),
    )


@pytest.mark.parametrize("name", MIRRORS)
def test_the_mirror_commutes_with_a_step_exactly(name: str) -> None:
    found = defect(SIMULATORS[name](), *MIRRORS[name])
    assert found.observation == found.termination == 0
    # The pendulum's normalised angle is odd only up to rounding.
    assert found.reward <= (1e-13 if name == DISCRETE_PENDULUM else 0)


@pytest.mark.parametrize("name", ["CartPole-v1", DISCRETE_PENDULUM])
def test_the_mirror_negates_the_next_state_exactly(name: str) -> None:
    simulator, rng = SIMULATORS[name](), np.random.default_rng(5)
    states, actions = simulator.sample(20000, rng), np.array(MIRRORS[name][1])
    action, chance = rng.integers(simulator.actions, size=20000), np.zeros(20000, int)
    here, there = (
        simulator.step(states, action, chance),
        simulator.step(-states, actions[action], chance),
    )
    assert np.array_equal(there.states, -here.states)


@pytest.mark.parametrize("name", MIRRORS)
def test_no_other_signs_commute(name: str) -> None:
    signs, actions = MIRRORS[name]
    unmoved = tuple(range(len(actions)))
    for pattern in product((1, -1), repeat=len(signs)):
        if pattern != signs:
            assert max(defect(SIMULATORS[name](), pattern, actions)) > 0.05
        if pattern != (1,) * len(signs):
            assert max(defect(SIMULATORS[name](), pattern, unmoved)) > 0.05


def test_mountain_car_has_no_mirror() -> None:
    assert defect(SIMULATORS["MountainCar-v0"](), (-1, -1), (2, 1, 0)).observation > 0.1


def test_torques_are_symmetric_around_zero() -> None:
    for count in (3, 5, 7, 11):
        torques = evenly_spaced_torques(count)
        assert np.array_equal(torques, -torques[::-1])
        assert (torques[0], torques[count // 2], torques[-1]) == (-2, 0, 2)
    assert evenly_spaced_torques(5).tolist() == [-2, -1, 0, 1, 2]
    assert Pendulum(7).actions == DiscretePendulum(7).action_space.n == 7
    for count in (4, 1):
        with pytest.raises(ValueError, match=f"torques={count} must be odd"):
            Pendulum(count)


def test_chance_follows_its_probabilities() -> None:
    rng = np.random.default_rng(6)
    drawn = Gridworld().draw_outcomes(40000, rng)
    np.testing.assert_allclose(np.bincount(drawn) / 40000, [0.85, *[0.0375] * 4], atol=0.006)
    assert not SIMULATORS["CartPole-v1"]().draw_outcomes(100, rng).any()
    with pytest.raises(ValueError, match=r"prey_probability=1\.5"):
        Gridworld(1.5)


def test_registering_twice_does_nothing_and_limits_hold() -> None:
    register_environments()
    before = {name: gymnasium.spec(name) for name in (GRIDWORLD, DISCRETE_PENDULUM)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_environments()
    for name, spec in before.items():
        assert gymnasium.spec(name) is spec
    for name, simulator in SIMULATORS.items():
        env = make(name)
        assert env.spec is not None and env.spec.max_episode_steps == simulator().max_steps
        assert env.action_space == gymnasium.spaces.Discrete(simulator().actions)
        assert env.observation_space.shape == simulator().observation_shape
