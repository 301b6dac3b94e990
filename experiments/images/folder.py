"""Images of any size, one folder per class: ``root/train/<class>/*``, ``root/test/<class>/*``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, ImageOps, TiffImagePlugin

from experiments.frame.errors import UserError
from experiments.frame.files import file_digest
from experiments.images.arrays import BAD_IMAGE, Split, check_classes
from experiments.images.options import ImageDataset

#: Suffixes of images; other files in a class folder are ignored.
ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"}
#: Version of decoding, raised when pixels change; 2: images of 16 bits are scaled.
DECODING = 2
#: Modes of Pillow that convert to red, green and blue without loss of range.
_BYTES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"}
#: TIFF tags: bits per sample, photometric interpretation (black or white is 0), sample format.
_BITS, _PHOTOMETRIC, _KIND = 258, 262, 339
#: Sample formats of TIFF that are refused: Pillow wraps signed numbers of 8 bits.
_KINDS = {2: "signed", 3: "floating-point"}
EXPECTED = "expected train/<class>/* and test/<class>/* (or val/<class>/*)"


class Listing(NamedTuple):
    """The images of a split, ordered by class.

    Attributes:
        root: The folder that holds the folders of the classes.
        classes: Names of these folders, in the order of the labels.
        files: The n images.
        labels: Indices into ``classes``, [n].
    """

    root: Path
    classes: tuple[str, ...]
    files: list[Path]
    labels: Int64[np.ndarray, " n"]


def find(config: ImageDataset, split: Split) -> Listing:
    """List the images of a split and check its classes against the configuration.

    Args:
        config: The data set, of kind folder.
        split: The split.

    Returns:
        The classes by name, and their images by path.

    Raises:
        UserError: If folders are missing or empty, or the classes do not fit.
    """
    root = existing_root(config, EXPECTED)
    base = _split_folder(root, split)
    classes = class_folders(base)
    if not classes:
        raise UserError(f"{base}: has no folders; {EXPECTED} in {root}")
    check_classes(base, classes, config.classes)
    _check_same(root, base, classes)
    return list_images(base, classes, "add some or remove it")


def decode(files: list[Path], size: int) -> UInt8[np.ndarray, "n 3 size size"]:
    """Decode images to squares of ``size`` pixels.

    The shorter side is resized to it (bicubic, with antialiasing), and the centre is cropped.
    The EXIF orientation is applied, grey images get three equal channels, those of
    16 bits are scaled to 8, and transparency is dropped.

    Args:
        files: The n images.
        size: Height and width.

    Raises:
        UserError: As `open_image`.
    """
    pixels = np.empty((len(files), 3, size, size), np.uint8)
    for index, path in enumerate(files):
        pixels[index] = _decode(path, size)
    return pixels


def digests(listing: Listing) -> list[list[str]]:
    """Return the paths under the root and the SHA-256 of the images, sorted by path."""
    root = listing.root
    return [[p.relative_to(root).as_posix(), file_digest(p)] for p in sorted(listing.files)]


def existing_root(config: ImageDataset, expected: str) -> Path:
    """Return the folder that a data set needs.

    Args:
        config: The data set.
        expected: The required content, for messages.

    Raises:
        UserError: If none is given or there is no such folder.
    """
    if config.root is None:
        raise UserError(f"dataset={config.name} needs {config.key}.root=FOLDER; {expected} there")
    if not Path(config.root).is_dir():
        raise UserError(f"{config.key}.root={config.root}: no such folder; {expected} there")
    return Path(config.root)


def class_folders(base: Path) -> tuple[str, ...]:
    """Return the sorted names of the subfolders, without hidden ones."""
    folders = (path.name for path in base.iterdir() if path.is_dir())
    return tuple(sorted(name for name in folders if not name.startswith(".")))


def list_images(base: Path, classes: tuple[str, ...], advice: str) -> Listing:
    """List the images in the folders of some classes.

    Args:
        base: The folder that holds them.
        classes: Their names, in the order of the labels.
        advice: Advice about a folder without images.

    Raises:
        UserError: If a folder has no images.
    """
    members = [_images(base / name) for name in classes]
    for name, found in zip(classes, members, strict=True):
        if not found:
            endings = " ".join(sorted(ENDINGS))
            raise UserError(f"{base / name}: has no images ({endings}); {advice}")
    labels = np.repeat(np.arange(len(members), dtype=np.int64), [len(m) for m in members])
    return Listing(base, classes, [path for found in members for path in found], labels)


def _split_folder(root: Path, split: Split) -> Path:
    """Return the folder of a split; the test split may be called val."""
    names = ("test", "val") if split == "test" else (split,)
    for name in names:
        if (root / name).is_dir():
            return root / name
    found = ", ".join(class_folders(root)[:5]) or "no folders"
    raise UserError(f"{root}: has no folder {' or '.join(names)}; {EXPECTED}, found: {found}")


def _check_same(root: Path, base: Path, classes: tuple[str, ...]) -> None:
    """Refuse a test split with other classes than the training split, if there is one."""
    train = root / "train"
    if train.is_dir() and (odd := set(class_folders(train)) ^ set(classes)):
        raise UserError(
            f"{base}: its classes are not those of {train}; only one has: {', '.join(sorted(odd))}"
        )


def _images(folder: Path) -> list[Path]:
    """Return the images of a class, including those in subfolders."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    )


