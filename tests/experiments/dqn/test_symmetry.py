"""Declared representations become actions, and those that are no symmetry are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from experiments.dqn.envs.catalogue import SIMULATORS
from experiments.dqn.options import DqnDataset, Representation
from experiments.dqn.symmetry import build_symmetry
from experiments.dqn.symmetry_check import check_symmetry, worst_defect
from experiments.frame.conf import CONF
from experiments.frame.errors import UserError

SYMMETRIC = {
    ("cartpole", "mirror"): 2,
    ("acrobot", "mirror"): 2,
    ("pendulum", "mirror"): 2,
    ("gridworld", "rot90"): 4,
    ("gridworld", "dihedral"): 8,
}


def dataset(name: str) -> DqnDataset:
    raw = OmegaConf.load(Path(CONF) / "dataset" / f"{name}.yaml")
    del raw["defaults"]
    found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DqnDataset), raw))
    assert isinstance(found, DqnDataset)
    return found


@pytest.mark.parametrize(("name", "group"), SYMMETRIC)
def test_every_declared_group_is_a_symmetry_of_its_environment(name: str, group: str) -> None:
    environment = dataset(name)
    simulator = SIMULATORS[environment.environment]()
    acting = environment.representations[group]
    symmetry = build_symmetry(acting, simulator.observation_shape, simulator.actions, group)
    assert symmetry.group.order == SYMMETRIC[name, group]
    assert worst_defect(simulator, symmetry, np.random.default_rng(3), 1000).size < 1e-6
    check_symmetry(simulator, symmetry, group, environment.environment)


def test_the_mirror_of_mountain_car_is_refused_by_name() -> None:
    simulator = SIMULATORS["MountainCar-v0"]()
    acting = dataset("mountain_car").representations["mirror"]
    symmetry = build_symmetry(acting, simulator.observation_shape, simulator.actions)
    with pytest.raises(
        UserError, match=r"group=mirror is no symmetry of MountainCar-v0: .*changes"
    ):
        check_symmetry(simulator, symmetry, "mirror", "MountainCar-v0")


@pytest.mark.parametrize(
    "wrong",
    [
        Representation(signs=[-1, -1, -1, -1]),  # actions stay
        Representation(signs=[-1, 1, -1, -1], actions=[[0, 1]]),
        Representation(signs=[1, 1, 1, 1], actions=[[0, 1]]),
    ],
)
def test_a_wrong_representation_of_cartpole_has_a_defect(wrong: Representation) -> None:
    simulator = SIMULATORS["CartPole-v1"]()
    symmetry = build_symmetry(wrong, simulator.observation_shape, simulator.actions)
    assert worst_defect(simulator, symmetry, np.random.default_rng(0)).size > 0.01


def test_a_matrix_of_order_four_turns_and_cycles() -> None:
    turn = [[0.0, -1.0], [1.0, 0.0]]
    symmetry = build_symmetry(Representation(matrix=turn, actions=[[0, 1, 2, 3]]), (2,), 5)
    orbit = symmetry.observations.orbit(torch.tensor([[1.0, 0.0]]))[:, 0]
    expected = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    torch.testing.assert_close(orbit, expected)
    assert symmetry.values.forward_table.tolist() == [
        [0, 1, 2, 3, 4],
        [1, 2, 3, 0, 4],
        [2, 3, 0, 1, 4],
        [3, 0, 1, 2, 4],
    ]


BAD = {
    "2 signs for observations of 4": (Representation(signs=[1, -1]), (4,)),
    "needs pictures": (Representation(image="rot90"), (4,)),
    "needs? flat observations": (Representation(signs=[-1] * 4), (2, 2)),
    "outside 0..1": (Representation(signs=[-1] * 4, actions=[[0, 2]]), (4,)),
    "no power of the matrix": (Representation(matrix=[[2.0]]), (1,)),
    "the matrix must be 4 x 4": (Representation(matrix=[[1.0]]), (4,)),
    # A mirror of order two cannot cycle three actions.
    "does not act": (Representation(signs=[-1] * 4, actions=[[0, 1, 2]]), (4,)),
}


@pytest.mark.parametrize("message", BAD)
def test_a_representation_that_does_not_fit_is_one_line(message: str) -> None:
    acting, shape = BAD[message]
    actions = 3 if len(acting.actions[:1]) and len(acting.actions[0]) == 3 else 2
    with pytest.raises(UserError, match=message):
        build_symmetry(acting, shape, actions)


def test_no_representation_is_the_trivial_group() -> None:
    symmetry = build_symmetry(None, (3,), 2)
    assert symmetry.group.order == 1
