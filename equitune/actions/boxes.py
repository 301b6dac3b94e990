"""Boxes, which follow turns and mirrors of the image that they lie in."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Shaped
from torch import Tensor

from equitune.actions.base import Action, check_size
from equitune.actions.images import DihedralImage, Mirror, Rot90, Rot180

Format = Literal["xyxy", "cxcywh"]


class Boxes(Action):
    """Moves boxes as an image action moves the image that they lie in.

    x runs from 0 at the left edge to the right, y from 0 at the upper edge down. An element
    exchanges coordinates, or subtracts them from the size of the image, so the one rounding is that
    of a difference.
    """

    source: Tensor
    sign: Tensor
    offset: Tensor

    def __init__(
        self,
        images: Rot90 | Rot180 | Mirror | DihedralImage,
        size: tuple[float, float],
        format: Format = "xyxy",
    ) -> None:
        """Read off how the image action moves the axes.

        Args:
            images: The action on images [..., height, width].
            size: (height, width) of the images in the unit of the boxes; (1.0, 1.0) for relative
                coordinates. The two are equal where the action has quarter turns.
            format: "xyxy" for two corners (x1, y1, x2, y2), the default; "cxcywh" for centre, width
                and height.

        Raises:
            TypeError: If images is no image action, or size is not two numbers.
            ValueError: If its dims are not the last two, the size is not square where it must be,
                or the format is unknown.
        """
        if not isinstance(images, Rot90 | Rot180 | Mirror | DihedralImage):
            raise TypeError("images must be Rot90(), Rot180(), Mirror() or DihedralImage()")
        if not isinstance(size, tuple | list) or len(size) != 2:
            raise TypeError(f"size must be (height, width), got {size!r}")
        if format not in ("xyxy", "cxcywh"):
            raise ValueError(f"format={format!r} is unknown: choose 'xyxy' or 'cxcywh'")
        super().__init__(images.group)
        moves = [_coordinates(images, g, size, format) for g in images.group.elements]
        for k, name in enumerate(("source", "sign", "offset")):
            table = torch.tensor([[row[k] for row in rows] for rows in moves], device="cpu")
            self.register_table(name, table)

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return the boxes in the moved image, same shape and dtype as x [B, ..., 4].

        Raises:
            TypeError: If x is not floating point.
            ValueError: If g is not an element or the last dim of x has not size 4.
        """
        self.group.check_element(g)
        check_size(x, 1, -1, 4, "Boxes")
        if not x.is_floating_point():
            raise TypeError(f"Boxes acts on floating point tensors, got {x.dtype}")
        sign, offset = self.sign[g].to(x.dtype), self.offset[g].to(x.dtype)
        return x.index_select(-1, self.source[g]) * sign + offset


def _coordinates(
    images: Rot90 | Rot180 | Mirror | DihedralImage, g: int, size: tuple[float, float], format: str
) -> list[tuple[int, int, float]]:
    """Return (k, s, b) for each of four coordinates: its new value is s times the k-th plus b."""
    corners = torch.arange(4, device="cpu").view(1, 2, 2)
    try:
        moved = images.act(g, corners).flatten().tolist()
    except ValueError as error:
        raise ValueError("images must act on the last two dims, [..., height, width]") from error
    # Corners 0, 1 and 2 are the upper left, the upper right and the lower left one.
    (y, x), along_x, along_y = (divmod(moved.index(corner), 2) for corner in (0, 1, 2))
    steps = [(ends[1] - x, ends[0] - y) for ends in (along_x, along_y)]
    firsts: list[tuple[int, int, float]] = []
    seconds: list[tuple[int, int, float]] = []
    for axis in (0, 1):
        source = 0 if steps[0][axis] else 1
        if source != axis and size[0] != size[1]:
            raise ValueError(f"a quarter turn needs a square image, got size={size}")
        sign = steps[source][axis]
        # x counts along the width, which is the second of the sizes.
        offset = 0.0 if sign > 0 else float(size[1 - source])
        if format == "cxcywh":
            firsts.append((source, sign, offset))
            seconds.append((source + 2, 1, 0.0))
        else:
            low, high = (source, source + 2) if sign > 0 else (source + 2, source)
            firsts.append((low, sign, offset))
            seconds.append((high, sign, offset))
    return firsts + seconds
