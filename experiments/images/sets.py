"""Labelled images by their configuration: reading in parts or as a whole, fingerprints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from experiments.frame.files import digest
from experiments.images import cifar, folder, imagenet_v2, pictograms
from experiments.images.arrays import SPLITS, Arrays, Split
from experiments.images.options import ImageDataset

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OpenImages:
    """One split with lazily read images; its length is their number.

    Attributes:
        labels: Indices into ``classes``, [n].
        classes: Names of the classes.
        decode: Returns the pixels of a range of rows.
    """

    labels: Int64[Tensor, " n"]
    classes: tuple[str, ...]
    decode: Callable[[int, int], UInt8[np.ndarray, "k 3 s s"]]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, start: int, stop: int) -> UInt8[Tensor, "k 3 s s"]:
        """Return the pixels of rows start to stop - 1, red, green, blue from 0 to 255.

        Raises:
            UserError: If one of these images is damaged; one line that names its file.
        """
        import torch

        return torch.from_numpy(self.decode(start, stop))

    def take(self, rows: Int64[Tensor, " m"]) -> OpenImages:
        """Return a subset of the images, in the order of the rows, without decoding."""
        chosen = rows.tolist()

        def decode(start: int, stop: int) -> UInt8[np.ndarray, "k 3 s s"]:
            return np.concatenate([self.decode(row, row + 1) for row in chosen[start:stop]])

        return OpenImages(self.labels[rows], self.classes, decode)


Facts = Callable[[ImageDataset, tuple[Split, ...]], list[object]]


class Source(NamedTuple):
    """A kind of data set: functions that open a split and return its identity."""

    open: Callable[[ImageDataset, Split], OpenImages]
    facts: Facts


def _whole(read: Callable[[ImageDataset, Split], Arrays], facts: Facts) -> Source:
    """Make a source of a small set, which is read at once when opened."""

    def open_whole(config: ImageDataset, split: Split) -> OpenImages:
        import torch

        arrays = read(config, split)
        labels = torch.from_numpy(arrays.labels)
        return OpenImages(labels, arrays.classes, lambda start, stop: arrays.pixels[start:stop])

    return Source(open_whole, facts)


def _by_file(find: Callable[[ImageDataset, Split], folder.Listing]) -> Source:
    """Make a source of a set with one file per image, decoded on access."""

    def open_files(config: ImageDataset, split: Split) -> OpenImages:
        import torch

        _, classes, files, labels = find(config, split)
        return OpenImages(
            torch.from_numpy(labels),
            classes,
            lambda start, stop: folder.decode(files[start:stop], config.size),
        )

    def facts(config: ImageDataset, splits: tuple[Split, ...]) -> list[object]:
        found = [[split, folder.digests(find(config, split))] for split in splits]
        return [folder.DECODING, config.size, *found]

    return Source(open_files, facts)


SOURCES = {
    "cifar10": _whole(cifar.read, cifar.facts),
    "cifar100": _whole(cifar.read, cifar.facts),
    "folder": _by_file(folder.find),
    "imagenet_v2": _by_file(imagenet_v2.find),
    "pictograms": _whole(pictograms.read, pictograms.facts),
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


def open_images(config: ImageDataset, split: Split) -> OpenImages:
    """Open one split of a data set, to read its images in parts.

    Images in separate files are decoded on every access; data sets of other kinds are small and
    stay in memory.

    Args:
        config: The data set. CIFAR with ``root`` None is downloaded if it is not there.
        split: ``train`` or ``test``.

    Returns:
        The labels, and access to the pixels, in an order that depends only on the data.

    Raises:
        UserError: If data are missing or do not fit the configuration, or the parts that are
            read are damaged; one line that says where and what to do.
    """
    return SOURCES[config.kind].open(config, split)


def load_images(config: ImageDataset, split: Split) -> ImageSet:
    """Load one split of a data set into memory, in the order of `open_images`.

    Args:
        config: The data set. CIFAR with ``root`` None is downloaded if it is not there.
        split: ``train`` or ``test``.

    Returns:
        All images of the split.

    Raises:
        UserError: As `open_images` does, or if an image is damaged.
    """
    images = open_images(config, split)
    return ImageSet(images.read(0, len(images)), images.labels, images.classes)


def fingerprint(config: ImageDataset, splits: tuple[Split, ...] = SPLITS) -> str:
    """Return the fingerprint of the data: 16 hexadecimal digits, independent of location.

    It depends on the digests of CIFAR's files, the paths and digests of a folder's images, or the
    parameters of pictograms. No image is loaded. A file is read once per process.

    Args:
        config: The data set.
        splits: The splits.

    Raises:
        UserError: As `load_images` does if data are missing, after the same attempt to download.
    """
    facts = SOURCES[config.kind].facts(config, splits)
    text = json.dumps([config.kind, splits, facts])
    return digest(text)[:16]
