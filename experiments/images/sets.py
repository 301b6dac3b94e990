"""Labelled images by their configuration: one call to load them, one to tell which they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from jaxtyping import Int64, UInt8

from experiments.images import cifar, folder, pictograms
from experiments.images.arrays import SPLITS, Arrays, Split
from experiments.images.sections import ImageDataset

if TYPE_CHECKING:
    from torch import Tensor


class Source(NamedTuple):
    """A kind of data set: how a split is read, and what tells splits from others."""

    read: Callable[[ImageDataset, Split], Arrays]
    facts: Callable[[ImageDataset, tuple[Split, ...]], list[object]]


SOURCES = {
    "cifar10": Source(cifar.read, cifar.facts),
    "cifar100": Source(cifar.read, cifar.facts),
    "folder": Source(folder.read, folder.facts),
    "pictograms": Source(pictograms.read, pictograms.facts),
}


class ImageSet(NamedTuple):
    """The images of one split.

    Attributes:
        pixels: Red, green, blue from 0 to 255, [n, 3, s, s].
        labels: Indices into ``classes``, [n].
        classes: Names of the classes.
    """

    pixels: UInt8[Tensor, "n 3 s s"]
    labels: Int64[Tensor, " n"]
    classes: tuple[str, ...]


def load_images(config: ImageDataset, split: Split) -> ImageSet:
    """Load one split of a data set into memory.

    Args:
        config: The data set. CIFAR with ``root`` None is downloaded if it is not there.
        split: ``train`` or ``test``.

    Returns:
        All images of the split, in an order that only the data decide.

    Raises:
        UserError: If data are missing, damaged or do not fit the configuration; one line that says
            where and what to do.
    """
    import torch

    arrays = SOURCES[config.kind].read(config, split)
    pixels, labels = torch.from_numpy(arrays.pixels), torch.from_numpy(arrays.labels)
    return ImageSet(pixels, labels, arrays.classes)


def fingerprint(config: ImageDataset, splits: tuple[Split, ...] = SPLITS) -> str:
    """Return what the data are as 16 hexadecimal digits, the same wherever they lie.

    It is made of the digests of CIFAR's files, the paths and digests of a folder's images, or the
    parameters of pictograms. No image is loaded. A file is read once per process.

    Args:
        config: The data set.
        splits: The parts that count.

    Raises:
        UserError: As `load_images` does if data are missing, after the same attempt to download.
    """
    facts = SOURCES[config.kind].facts(config, splits)
    text = json.dumps([config.kind, splits, facts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
