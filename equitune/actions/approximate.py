"""Turns of images by any fraction of a circle, by interpolation: no exact action."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional

from equitune._autocast import without_autocast
from equitune.actions.images import _ImageAction
from equitune.groups import cyclic


class ApproximateRotation(_ImageAction):
    """Turns over cyclic(n); element k turns counter-clockwise by k * 360 / n degrees, roughly.

    Quarter turns move pixels, all others interpolate, so g(hx) differs from (gh)x and an
    equivariant model is only nearly so: measure it with `action_error` and `equivariance_error`.
    What a turn can bring in from beyond the image's edge is unknown, so every view, the upright one
    included, keeps the largest disc and is zero around it.
    """

    exact: ClassVar[bool] = False

    def __init__(
        self,
        n: int,
        dims: tuple[int, int] = (-2, -1),
        mode: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> None:
        """Name the number of turns and the image dims.

        Args:
            n: Number of turns. With a multiple of 4 the quarter turns among them are exact.
            dims: (height, width), negative, default (-2, -1).
            mode: The interpolation, "bilinear" (default) or "bicubic", which is sharper.

        Raises:
            ValueError: If n < 1, the dims are not negative and different, or mode is unknown.
        """
        super().__init__(cyclic(n), dims)
        if mode not in ("bilinear", "bicubic"):
            raise ValueError(f"mode={mode!r} is unknown: choose 'bilinear' or 'bicubic'")
        self.mode = mode

    def act(self, g: int, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return the disc of x, turned, same shape and dtype.

        Raises:
            TypeError: If x is not floating point.
            ValueError: If g is not an element or the image is not square.
        """
        self.group.check_element(g)
        self._check_image(x, square=True)
        if not x.is_floating_point():
            raise TypeError(f"ApproximateRotation acts on floating point tensors, got {x.dtype}")
        quarters, rest = divmod(4 * g, self.group.order)
        image = _disc(x.movedim(self.dims, (-2, -1)))
        if rest:
            angle = math.pi / 2 * rest / self.group.order
            image = _disc(_interpolated(image, angle, self.mode))
        return self._turn(image.movedim((-2, -1), self.dims), quarters)


def _disc(image: Tensor) -> Tensor:
    """Set to zero what is outside the largest disc through the centres of pixels."""
    size = image.shape[-1]
    twice = 2 * torch.arange(size, device=image.device) - (size - 1)
    return image.masked_fill(twice[:, None] ** 2 + twice**2 > (size - 1) ** 2, 0)


def _interpolated(image: Tensor, angle: float, mode: str) -> Tensor:
    """Turn images [..., size, size] counter-clockwise by an angle in radians."""
    size = image.shape[-1]
    dtype = torch.promote_types(image.dtype, torch.float32)
    cos, sin = math.cos(angle), math.sin(angle)
    # Where a pixel comes from; y runs down.
    back = torch.tensor([[[cos, -sin, 0], [sin, cos, 0]]], dtype=dtype, device=image.device)
    with without_autocast(image.device):
        grid = functional.affine_grid(back, [1, 1, size, size], align_corners=False)
        flat = image.reshape(1, -1, size, size).to(dtype)
        turned = functional.grid_sample(flat, grid, mode=mode, align_corners=False)
    return turned.reshape(image.shape).to(image.dtype)
