"""The groups of image tasks; each has a line in the table and a file in conf/group/."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import equitune


class Symmetry(NamedTuple):
    """A group of symmetries of the square.

    Attributes:
        elements: Elements of `equitune.DihedralImage`: k: k quarter turns; 4 + k: mirrors first.
        action: Makes the action on images from the library `equitune`, in the same order.
    """

    elements: tuple[int, ...]
    action: Callable[[Any], equitune.Action]


SYMMETRIES = {
    "trivial": Symmetry((0,), lambda library: library.Invariant(library.trivial())),
    "rot90": Symmetry((0, 1, 2, 3), lambda library: library.Rot90()),
    "rot180": Symmetry((0, 2), lambda library: library.Rot180()),
    "mirror": Symmetry((0, 4), lambda library: library.Mirror()),
    "dihedral": Symmetry(tuple(range(8)), lambda library: library.DihedralImage()),
}
#: Groups whose orbits are stored, the smaller one first.
_STORED = ("rot90", "dihedral")
#: Sets from which an image's transform is drawn: none, or the elements of a group.
TRANSFORMS = ("none", *(name for name in SYMMETRIES if name != "trivial"))


def members(name: str) -> tuple[int, ...]:
    """Return the elements of a group, or of a set of transforms."""
    return SYMMETRIES["trivial" if name == "none" else name].elements


def smallest(*names: str) -> str:
    """Return the group whose orbit is stored: the smallest one with all views named."""
    needed = {element for name in names for element in members(name)}
    return next(name for name in _STORED if needed <= set(members(name)))


def make_action(name: str) -> equitune.Action:
    """Return a group's action on images, with its `members` as elements, in order."""
    import equitune  # imports PyTorch, which a configuration does not need

    return SYMMETRIES[name].action(equitune)
