"""The environment of a data set: gymnasium's, and the simulator that copies it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
from gymnasium.spaces import Box, Discrete

from experiments.dqn.commutation import check_symmetry
from experiments.dqn.envs.catalogue import SIMULATORS, register_environments
from experiments.dqn.envs.simulator import Simulator
from experiments.dqn.symmetry import Symmetry, build_symmetry
from experiments.errors import UserError

if TYPE_CHECKING:
    from experiments.dqn.sections import DqnDataset
    from experiments.schema import RunConfig


class Problem(NamedTuple):
    """An environment and how the run's group acts on it.

    Attributes:
        shape: Shape of one observation.
        actions: Number of actions A.
        symmetry: The group's actions.
        simulator: The environment's dynamics, or None where they are not known.
    """

    shape: tuple[int, ...]
    actions: int
    symmetry: Symmetry
    simulator: Simulator | None


def make_problem(config: RunConfig) -> Problem:
    """Make the environment of a run, as far as it plays in the simulator, and its symmetry.

    Raises:
        UserError: If the environment or the simulator cannot be made, the declared representation
            does not fit, or a simulator shows that the group is no symmetry.
    """
    env = make_environment(config.dataset)
    assert isinstance(env.action_space, Discrete) and env.observation_space.shape is not None
    shape, actions = env.observation_space.shape, int(env.action_space.n)
    symmetry, simulator = make_symmetry(config, env), make_simulator(config.dataset)
    env.close()
    if simulator is not None:
        check_symmetry(simulator, symmetry, config.group.name, config.dataset.environment)
    return Problem(shape, actions, symmetry, simulator)


def make_environment(dataset: DqnDataset) -> gymnasium.Env[Any, Any]:
    """Make the gymnasium environment of a data set.

    Raises:
        UserError: If there is none of that name, or its observations or actions do not fit a DQN.
    """
    register_environments()
    name = dataset.environment
    try:
        env = gymnasium.make(name, **dataset.arguments)
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        raise UserError(
            f"dataset.environment={name} cannot be made: {error}; give a name that gymnasium has "
            f"registered, such as {', '.join(SIMULATORS)}"
        ) from error
    if not isinstance(env.action_space, Discrete):
        raise UserError(
            f"dataset.environment={name} has actions {env.action_space}; a DQN needs a finite "
            "number of actions (Discrete): wrap it, as experiments/dqn/envs/pendulum.py does"
        )
    if not isinstance(env.observation_space, Box):
        raise UserError(
            f"dataset.environment={name} has observations {env.observation_space}; "
            "they must be arrays of numbers (Box)"
        )
    return env


def make_simulator(dataset: DqnDataset) -> Simulator | None:
    """Make the simulator that a data set names, or the suite's for its environment, or None.

    Raises:
        UserError: If the name leads nowhere.
    """
    if dataset.simulator is None:
        known = SIMULATORS.get(dataset.environment)
        return None if known is None else known(**dataset.arguments)
    module, _, function = dataset.simulator.partition(":")
    try:
        simulator = getattr(import_module(module), function)(**dataset.arguments)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"dataset.simulator={dataset.simulator} cannot be made: {error}; "
            "give module:function of a function that returns a Simulator"
        ) from error
    if not isinstance(simulator, Simulator):
        raise UserError(f"dataset.simulator={dataset.simulator} did not return a Simulator")
    return simulator


def make_symmetry(config: RunConfig, env: gymnasium.Env[Any, Any]) -> Symmetry:
    """Build the actions of the run's group on its environment.

    Raises:
        UserError: If the declared representation does not fit.
    """
    assert isinstance(env.action_space, Discrete) and env.observation_space.shape is not None
    return build_symmetry(
        config.dataset.representations.get(config.group.name),
        env.observation_space.shape,
        int(env.action_space.n),
        config.group.name,
    )
