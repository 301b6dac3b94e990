"""The groups of image tasks: a line of the table, and a file of its name in conf/group/, is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import equitune


class Symmetry(NamedTuple):
    """A group of symmetries of the square.

    Attributes:
        elements: Those of `equitune.DihedralImage`: k turns by k quarters, 4 + k mirrors first.
        action: Makes, of the library `equitune`, how they act on images, in the same order.
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
#: Those whose orbits are stored, the smaller one first.
_STORED = ("rot90", "dihedral")
#: Sets from which an image's transform is drawn: none, or the elements of a group.
TRANSFORMS = ("none", *(name for name in SYMMETRIES if name != "trivial"))


def members(name: str) -> tuple[int, ...]:
    """Return the elements of a group, or of a set of transforms."""
    return SYMMETRIES["trivial" if name == "none" else name].elements


def smallest(*names: str) -> str:
    """Return the group whose orbit is to be stored: the smallest one with all the views named."""
    needed = {element for name in names for element in members(name)}
    return next(name for name in _STORED if needed <= set(members(name)))


def make_action(name: str) -> equitune.Action:
    """Return how a group acts on images; its elements are its `members`, in order."""
    import equitune  # with PyTorch, which a configuration does without

    return SYMMETRIES[name].action(equitune)
