"""Images in parquet files, in the layout of the hub's CIFAR: encoded images and labels."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from experiments.frame.errors import UserError, one_line
from experiments.frame.files import read_lines
from experiments.images.arrays import (
    BAD_IMAGE,
    Arrays,
    Split,
    check_classes,
    check_labels,
)
from experiments.images.options import ImageDataset

if TYPE_CHECKING:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

IMAGE_COLUMNS = ("img", "image")
#: Column of labels; for CIFAR-100, which also has coarse labels, the fine ones.
LABEL_COLUMNS = ("fine_label", "label")
#: Encodings of an image that are read; CIFAR is kept in lossless ones.
FORMATS = ("PNG", "WEBP", "JPEG")
#: Rows that are decoded at once; affects memory use, not results.
CHUNK = 2000


class Columns(NamedTuple):
    """The columns of a file that hold the images and the labels."""

    image: str
    label: str


def find(root: Path, inside: tuple[str, ...], split: Split) -> list[Path]:
    """Return the parquet files of a split, in the order of their rows; none if there are none.

    They are ``train.parquet`` or, if that is missing, all files whose names start with ``train``,
    or all files in a folder ``train``. The same holds for the test split.

    Args:
        root: The folder of the data.
        inside: Subfolders that are searched after it.
        split: The split.

    Raises:
        UserError: If some numbered files, such as ``...-00000-of-00005.parquet``, are missing.
    """
    for folder in (root, *(root / name for name in inside)):
        if (alone := folder / f"{split}.parquet").is_file():
            return [alone]
        if files := sorted(folder.glob(f"{split}*.parquet")):
            _check_shards(files)
            return files
        if files := sorted((folder / split).glob("*.parquet")):
            return files
    return []


def existing(root: Path, inside: tuple[str, ...], split: Split) -> list[Path]:
    """Return the parquet files of a split as `find` does; refuse a split without files."""
    files = find(root, inside, split)
    if not files:
        raise UserError(f"{root}: has no {split}.parquet; put it there")
    return files


def _check_shards(files: list[Path]) -> None:
    """Refuse an incomplete set of numbered files."""
    for path in files:
        if match := re.search(r"-\d+-of-(\d+)\.parquet$", path.name):
            present, total = len(files), int(match[1])
            if present != total:
                raise UserError(
                    f"{path.parent}: has {present} files like {path.name}, not {total}; "
                    "get the missing ones"
                )


def read(config: ImageDataset, files: list[Path], names: Path) -> Arrays:
    """Decode the images of a split.

    Args:
        config: The data set.
        files: Its files.
        names: A file with the class names, for parquet files without them.

    Returns:
        The images in the order of the rows.

    Raises:
        UserError: If a file is missing, damaged or of another layout, or a row does not fit.
    """
    counts = [_count_rows(path) for path in files]
    classes = _class_names(files[0], names, config.classes)
    pixels = np.empty((sum(counts), 3, config.size, config.size), np.uint8)
    labels = np.empty(sum(counts), np.int64)
    start = 0
    for path, count in zip(files, counts, strict=True):
        rows = slice(start, start + count)
        _read_file(path, config, pixels[rows], labels[rows])
        start += count
    return Arrays(pixels, labels, classes)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a parquet file; what pyarrow cannot read becomes one line."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: is not a whole parquet file ({one_line(error)}); get it again"
        ) from error


def _count_rows(path: Path) -> int:
    with _opened(path) as file:
        rows = int(file.metadata.num_rows)
    if not rows:
        raise UserError(f"{path}: has no rows; get the file again")
    return rows


def _columns(file: pq.ParquetFile, path: Path) -> Columns:
    """Return the names of the two columns."""
    import pyarrow as pa

    schema = file.schema_arrow
    found = []
    for what, choices in (("image", IMAGE_COLUMNS), ("label", LABEL_COLUMNS)):
        present = [name for name in choices if name in schema.names]
        if not present:
            raise UserError(
                f"{path}: has no {what} column ({' or '.join(choices)}), only: "
                f"{', '.join(schema.names)}"
            )
        found.append(present[0])
    columns = Columns(*found)
    kind = schema.field(columns.image).type
    if pa.types.is_struct(kind):
        kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else pa.null()
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise UserError(
            f"{path}: column {columns.image} must hold bytes, or a struct with a field bytes"
        )
    if not pa.types.is_integer(schema.field(columns.label).type):
        raise UserError(f"{path}: column {columns.label} must hold whole numbers")
    return columns


def _class_names(path: Path, listed: Path, classes: int) -> tuple[str, ...]:
    """Return the class names: from the parquet file, from a list, or numbers."""
    with _opened(path) as file:
        metadata = file.schema_arrow.metadata or {}
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        label = next(name for name in LABEL_COLUMNS if name in features)
        names = tuple(str(name) for name in features[label]["names"])
        return check_classes(path, names, classes)
    except (ValueError, LookupError, TypeError, StopIteration):
        pass  # a file that the hub did not write
    if listed.is_file():
        return check_classes(listed, read_lines(listed), classes)
    return tuple(f"class {index}" for index in range(classes))


def _read_file(
    path: Path,
    config: ImageDataset,
    pixels: UInt8[np.ndarray, "n 3 size size"],
    labels: Int64[np.ndarray, " n"],
) -> None:
    """Fill the arrays with the rows of one file."""
    with _opened(path) as file:
        columns = _columns(file, path)
        start = 0
        for batch in file.iter_batches(batch_size=CHUNK, columns=list(columns)):
            rows = slice(start, start + len(batch))
            labels[rows] = _labels(path, batch.column(columns.label), config.classes, start)
            pixels[rows] = _decode(path, batch.column(columns.image), config.size, start)
            start += len(batch)


def _labels(path: Path, column: Any, classes: int, start: int) -> Int64[np.ndarray, " n"]:
    """Return a column of labels (of pyarrow) as an array."""
    if column.null_count:
        row = start + int(column.is_null().to_numpy(zero_copy_only=False).argmax())
        raise UserError(f"{path}: row {row} has no label; get the file again")
    labels = column.to_numpy(zero_copy_only=False)
    check_labels(path, labels, classes, start)
    return np.asarray(labels, np.int64)


def _decode(path: Path, column: Any, size: int, start: int) -> UInt8[np.ndarray, "n 3 size size"]:
    """Return the images of a column (of pyarrow), which start at a row of the file."""
    import pyarrow as pa

    data = column.field("bytes") if pa.types.is_struct(column.type) else column
    decoded = bytearray()
    for row, encoded in enumerate(data.to_pylist(), start):
        if encoded is None:
            raise UserError(f"{path}: row {row} has no image bytes; get the file again")
        try:
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                if image.mode != "RGB" or image.size != (size, size):
                    raise UserError(_misfit(path, row, image, size))
                decoded += image.tobytes()
        except BAD_IMAGE as error:
            raise UserError(
                f"{path}: row {row} is not a whole image ({', '.join(FORMATS)}); get the file again"
            ) from error
    images = np.frombuffer(decoded, np.uint8).reshape(-1, size, size, 3)
    return images.transpose(0, 3, 1, 2)


def _misfit(path: Path, row: int, image: Image.Image, size: int) -> str:
    return (
        f"{path}: row {row} is an image of {image.width} x {image.height} pixels, mode "
        f"{image.mode}; expected {size} x {size} (dataset.size), mode RGB"
    )
