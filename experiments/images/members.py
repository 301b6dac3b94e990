"""Which symmetries of the square each group of image tasks has, by name."""

from __future__ import annotations

#: Elements of `equitune.DihedralImage`: k turns by k quarters, 4 + k mirrors first.
MEMBERS = {
    "trivial": (0,),
    "none": (0,),
    "rot90": (0, 1, 2, 3),
    "rot180": (0, 2),
    "mirror": (0, 4),
    "dihedral": tuple(range(8)),
}


def smallest(*names: str) -> str:
    """Return the group whose orbit is to be stored: the smallest one with all the views named."""
    needed = {element for name in names for element in MEMBERS[name]}
    return "rot90" if needed <= set(MEMBERS["rot90"]) else "dihedral"
