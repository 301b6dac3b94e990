"""Labelled images by their configuration: read in parts or as a whole, and told apart."""

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
    """One split whose images are read when they are asked for; its length is their number.

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
        """Return some of the images, in the order of the rows; none is decoded yet."""
        chosen = rows.tolist()

        def decode(start: int, stop: int) -> UInt8[np.ndarray, "k 3 s s"]:
            return np.concatenate([self.decode(row, row + 1) for row in chosen[start:stop]])

        return OpenImages(self.labels[rows], self.classes, decode)


Facts = Callable[[ImageDataset, tuple[Split, ...]], list[object]]


class Source(NamedTuple):
    """A kind of data set: how a split is opened, and what tells splits from others."""

    open: Callable[[ImageDataset, Split], OpenImages]
    facts: Facts


def _whole(read: Callable[[ImageDataset, Split], Arrays], facts: Facts) -> Source:
    """Make a source of a small set, which is read all at once when it is opened."""

    def open_whole(config: ImageDataset, split: Split) -> OpenImages:
        import torch

        arrays = read(config, split)
        labels = torch.from_numpy(arrays.labels)
        return OpenImages(labels, arrays.classes, lambda start, stop: arrays.pixels[start:stop])

    return Source(open_whole, facts)


def _by_file(find: Callable[[ImageDataset, Split], folder.Listing]) -> Source:
    """Make a source of a set with one file per image, each decoded when it is asked for."""

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

    Images that are files of their own are decoded when they are asked for, and again when they are
    asked for again; those of other kinds are small and stay in memory.

    Args:
        config: The data set. CIFAR with ``root`` None is downloaded if it is not there.
        split: ``train`` or ``test``.

    Returns:
        The labels, and access to the pixels, in an order that only the data decide.

    Raises:
        UserError: If data are missing or do not fit the configuration, or are damaged as far as
            they are read; one line that says where and what to do.
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
    return digest(text)[:16]
