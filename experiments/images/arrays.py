"""Shared parts of all image readers: the returned arrays, and their checks."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int64, Integer, UInt8
from PIL import Image

from experiments.frame.errors import UserError

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

#: Errors of PIL for a file that is not an image, or is truncated.
BAD_IMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


class Arrays(NamedTuple):
    """Images and labels of one split, as numpy arrays.

    Attributes:
        pixels: Red, green, blue from 0 to 255, [n, 3, size, size].
        labels: Indices into ``classes``, [n].
        classes: Names of the classes.
    """

    pixels: UInt8[np.ndarray, "n 3 size size"]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]


def encode_png(pixels: UInt8[np.ndarray, "3 size size"]) -> bytes:
    """Return an image as the content of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(stream, "PNG")
    return stream.getvalue()


def check_labels(path: Path, labels: Integer[np.ndarray, " n"], classes: int, first: int) -> None:
    """Refuse labels that are not class indices.

    Args:
        path: The file that holds them.
        labels: Whole numbers, [n].
        classes: Number of classes.
        first: Row of the first label in the file.

    Raises:
        UserError: Naming the row and the label.
    """
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        raise UserError(
            f"{path}: row {first + bad[0]} has label {labels[bad[0]]}; dataset.classes={classes} "
            f"allows 0 to {classes - 1}"
        )


def check_classes(where: Path, names: tuple[str, ...], classes: int) -> tuple[str, ...]:
    """Return the names of the classes, if their number is the configured one.

    Args:
        where: The file or folder that names them.
        names: The names.
        classes: Number of classes according to the configuration.

    Raises:
        UserError: If the numbers differ.
    """
    if len(names) != classes:
        raise UserError(
            f"{where}: has {len(names)} classes, not dataset.classes={classes}; "
            f"set dataset.classes={len(names)} or choose other data"
        )
    return names
