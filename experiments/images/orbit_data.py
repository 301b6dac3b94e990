"""Orbits of transformed images: stored orbits are only reordered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor, nn

from experiments.images.extraction import SQUARE, Orbits
from experiments.images.symmetries import members

#: Images per pass if features are stored.
CHUNK = 2000
#: Images per lookup for small batches, as each lookup is slow.
TOGETHER = 80


class TurnedImages(ABC):
    """Images whose orbits go through a network.

    Attributes:
        labels: Classes, [N].
        turns: Number R of possible transforms of an image.
        chunk: Images per pass in evaluation.
        together: Best number of images per call of `views`, for any batch size.
        shape: Shape of the features of one view.
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
            rows: Indices of the images.
            turned: Index of the transform of each image, from 0 to R - 1.
        """

    @abstractmethod
    def take(self, rows: Int64[Tensor, " m"]) -> TurnedImages:
        """Return some of the images."""

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the trained modules besides the last layers, by name."""
        yield from ()


class Stored(TurnedImages):
    """Stored features of a finished run; the orbit of a transformed image is a reordering."""

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
        """Look up the features."""
        return self.features.values[self._table[:, turned], rows]

    def take(self, rows: Int64[Tensor, " m"]) -> Stored:
        """Return some of the images."""
        return Stored(self.features.rows(rows), *self._names)


@torch.no_grad()
def over_turns(
    images: TurnedImages, judge: Callable[[Tensor, Tensor], Shaped[Tensor, "batch ..."]]
) -> Shaped[Tensor, "transforms n ..."]:
    """Apply a function to every image in every transform.

    Images of one pass have different, random transforms.

    Args:
        images: The images.
        judge: Maps features of orbits, [G, B, ...], and classes, [B], to results, [B, ...].
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
    """Return the orbits of images after a transform of each.

    Args:
        inputs: The images before the transform; changed in place.
        turned: The transform of each image, an index into ``turns``.
        turns: The transforms, as elements of the symmetry group of the square.
        elements: The elements of the group.
    """
    for number, element in enumerate(turns):
        chosen = turned == number
        inputs[chosen] = SQUARE.act(element, inputs[chosen])
    return torch.stack([SQUARE.act(g, inputs) for g in elements])


def lookup(group: str, transform: str, views: str) -> Int64[Tensor, "group transforms"]:
    """Return the index of view g r in the stored orbit, for each element g and transform r.

    A transformed image has the same orbit in another order, so nothing is computed again.

    Args:
        group: Name of the group, of g.
        transform: Name of the set from which an image's turn r is drawn.
        views: Name of the group whose orbit is stored.

    Returns:
        Indices into the stored orbit, [G, R].
    """
    order = {element: position for position, element in enumerate(members(views))}
    product = SQUARE.group.multiply
    table = [[order[product(g, r)] for r in members(transform)] for g in members(group)]
    return torch.tensor(table)
