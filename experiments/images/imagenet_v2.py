"""ImageNet-V2 (Recht et al., 2019), matched frequency: a test set in one numbered folder per class.

The folder's number is the label. Nothing is downloaded: the user brings the archive, which is
unpacked once, or the folders.
"""

from __future__ import annotations

import logging
import lzma
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from experiments.frame.errors import UserError, one_line
from experiments.frame.stopping import locked
from experiments.images.arrays import Split
from experiments.images.folder import Listing, class_folders, existing_root, list_images
from experiments.images.options import ImageDataset

log = logging.getLogger(__name__)

HUB = "vaishaal/ImageNetV2"
ARCHIVE = "imagenetv2-matched-frequency.tar.gz"
#: Folder inside the archive.
FOLDER = "imagenetv2-matched-frequency-format-val"
EXPECTED = f"expected {ARCHIVE} of the hub's data set {HUB}, or its folders 0, 1, 2, ...,"

#: Errors of Python for a file that is not an archive, or is truncated.
BAD_ARCHIVE = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
)


def find(config: ImageDataset, split: Split) -> Listing:
    """List the images; unpack the archive first if needed.

    Args:
        config: The data set, of kind imagenet_v2.
        split: ``test``; there are no training images.

    Returns:
        The images by path; class i is the folder named i.

    Raises:
        UserError: If the training split is asked for, the data are missing, a folder is missing,
            empty or one too many, or the archive is damaged or would write outside its folder.
    """
    if split != "test":
        raise UserError(
            f"dataset={config.name} has only a test split; choose another data set to train on"
        )
    base = _numbered(config)
    names = tuple(str(number) for number in range(config.classes))
    found = set(class_folders(base))
    expected = f"expected 0 to {config.classes - 1} (dataset.classes={config.classes})"
    if odd := sorted(found.difference(names)):
        raise UserError(f"{base}: folder {odd[0]} is no class, {expected}; move it elsewhere")
    if missing := [name for name in names if name not in found]:
        raise UserError(f"{base}: has no folder {missing[0]}, {expected}; unpack {ARCHIVE} again")
    return list_images(base, names, f"unpack {ARCHIVE} again")


def _numbered(config: ImageDataset) -> Path:
    """Return the folder with the numbered folders; unpack the archive if needed."""
    root = existing_root(config, EXPECTED)
    if not (root / FOLDER).is_dir():
        folders = class_folders(root)
        if any(name.isdecimal() for name in folders):
            return root
        if not (root / ARCHIVE).is_file():
            found = ", ".join(folders[:5]) or "no folders"
            raise UserError(f"{root}: has no images; {EXPECTED} there, found: {found}")
        _unpack(root)
    return root / FOLDER


def _unpack(root: Path) -> None:
    """Unpack the archive beside itself; of several processes one does it and the others wait."""
    archive, partial = root / ARCHIVE, root / f".{FOLDER}.partial"
    try:
        with locked(root / ".unpack.lock"):
            if (root / FOLDER).is_dir():
                return
            log.info("unpacking %s", archive)
            shutil.rmtree(partial, ignore_errors=True)  # left by a killed process
            partial.mkdir()
            try:
                with tarfile.open(archive) as content:
                    content.extractall(partial, filter=_only_inside)
                if not (partial / FOLDER).is_dir():
                    raise tarfile.TarError(f"has no folder {FOLDER}")
                os.replace(partial / FOLDER, root / FOLDER)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except BAD_ARCHIVE as error:
        raise UserError(
            f"{archive}: cannot be unpacked ({one_line(error)}); get it again from the hub's data "
            f"set {HUB}"
        ) from error


def _only_inside(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Refuse all members but files and folders inside the target; then apply the filter "data".

    That filter alone would remove a leading slash, and its old versions can be led outside by
    links.
    """
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise tarfile.FilterError(f"{member.name!r} would be outside its folder")
    if not (member.isfile() or member.isdir()):
        raise tarfile.FilterError(f"{member.name!r} is neither a file nor a folder")
    return tarfile.data_filter(member, folder)
