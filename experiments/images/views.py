"""The views of an image that groups need, as elements of the symmetry group of the square."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

import equitune
from experiments.images.members import MEMBERS

SQUARE = equitune.DihedralImage()


def make_action(name: str) -> equitune.Action:
    """Return how a group acts on images; its elements are those of `MEMBERS`, in order."""
    if name == "trivial":
        return equitune.Invariant(equitune.trivial())
    actions: dict[str, Callable[[], equitune.Action]] = {
        "rot90": equitune.Rot90,
        "rot180": equitune.Rot180,
        "mirror": equitune.Mirror,
        "dihedral": equitune.DihedralImage,
    }
    return actions[name]()


def orbits_of_turned(
    inputs: Float[Tensor, "batch 3 s s"],
    turned: Int64[Tensor, " batch"],
    turns: tuple[int, ...],
    elements: tuple[int, ...],
) -> Float[Tensor, "group batch 3 s s"]:
    """Return the orbits of images that have had a transform, each its own.

    Args:
        inputs: The images as they were; changed in place.
        turned: Which transform each has had, a position in ``turns``.
        turns: The transforms, as elements of the symmetry group of the square.
        elements: Those of the group.
    """
    for number, element in enumerate(turns):
        chosen = turned == number
        inputs[chosen] = SQUARE.act(element, inputs[chosen])
    return torch.stack([SQUARE.act(g, inputs) for g in elements])


def lookup(group: str, transform: str, views: str) -> Int64[Tensor, "group transforms"]:
    """Return where, among stored views, g r x stands for every g and every r.

    An image that was turned by r has the same orbit, in another order. So nothing is computed again
    for it.

    Args:
        group: Name of the group, of g.
        transform: Name of the set from which an image's turn r is drawn.
        views: Name of the group whose orbit is stored.

    Returns:
        Positions in the stored orbit, [G, R].
    """
    order = {element: position for position, element in enumerate(MEMBERS[views])}
    product = SQUARE.group.multiply
    table = [[order[product(g, r)] for r in MEMBERS[transform]] for g in MEMBERS[group]]
    return torch.tensor(table)
