"""The environments by gymnasium id: their classes and their simulators."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium

from experiments.dqn.envs.acrobot import Acrobot
from experiments.dqn.envs.cartpole import CartPole
from experiments.dqn.envs.gridworld import Gridworld
from experiments.dqn.envs.mountain_car import MountainCar
from experiments.dqn.envs.pendulum import Pendulum
from experiments.dqn.envs.simulator import Simulator

GRIDWORLD = "equitune/Gridworld-v0"
DISCRETE_PENDULUM = "equitune/DiscretePendulum-v0"

#: Simulators by environment; those of the suite's environments take the same arguments.
SIMULATORS: dict[str, Callable[..., Simulator]] = {
    "CartPole-v1": CartPole,
    "Acrobot-v1": Acrobot,
    GRIDWORLD: Gridworld,
    DISCRETE_PENDULUM: Pendulum,
    "MountainCar-v0": MountainCar,
}

#: The suite's environments: the class of each.
_ENTRY_POINTS = {
    GRIDWORLD: "experiments.dqn.envs.gridworld:GridworldEnv",
    DISCRETE_PENDULUM: "experiments.dqn.envs.pendulum:DiscretePendulum",
}


def register_environments() -> None:
    """Register the suite's environments with gymnasium; a second call does nothing."""
    for name, entry_point in _ENTRY_POINTS.items():
        if name not in gymnasium.registry:
            limit = SIMULATORS[name]().max_steps
            gymnasium.register(id=name, entry_point=entry_point, max_episode_steps=limit)
