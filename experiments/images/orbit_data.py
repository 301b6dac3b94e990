"""Images that have had a transform, seen as orbits: stored ones are only put in another order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor, nn

from experiments.images.extraction import SQUARE, Orbits
from experiments.images.symmetries import members

#: Images per pass where features are stored.
CHUNK = 2000
#: Images that are looked up at once for small batches: looking up is slow, and memory is not.
TOGETHER = 80


class TurnedImages(ABC):
    """Images whose orbits are seen through a network.

    Attributes:
        labels: Classes, [N].
        turns: Number R of transforms that an image may have had.
        chunk: Images per pass where nothing is learned.
        together: Images whose views are best asked for at once, however small the batches.
        shape: Of the features of one view.
        sample: Pixels of some images.
    """

    labels: Int64[Tensor, " n"]
    turns: int
    chunk: int
    together: int = 1
    shape: tuple[int, ...]
    sample: UInt8[Tensor, "k 3 s s"]

    @abstractmethod
    def views(
        self, rows: Int64[Tensor, " batch"], turned: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "group batch ..."]:
        """Return the features of the orbits of some images.

        Args:
            rows: Which images.
            turned: Which transform each has had, from 0 to R - 1.
        """

    @abstractmethod
    def take(self, rows: Int64[Tensor, " m"]) -> TurnedImages:
        """Return some of the images."""

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield what is learned besides the last layers, by name."""
        yield from ()


class Stored(TurnedImages):
    """Features of a finished run; the orbit of a transformed image is looked up."""

    def __init__(self, features: Orbits, group: str, transform: str) -> None:
        """Choose the views of a group, and the transforms."""
        self.features, self._names = features, (group, transform)
        self.labels = features.labels
        self._table = lookup(group, transform, features.views)
        self.turns = self._table.shape[1]
        self.chunk, self.together = CHUNK, TOGETHER
        self.shape = tuple(features.values.shape[2:])
        self.sample = features.sample

    def views(
        self, rows: Int64[Tensor, " batch"], turned: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "group batch ..."]:
        """Look the features up."""
        return self.features.values[self._table[:, turned], rows]

    def take(self, rows: Int64[Tensor, " m"]) -> Stored:
        """Return some of the images."""
        return Stored(self.features.rows(rows), *self._names)


@torch.no_grad()
def over_turns(
    images: TurnedImages, judge: Callable[[Tensor, Tensor], Shaped[Tensor, "batch ..."]]
) -> Shaped[Tensor, "transforms n ..."]:
    """Judge every image in every transform.

    Images of one pass have had different transforms, as chance would have it.

    Args:
        images: The images.
        judge: Maps features of orbits, [G, B, ...], and classes, [B], to what is wanted, [B, ...].
    """
    count = len(images.labels)
    everything = torch.arange(count)
    found: Tensor | None = None
    for shift in range(images.turns):
        turned = (everything + shift) % images.turns
        for rows in torch.split(everything, images.chunk):
            judged = judge(images.views(rows, turned[rows]), images.labels[rows])
            if found is None:
                found = judged.new_zeros(images.turns, count, *judged.shape[1:])
            found[turned[rows], rows] = judged
    assert found is not None
    return found


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
    order = {element: position for position, element in enumerate(members(views))}
    product = SQUARE.group.multiply
    table = [[order[product(g, r)] for r in members(transform)] for g in members(group)]
    return torch.tensor(table)
