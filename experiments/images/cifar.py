"""CIFAR-10 and CIFAR-100, from the hub's parquet files or the authors' binary files.

Of the authors' files only the binary version is read: the other one consists of pickles, which run
code when read.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.external.downloads import Unavailable, web_file
from experiments.external.hub import hub_file
from experiments.frame.errors import UserError, one_line
from experiments.frame.files import file_digest, read_lines
from experiments.frame.stopping import locked
from experiments.images import parquet
from experiments.images.arrays import (
    SPLITS,
    Arrays,
    Split,
    check_classes,
    check_labels,
)
from experiments.images.options import ImageDataset

SERVER = "https://www.cs.toronto.edu/~kriz/"
SIDE = 32
PIXELS = 3 * SIDE * SIDE
#: The file of class names, beside parquet files without class names.
NAMES = "classes.txt"


class Layout(NamedTuple):
    """Source and file layout of a data set.

    Attributes:
        archive: Name of the archive on the server.
        md5: MD5 of the archive.
        folder: Folder inside the archive.
        files: Files by split, in order.
        names: The file with the names of the classes.
        label_bytes: Bytes of an image's record before its pixels; the last is the label.
        hub: Name of the data set on the hub.
        hub_folder: The folder of its parquet files there.
    """

    archive: str
    md5: str
    folder: str
    files: dict[Split, tuple[str, ...]]
    names: str
    label_bytes: int
    hub: str
    hub_folder: str

    @property
    def inside(self) -> tuple[str, ...]:
        """Subfolders of the data folder that may hold parquet files."""
        return "data", self.hub_folder, "default"

    def hub_path(self, split: str) -> str:
        """Return the path of a split on the hub."""
        return f"{self.hub_folder}/{split}-00000-of-00001.parquet"


LAYOUTS = {
    "cifar10": Layout(
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
        hub_folder="plain_text",
    ),
    "cifar100": Layout(
        archive="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        folder="cifar-100-binary",
        files={"train": ("train.bin",), "test": ("test.bin",)},
        names="fine_label_names.txt",
        label_bytes=2,
        hub="uoft-cs/cifar100",
        hub_folder="cifar100",
    ),
}


def read(config: ImageDataset, split: Split) -> Arrays:
    """Read one split; download it first if ``root`` is None and it is missing.

    Args:
        config: The data set, of kind cifar10 or cifar100.
        split: Which part.

    Returns:
        The images in the order of the files.

    Raises:
        UserError: If the files are missing, damaged or do not fit the configuration.
    """
    root = _root(config)
    files = _parquet_files(config, root, (split,))
    if files is not None:
        return parquet.read(config, files[0], root / NAMES)
    folder, layout = _binary_folder(config, root), LAYOUTS[config.kind]
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
    """Return the digests of the files of some splits; download missing files as in `read`.

    Raises:
        UserError: As `read` does if the files are missing.
    """
    root = _root(config)
    files = _parquet_files(config, root, splits)
    if files is not None:
        extra = [root / NAMES] if (root / NAMES).is_file() else []
    else:
        layout, folder = LAYOUTS[config.kind], _binary_folder(config, root)
        files = [[_existing(folder / name) for name in layout.files[split]] for split in splits]
        extra = [_existing(folder / layout.names)]
    return [[file_digest(path) for path in group] for group in [*files, extra]]


def _root(config: ImageDataset) -> Path:
    if config.root is None:
        return Path("data") / config.name
    if not Path(config.root).is_dir():
        raise UserError(f"{config.key}.root={config.root}: no such folder")
    return Path(config.root)


def fetch(config: ImageDataset) -> None:
    """Fetch CIFAR if ``root`` is None and it is missing; other data sets are not fetched.

    Raises:
        UserError: If it cannot be fetched.
        Interrupted: If the process was asked to stop during the download.
    """
    if config.kind in LAYOUTS:
        _parquet_files(config, _root(config), SPLITS)


def _parquet_files(
    config: ImageDataset, root: Path, splits: tuple[Split, ...]
) -> list[list[Path]] | None:
    """Return the parquet files of some splits, or None if the binary version is used.

    A download may bring either: the hub has the former, and the authors' server the latter.
    """
    layout = LAYOUTS[config.kind]
    if any(parquet.find(root, layout.inside, split) for split in SPLITS):
        return [parquet.existing(root, layout.inside, split) for split in splits]
    if config.root is not None or _unpacked(root, layout) is not None:
        return None
    try:
        paths = [hub_file(layout.hub, layout.hub_path(x), kind="dataset").path for x in splits]
    except Unavailable as error:
        _download(layout, root, config.key, error)
        return None
    return [[path] for path in paths]


def _unpacked(root: Path, layout: Layout) -> Path | None:
    """Return the folder with the binary files, or None if there is none."""
    if (root / layout.names).is_file():
        return root
    folder = root / layout.folder
    return folder if folder.is_dir() else None


def _binary_folder(config: ImageDataset, root: Path) -> Path:
    """Return the folder with the binary files."""
    layout = LAYOUTS[config.kind]
    found = _unpacked(root, layout)
    if found is None:
        raise UserError(
            f"{config.key}.root={root}: has neither {layout.hub_path('train')} and its like "
            f"(`{_by_hand(layout, root)}` fetches them) nor {layout.folder} (of "
            f"{SERVER}{layout.archive}); put one of them there, or leave {config.key}.root out to "
            "download"
        )
    return found


def _by_hand(layout: Layout, folder: object) -> str:
    """Return the shell command that fetches the hub's files."""
    return f"hf download {layout.hub} --repo-type dataset --local-dir {folder}"


def _download(layout: Layout, root: Path, key: str, before: Unavailable) -> None:
    """Download the binary version; of several processes one downloads and the others wait."""
    archive, address = root / layout.archive, SERVER + layout.archive
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / ".download.lock"):
            if _unpacked(root, layout) is None:
                _unpack(web_file(address, archive, digests={"md5": layout.md5}), layout)
    except Unavailable as error:
        raise UserError(
            f"{layout.hub} cannot be fetched from the hub ({before.reason}), nor {address} "
            f"({error.reason}); where there is network run `{_by_hand(layout, 'FOLDER')}` or "
            f"unpack that archive into FOLDER, and give {key}.root=FOLDER"
        ) from error
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"{archive}: cannot be unpacked ({one_line(error)})") from error


def _unpack(archive: Path, layout: Layout) -> None:
    """Unpack the binary version beside its archive, atomically."""
    unpacked = archive.with_name(f".{layout.folder}-{os.getpid()}")
    try:
        with tarfile.open(archive) as content:
            content.extractall(unpacked, filter="data")
        os.replace(unpacked / layout.folder, archive.with_name(layout.folder))
        archive.unlink()
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _existing(path: Path) -> Path:
    """Return the path if it is a file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; delete {path.parent} and get it again")
    return path


def _read_binary(path: Path, layout: Layout, classes: int) -> Arrays:
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
