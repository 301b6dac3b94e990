"""The environment of a data set in gymnasium, and its simulator."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.preprocessing import is_image_space

from experiments.dqn.envs.catalogue import SIMULATORS, register_environments
from experiments.dqn.envs.simulator import Simulator
from experiments.dqn.symmetry import Symmetry, build_symmetry
from experiments.dqn.symmetry_check import check_symmetry
from experiments.frame.errors import UserError, one_line

if TYPE_CHECKING:
    from experiments.dqn.options import DqnConfig, DqnDataset


log = logging.getLogger(__name__)


class Problem(NamedTuple):
    """An environment and the action of the run's group on it.

    Attributes:
        shape: Shape of one observation.
        actions: Number of actions A.
        symmetry: The group's actions.
        simulator: The environment's dynamics; None if not available.
    """

    shape: tuple[int, ...]
    actions: int
    symmetry: Symmetry
    simulator: Simulator | None


def make_problem(config: DqnConfig, group: str | None = None) -> Problem:
    """Make the environment of a run and its symmetry.

    Args:
        config: The configuration.
        group: The group; None: the run's.

    Raises:
        UserError: If the environment or the simulator cannot be made, the declared representation
            does not fit, or the simulator shows that the group is not a symmetry.
    """
    group = config.group.name if group is None else group
    env = make_environment(config.dataset)
    assert isinstance(env.action_space, Discrete) and env.observation_space.shape is not None
    shape, actions = env.observation_space.shape, int(env.action_space.n)
    symmetry, simulator = make_symmetry(config, env, group), make_simulator(config.dataset)
    env.close()
    problem = Problem(shape, actions, symmetry, simulator)
    if simulator is not None:
        _check_copy(config.dataset, simulator, problem)
        check_symmetry(simulator, symmetry, group, config.dataset.environment)
    elif group != "trivial":
        log.warning(
            "group=%s is taken on trust: dataset.simulator names no simulator of %s, so whether "
            "it commutes with the dynamics cannot be checked",
            group,
            config.dataset.environment,
        )
    return problem


def make_environment(dataset: DqnDataset) -> gymnasium.Env[Any, Any]:
    """Make the gymnasium environment of a data set.

    Raises:
        UserError: If there is none of that name, its observations or actions do not fit a DQN, it
            does not follow gymnasium's API, or its episodes never end.
    """
    env = _make(dataset)
    name = dataset.environment
    limit = env.spec and env.spec.max_episode_steps
    if limit is None and dataset.simulator is None and name not in SIMULATORS:
        raise UserError(
            f"dataset.environment={name} has no time limit and an episode may never end; register "
            "it with max_episode_steps, or name a dataset.simulator"
        )
    if not isinstance(env.action_space, Discrete):
        raise UserError(
            f"dataset.environment={name} has actions {env.action_space}; a DQN needs a finite "
            "number of actions (Discrete): wrap it, as experiments/dqn/envs/pendulum.py does"
        )
    if env.action_space.start != 0:
        raise UserError(
            f"dataset.environment={name} has actions {env.action_space}; stable-baselines3 counts "
            "them from 0: wrap it"
        )
    if not isinstance(env.observation_space, Box):
        raise UserError(
            f"dataset.environment={name} has observations {env.observation_space}; "
            "they must be arrays of numbers (Box)"
        )
    if is_image_space(env.observation_space):
        raise UserError(
            f"dataset.environment={name} has pictures of bytes, which stable-baselines3 scales and "
            "turns on its own; wrap it so that they are float32 between 0 and 1"
        )
    if name in SIMULATORS:
        return env
    _try(_make(dataset), name)
    return FiniteNumbers(env, name)


def _make(dataset: DqnDataset) -> gymnasium.Env[Any, Any]:
    register_environments()
    name = dataset.environment
    try:
        return gymnasium.make(name, **dataset.arguments)
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        raise UserError(
            f"dataset.environment={name} cannot be made: {error}; give a name that gymnasium has "
            f"registered, such as {', '.join(SIMULATORS)}"
        ) from error


def _try(env: gymnasium.Env[Any, Any], name: str) -> None:
    """Take one step.

    Raises:
        UserError: If the environment does not follow gymnasium's API.
    """
    try:
        observation, info = env.reset(seed=0)
        if not isinstance(info, dict):
            raise TypeError(f"its info is of type {type(info).__name__}")
        shape = np.shape(observation)
        result = env.step(env.action_space.sample())
        if len(result) != 5:
            raise TypeError(f"its step returns {len(result)} values")
    except Exception as error:  # whatever a user's code raises
        raise UserError(
            f"dataset.environment={name} fails at its first step ({one_line(error)}); gymnasium's "
            "reset returns (observation, info), and its step (observation, reward, terminated, "
            "truncated, info)"
        ) from error
    finally:
        env.close()
    if shape != env.observation_space.shape:
        raise UserError(
            f"dataset.environment={name} gives observations of shape {shape}, and says that they "
            f"are {env.observation_space}"
        )


class FiniteNumbers(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose observations and rewards must be finite, or a UserError is raised."""

    def __init__(self, env: gymnasium.Env[Any, Any], name: str) -> None:
        """Store the name, for messages."""
        super().__init__(env)
        self.name = name

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(**options)
        self._check("an observation", observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._check("an observation", observation)
        self._check("a reward", reward)
        return observation, reward, terminated, truncated, info

    def _check(self, what: str, value: Any) -> None:
        if not np.isfinite(value).all():
            raise UserError(f"dataset.environment={self.name} gives {what} that is not finite")


def make_simulator(dataset: DqnDataset) -> Simulator | None:
    """Make the simulator of a data set: the named one, or the suite's; None if there is none.

    Raises:
        UserError: If nothing has this name.
    """
    if dataset.simulator is None and dataset.environment not in SIMULATORS:
        return None
    try:
        if dataset.simulator is None:
            simulator = SIMULATORS[dataset.environment](**dataset.arguments)
        else:
            module, _, function = dataset.simulator.partition(":")
            simulator = getattr(import_module(module), function)(**dataset.arguments)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"the simulator of dataset={dataset.name} cannot be made with dataset.arguments="
            f"{dict(dataset.arguments)}: {error}; give dataset.simulator=module:function of a "
            "function that takes them and returns a Simulator"
        ) from error
    if not isinstance(simulator, Simulator):
        raise UserError(f"dataset.simulator={dataset.simulator} did not return a Simulator")
    return simulator


def _check_copy(dataset: DqnDataset, simulator: Simulator, problem: Problem) -> None:
    """Refuse a simulator of another environment.

    Raises:
        UserError: If shapes or actions differ.
    """
    found = (tuple(simulator.observation_shape), simulator.actions)
    if found != (problem.shape, problem.actions):
        raise UserError(
            f"dataset.simulator={dataset.simulator} has observations {found[0]} and {found[1]} "
            f"actions, dataset.environment={dataset.environment} {problem.shape} and "
            f"{problem.actions}"
        )


def make_symmetry(config: DqnConfig, env: gymnasium.Env[Any, Any], group: str) -> Symmetry:
    """Build the actions of a group on the environment of a run.

    Raises:
        UserError: If the declared representation does not fit.
    """
    assert isinstance(env.action_space, Discrete) and env.observation_space.shape is not None
    return build_symmetry(
        config.dataset.representations.get(group),
        env.observation_space.shape,
        int(env.action_space.n),
        group,
    )
