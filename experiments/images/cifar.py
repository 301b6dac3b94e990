"""CIFAR-10 and CIFAR-100, from the hub's parquet files or the authors' binary files.

The authors' own files are the binary version: the others are pickles, which run code when they are
read.
"""

from __future__ import annotations

import logging
import os
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.errors import UserError, one_line
from experiments.files import read_lines
from experiments.images import parquet
from experiments.images.arrays import (
    SPLITS,
    Arrays,
    Split,
    check_classes,
    check_labels,
    file_digest,
)
from experiments.images.sections import ImageDataset

log = logging.getLogger(__name__)

SERVER = "https://www.cs.toronto.edu/~kriz/"
SIDE = 32
PIXELS = 3 * SIDE * SIDE


class Binary(NamedTuple):
    """Layout of a binary version.

    Attributes:
        archive: Its name on the server.
        md5: Of the archive.
        folder: What the archive unpacks to.
        files: By split, in order.
        names: The file with the names of the classes.
        label_bytes: Bytes of an image's record before its pixels; the last is the label.
        hub: Name of the data set on the hub.
    """

    archive: str
    md5: str
    folder: str
    files: dict[Split, tuple[str, ...]]
    names: str
    label_bytes: int
    hub: str


BINARY = {
    "cifar10": Binary(
        archive="cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        folder="cifar-10-batches-bin",
        files={
            "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            "test": ("test_batch.bin",),
        },
        names="batches.meta.txt",
        label_bytes=1,
        hub="uoft-cs/cifar10",
    ),
    "cifar100": Binary(
        archive="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        folder="cifar-100-binary",
        files={"train": ("train.bin",), "test": ("test.bin",)},
        names="fine_label_names.txt",
        label_bytes=2,
        hub="uoft-cs/cifar100",
    ),
}


def read(config: ImageDataset, split: Split) -> Arrays:
    """Read one split, after a download if ``root`` is None and nothing is there.

    Args:
        config: The data set, of kind cifar10 or cifar100.
        split: Which part.

    Returns:
        The images in the order of the files.

    Raises:
        UserError: If the files are missing, damaged or do not fit the configuration.
    """
    root = _root(config)
    if _has_parquet(root):
        return parquet.read(config, root, split)
    folder = _binary_folder(config, root)
    layout = BINARY[config.kind]
    if config.size != SIDE:
        raise UserError(
            f"{folder}: the images have {SIDE} x {SIDE} pixels; set dataset.size={SIDE}"
        )
    names = _existing(folder / layout.names)
    classes = check_classes(names, read_lines(names), config.classes)
    parts = [_read_binary(folder / name, layout, config.classes) for name in layout.files[split]]
    pixels = np.concatenate([part.pixels for part in parts])
    return Arrays(pixels, np.concatenate([part.labels for part in parts]), classes)


def facts(config: ImageDataset, splits: tuple[Split, ...]) -> list[object]:
    """Return the digests of the files of some splits, after a download as in `read`.

    Raises:
        UserError: As `read` does if the files are missing.
    """
    root = _root(config)
    if _has_parquet(root):
        files = [parquet.existing(root, split) for split in splits]
        named = root / "classes.txt"
        extra = [named] if named.is_file() else []
    else:
        layout, folder = BINARY[config.kind], _binary_folder(config, root)
        files = [[_existing(folder / name) for name in layout.files[split]] for split in splits]
        extra = [_existing(folder / layout.names)]
    return [[file_digest(path) for path in group] for group in [*files, extra]]


def _root(config: ImageDataset) -> Path:
    if config.root is None:
        return Path("data") / config.name
    if not Path(config.root).is_dir():
        raise UserError(f"{config.key}.root={config.root}: no such folder")
    return Path(config.root)


def _has_parquet(root: Path) -> bool:
    return any(parquet.find(root, split) for split in SPLITS)


def _binary_folder(config: ImageDataset, root: Path) -> Path:
    """Return the folder with the binary files; a download may bring it."""
    layout = BINARY[config.kind]
    if (root / layout.names).is_file():
        return root
    if not (root / layout.folder).is_dir():
        if config.root is not None:
            raise UserError(
                f"{config.key}.root={root}: has neither train.parquet and test.parquet (of the "
                f"hub's {layout.hub}) nor {layout.folder}; put one of them there, or leave "
                f"{config.key}.root out to download"
            )
        _download(layout, root, config.key)
    return root / layout.folder


def _download(layout: Binary, root: Path, key: str) -> None:
    """Bring the binary version; of several processes one downloads and the others wait."""
    from filelock import FileLock
    from torchvision.datasets.utils import (  # type: ignore[import-untyped]
        download_and_extract_archive,
    )

    root.mkdir(parents=True, exist_ok=True)
    unpacked = root / f".{layout.folder}-{os.getpid()}"
    with FileLock(root / ".download.lock"):
        if (root / layout.folder).is_dir():
            return
        log.info("downloading %s%s to %s", SERVER, layout.archive, root)
        try:
            download_and_extract_archive(
                SERVER + layout.archive,
                str(root),
                extract_root=str(unpacked),
                md5=layout.md5,
                remove_finished=True,
            )
            os.replace(unpacked / layout.folder, root / layout.folder)
        except (OSError, RuntimeError, EOFError, tarfile.TarError, zlib.error) as error:
            raise UserError(
                f"{SERVER}{layout.archive} cannot be downloaded ({one_line(error)}); put "
                f"train.parquet and test.parquet of the hub's {layout.hub} into a folder and set "
                f"{key}.root=FOLDER, or run once on a machine with network"
            ) from error
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def _existing(path: Path) -> Path:
    """Return the path if it is a file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; delete {path.parent} and get it again")
    return path


def _read_binary(path: Path, layout: Binary, classes: int) -> Arrays:
    """Read one file of records: label bytes, then the red, the green and the blue pixels."""
    content = np.fromfile(_existing(path), np.uint8)
    length = layout.label_bytes + PIXELS
    if not len(content) or len(content) % length:
        raise UserError(
            f"{path}: {len(content)} bytes are not whole records of {length}, so the file was cut; "
            f"delete {path.parent} and get it again"
        )
    records = content.reshape(-1, length)
    labels = records[:, layout.label_bytes - 1].astype(np.int64)
    check_labels(path, labels, classes, 0)
    return Arrays(records[:, layout.label_bytes :].reshape(-1, 3, SIDE, SIDE), labels, ())
