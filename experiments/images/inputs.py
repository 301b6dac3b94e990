"""Preprocessing of pixels for a network, and augmentation for training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional


class Preprocessing(NamedTuple):
    """The preprocessing of images for a network.

    Attributes:
        size: Height and width, in pixels.
        mean: Subtracted from each channel of values in [0, 1].
        std: Standard deviation of each channel, which divides them.
        interpolation: How images are resized, always with antialiasing. Bicubic is PIL's, on the
            CPU and rounded to 8 bits after each of its two passes; bilinear is not rounded.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    def __call__(self, pixels: UInt8[Tensor, "batch 3 s s"]) -> Float[Tensor, "batch 3 size size"]:
        """Return images as the network sees them.

        Quarter turns and mirrors commute with it, up to rounding if the size changes.
        """
        values, wanted = pixels, (self.size, self.size)
        if pixels.shape[-1] != self.size and self.interpolation == "bicubic":
            resized = functional.interpolate(pixels.cpu(), wanted, mode="bicubic", antialias=True)
            values = resized.to(pixels.device)
        values = values.float() / 255
        if values.shape[-1] != self.size:
            values = functional.interpolate(values, wanted, mode="bilinear", antialias=True)
        mean, std = (torch.tensor(x, device=pixels.device)[:, None, None] for x in self[1:3])
        return (values - mean) / std


def augment(
    pixels: UInt8[Tensor, "batch 3 s s"], crop: int, mirror: bool, generator: torch.Generator
) -> UInt8[Tensor, "batch 3 s s"]:
    """Shift every image by up to ``crop`` pixels, padded with black, and mirror half of them.

    Args:
        pixels: The images.
        crop: Largest shift along either axis.
        mirror: Whether to mirror left and right.
        generator: Draws both.
    """
    count, _, side, _ = pixels.shape
    offsets = torch.randint(2 * crop + 1, (2, count, 1), generator=generator)
    rows, columns = offsets + torch.arange(side)
    if mirror:
        flipped = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    padded = functional.pad(pixels, (crop,) * 4)
    index = torch.arange(count)[:, None, None]
    return padded.movedim(1, -1)[index, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
