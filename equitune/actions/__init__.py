"""Group actions on tensors; every action has orbit, undo and act."""

from __future__ import annotations

from equitune.actions.base import Action, Invariant
from equitune.actions.images import DihedralImage, Mirror, Rot90, Rot180
from equitune.actions.linear import Linear, Rank2, Signs
from equitune.actions.permutations import PermuteAxis, Relabel, cycle_permutations

__all__ = [
    "Action",
    "DihedralImage",
    "Invariant",
    "Linear",
    "Mirror",
    "PermuteAxis",
    "Rank2",
    "Relabel",
    "Rot90",
    "Rot180",
    "Signs",
    "cycle_permutations",
]