def open_image(path: Path) -> Image.Image:
    """Return an image, upright, in red, green and blue.

    Raises:
        UserError: If it is damaged, or its range of values is unknown; one line that names
            the file.
    """
    try:
        with Image.open(path) as opened:
            if opened.mode == "L" and (kind := _strange(getattr(opened, "tag_v2", {}))):
                raise UserError(_unknown_white(path, kind))
            upright = ImageOps.exif_transpose(opened)
            # Pillow reads a PGM of more than 8 bits as wider integers, scaled to 16 bits.
            if upright.mode.startswith("I;16") or (upright.mode, opened.format) == ("I", "PPM"):
                grey = np.asarray(upright).astype(np.float64) / _white(opened) * 255
                grey = 255 - grey if _is_inverted(opened) else grey
                return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
            if upright.mode in _BYTES:
                return upright.convert("RGB")
            raise UserError(_unknown_white(path, f"of Pillow's mode {upright.mode}"))
    except BAD_IMAGE as error:
        if kind := _strange(_tags(path)):
            raise UserError(_unknown_white(path, kind)) from error
        raise UserError(f"{path}: is not a whole image; replace or remove it") from error


def _unknown_white(path: Path, what: str) -> str:
    return (
        f"{path}: its pixels are {what}, whose black and white are not known; save it with "
        "unsigned numbers of 8 or 16 bits"
    )


def _strange(tags: Mapping[int, Any]) -> str:
    """Return the sample format of a TIFF; "" for unsigned integers."""
    kind = _KINDS.get(int(np.max(tags.get(_KIND, 1))))
    return f"{kind} numbers of {np.max(tags.get(_BITS, 1))} bits" if kind else ""


def _tags(path: Path) -> Mapping[int, Any]:
    """Return the tags of a TIFF that Pillow cannot decode; empty for other files."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(8)
            head += stream.read(8) if head[2:3] == b"+" else b""  # BigTIFF
            tags = TiffImagePlugin.ImageFileDirectory_v2(head)
            stream.seek(tags.next)
            tags.load(stream)
            return dict(tags)
    except BAD_IMAGE:
        return {}


def _white(image: Image.Image) -> int:
    """Return the value of white in an image of up to 16 bits, as a TIFF may have fewer."""
    tags = getattr(image, "tag_v2", None) or {}
    bits = int(np.max(tags.get(_BITS, 16)))
    return int(2**bits - 1) if 8 < bits < 16 else 65535


def _is_inverted(image: Image.Image) -> bool:
    """Whether the smallest value is white, which Pillow ignores beyond 8 bits."""
    return (getattr(image, "tag_v2", None) or {}).get(_PHOTOMETRIC) == 0


def fill_square(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """Return a square image: shorter side resized, centre cropped."""
    width, height = image.size
    short = min(width, height)
    wide, high = size * width // short, size * height // short
    resized = image.resize((wide, high), resample)
    left, top = round((wide - size) / 2), round((high - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def _decode(path: Path, size: int) -> UInt8[np.ndarray, "3 size size"]:
    """Return an image, resized and cropped to a square."""
    square = fill_square(open_image(path), size, Image.Resampling.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)
