"""Images, preprocessed as open_clip does for a model.

Square images (CIFAR, pictograms) are resized to the model's size; the resize mode does not matter.
Files of any shape are made square at the model's size when they are decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from experiments.clip.options import is_plain
from experiments.images import folder, imagenet_v2
from experiments.images.arrays import Split
from experiments.images.extraction import limited
from experiments.images.inputs import Preprocessing
from experiments.images.sets import ImageSet, OpenImages, open_images

if TYPE_CHECKING:
    from experiments.clip.options import ClipModel
    from experiments.images.options import ImageDataset

_FIND: dict[str, Callable[[ImageDataset, Split], folder.Listing]] = {
    "folder": folder.find,
    "imagenet_v2": imagenet_v2.find,
}
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Rounded(Preprocessing):
    """`Preprocessing` with PIL's bilinear filter, which rounds after each of its two passes."""

    def __call__(self, pixels: UInt8[Tensor, "batch 3 s s"]) -> Float[Tensor, "batch 3 size size"]:
        """Return images as the network sees them."""
        if pixels.shape[-1] != self.size:
            wanted = (self.size, self.size)
            resized = functional.interpolate(pixels.cpu(), wanted, mode="bilinear", antialias=True)
            pixels = resized.to(pixels.device)
        return super().__call__(pixels)


def open_seen(data: ImageDataset, model: ClipModel, split: Split) -> OpenImages:
    """Open one split of a data set, as `open_images` does; files are made square for the model.

    Args:
        data: The data set.
        model: The model that sees the images.
        split: ``train`` or ``test``.

    Raises:
        UserError: As `open_images` does.
    """
    if is_plain(data, model):
        return open_images(data, split)
    assert model.size is not None
    size, mode, resample = model.size, model.resize_mode, _FILTERS[str(model.interpolation)]
    labels, files = open_images(data, split), _FIND[data.kind](data, split).files

    def decode(start: int, stop: int) -> UInt8[np.ndarray, "k 3 s s"]:
        found = [
            square(folder.open_image(path), size, str(mode), resample) for path in files[start:stop]
        ]
        return np.stack([np.asarray(image).transpose(2, 0, 1) for image in found])

    return OpenImages(labels.labels, labels.classes, decode)


def load_seen(
    data: ImageDataset, model: ClipModel, split: Split, limit: int | None = None
) -> ImageSet:
    """Load one split of a data set into memory, in the order of `open_seen`.

    Args:
        data: The data set.
        model: The model that sees the images.
        split: ``train`` or ``test``.
        limit: The number of images of a trial, see `limited`; None: all.

    Raises:
        UserError: As `open_seen` does, or if an image is damaged.
    """
    images = limited(open_seen(data, model, split), limit)
    return ImageSet(images.read(0, len(images)), images.labels, images.classes)


def square(image: Image.Image, size: int, mode: str, resample: Image.Resampling) -> Image.Image:
    """Return an image as a square, as `open_clip.image_transform` makes it.

    Args:
        image: An image of any shape.
        size: Height and width, in pixels.
        mode: ``shortest``: resize the shorter side to ``size`` and crop the centre; ``longest``:
            resize the longer side and pad with black; ``squash``: resize both sides.
        resample: The filter, with antialiasing.
    """
    if mode == "squash":
        return image.resize((size, size), resample)
    if mode == "shortest":
        return folder.fill_square(image, size, resample)
    width, height = image.size
    long = max(width, height)
    wide, high = (max(1, round(side / (long / size))) for side in (width, height))
    resized = image.resize((wide, high), resample)
    padded = Image.new("RGB", (size, size))
    padded.paste(resized, ((size - wide) // 2, (size - high) // 2))
    return padded
