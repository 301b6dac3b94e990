"""Builds the library's actions on observations and Q-values from a declared representation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

import equitune
from experiments.dqn.options import Representation
from experiments.frame.errors import UserError

#: Powers of a matrix that are tried to find its order.
MAX_ORDER = 64
_IMAGES = {
    "rot90": equitune.Rot90,
    "rot180": equitune.Rot180,
    "mirror": equitune.Mirror,
    "dihedral": equitune.DihedralImage,
}


class Symmetry(NamedTuple):
    """The actions of a group on an environment.

    Attributes:
        observations: The action on observations, [B, ...].
        values: The action on Q-values, [B, A]: moves the value of action a to action ga.
    """

    observations: equitune.Action
    values: equitune.PermuteAxis

    @property
    def group(self) -> equitune.FiniteGroup:
        """The group."""
        return self.values.group


def build_symmetry(
    acting: Representation | None, shape: Sequence[int], actions: int, name: str = "group"
) -> Symmetry:
    """Build the actions of a group.

    Args:
        acting: The representation; None is the trivial group.
        shape: Shape of one observation.
        actions: Number of actions A.
        name: The group's name, for messages.

    Returns:
        The actions on observations and on Q-values.

    Raises:
        UserError: If the representation is invalid or does not fit the environment.
    """
    try:
        observations = _on_observations(acting, shape)
        table = _on_actions(acting, observations.group.order, actions)
        return Symmetry(observations, equitune.PermuteAxis(observations.group, table))
    except ValueError as error:
        raise UserError(f"group={name} does not act on this environment: {error}") from error


def _on_observations(acting: Representation | None, shape: Sequence[int]) -> equitune.Action:
    size = math.prod(shape)
    if acting is None:
        return equitune.Invariant(equitune.trivial())
    if acting.image is not None:
        if len(shape) < 2:
            raise ValueError(f"image={acting.image} needs pictures, observations are {shape}")
        action: equitune.Action = _IMAGES[acting.image]()
        return action
    if len(shape) != 1:
        raise ValueError(f"signs and matrix need flat observations, these are {tuple(shape)}")
    if acting.signs is not None:
        if len(acting.signs) != size:
            raise ValueError(f"{len(acting.signs)} signs for observations of {size} numbers")
        signs = torch.tensor([[1] * size, acting.signs])
        return equitune.Signs(equitune.cyclic(2), signs)
    assert acting.matrix is not None
    powers = _powers(torch.tensor(acting.matrix, dtype=torch.float64), size)
    return equitune.Linear(equitune.cyclic(len(powers)), powers)


def _powers(matrix: Tensor, size: int) -> Tensor:
    """Return the powers of a matrix up to the identity, exclusive."""
    if matrix.shape != (size, size):
        raise ValueError(f"the matrix must be {size} x {size}, it is {tuple(matrix.shape)}")
    identity = torch.eye(size, dtype=matrix.dtype)
    powers = [identity]
    while len(powers) <= MAX_ORDER:
        power = powers[-1] @ matrix
        if torch.allclose(power, identity, atol=1e-9):
            return torch.stack(powers)
        powers.append(power)
    raise ValueError(f"no power of the matrix up to {MAX_ORDER} is the identity")


def _on_actions(acting: Representation | None, order: int, actions: int) -> Int[Tensor, "g a"]:
    """Return the image of every action under every element, [G, A]."""
    if acting is None:
        return torch.arange(actions)[None]
    turn = _permutation(acting.actions, actions)
    powers = [torch.arange(actions)]
    turns = 4 if acting.image == "dihedral" else order
    for _ in range(turns - 1):
        powers.append(turn[powers[-1]])
    if acting.image == "dihedral":
        mirror = _permutation(acting.mirror, actions)
        # Element r^k s, at 4 + k, mirrors first.
        powers += [power[mirror] for power in powers]
    return torch.stack(powers)


def _permutation(cycles: list[list[int]], actions: int) -> Int[Tensor, " a"]:
    moved = torch.arange(actions)
    for cycle in cycles:
        for here, there in zip(cycle, cycle[1:] + cycle[:1], strict=True):
            if not 0 <= here < actions:
                raise ValueError(f"action {here} is outside 0..{actions - 1}")
            moved[here] = there
    return moved
