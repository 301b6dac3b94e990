"""Images of any size, one folder per class: ``root/train/<class>/*``, ``root/test/<class>/*``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from experiments.errors import UserError
from experiments.images.arrays import BAD_IMAGE, Arrays, Split, check_classes, file_digest
from experiments.images.sections import ImageDataset

#: Other files in a class's folder are not looked at.
ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"}
EXPECTED = "expected train/<class>/* and test/<class>/* (or val/<class>/*)"


class Listing(NamedTuple):
    """The images of a split: the classes by name, and the files of each class, in order."""

    root: Path
    classes: tuple[str, ...]
    files: list[list[Path]]


def read(config: ImageDataset, split: Split) -> Arrays:
    """Decode one split; every image fills a square of ``config.size`` pixels.

    The shorter side is resized to it (bicubic, with antialiasing), and the middle is cut out.
    Images are turned as their EXIF orientation says, grey ones get three equal channels, and
    transparency is dropped.

    Args:
        config: The data set, of kind folder.
        split: Which part.

    Returns:
        The images, class after class.

    Raises:
        UserError: If folders are missing or empty, the classes do not fit, or an image is damaged.
    """
    listing = _list(config, split)
    files = [path for members in listing.files for path in members]
    pixels = np.empty((len(files), 3, config.size, config.size), np.uint8)
    for index, path in enumerate(files):
        pixels[index] = _decode(path, config.size)
    counts = [len(members) for members in listing.files]
    labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return Arrays(pixels, labels, listing.classes)


def facts(config: ImageDataset, splits: tuple[Split, ...]) -> list[object]:
    """Return the paths and SHA-256 digests of the images of some splits, sorted.

    Raises:
        UserError: As `read` does if folders are missing or empty or the classes do not fit.
    """
    found: list[object] = [config.size]
    for split in splits:
        listing = _list(config, split)
        files = sorted(path for members in listing.files for path in members)
        digests = [[p.relative_to(listing.root).as_posix(), file_digest(p)] for p in files]
        found.append([split, digests])
    return found


def _list(config: ImageDataset, split: Split) -> Listing:
    """Find the images of a split and check that its classes are those that are expected."""
    if config.root is None:
        raise UserError(f"dataset={config.name} needs dataset.root=FOLDER; {EXPECTED} there")
    root = Path(config.root)
    if not root.is_dir():
        raise UserError(f"dataset.root={root}: no such folder; {EXPECTED} there")
    base = _split_folder(root, split)
    classes = _class_folders(base)
    if not classes:
        raise UserError(f"{base}: has no folders; {EXPECTED} in {root}")
    check_classes(base, classes, config.classes)
    _check_same(root, base, classes)
    files = [_images(base / name) for name in classes]
    for name, members in zip(classes, files, strict=True):
        if not members:
            raise UserError(
                f"{base / name}: has no images ({' '.join(sorted(ENDINGS))}); add some or remove it"
            )
    return Listing(base, classes, files)


def _split_folder(root: Path, split: Split) -> Path:
    """Return the folder of a split; the test split may be called val."""
    names = ("test", "val") if split == "test" else (split,)
    for name in names:
        if (root / name).is_dir():
            return root / name
    found = ", ".join(_class_folders(root)[:5]) or "no folders"
    raise UserError(f"{root}: has no folder {' or '.join(names)}; {EXPECTED}, found: {found}")


def _class_folders(base: Path) -> tuple[str, ...]:
    folders = (path.name for path in base.iterdir() if path.is_dir())
    return tuple(sorted(name for name in folders if not name.startswith(".")))


def _check_same(root: Path, base: Path, classes: tuple[str, ...]) -> None:
    """Refuse a test split with other classes than the training split, if there is one."""
    train = root / "train"
    if train.is_dir() and (odd := set(_class_folders(train)) ^ set(classes)):
        raise UserError(
            f"{base}: its classes are not those of {train}; only one has: {', '.join(sorted(odd))}"
        )


def _images(folder: Path) -> list[Path]:
    """Return the images of a class, in folders inside its folder too."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    )


def _decode(path: Path, size: int) -> UInt8[np.ndarray, "3 size size"]:
    """Return an image, resized and cut to a square."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except BAD_IMAGE as error:
        raise UserError(f"{path}: is not a whole image; replace or remove it") from error
    width, height = image.size
    short = min(width, height)
    wide, high = size * width // short, size * height // short
    image = image.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = round((wide - size) / 2), round((high - size) / 2)
    square = image.crop((left, top, left + size, top + size))
    return np.asarray(square).transpose(2, 0, 1)
