"""The configuration section of an image data set; values are in conf/dataset/."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from experiments.schema import at_least, how, one_of

KINDS = ("cifar10", "cifar100", "folder", "pictograms")
ALPHABETS = ("letters", "symbols")


def _count(minimum: int) -> Any:
    """Declare a whole number that only pictograms have, with its least value."""
    return field(default=None, metadata={"minimum": minimum})


@dataclass
class ImageDataset:
    """A data set of labelled square colour images, with a training and a test split.

    Attributes:
        name: Of the data set.
        task: The tasks that use it.
        kind: What the files are: CIFAR as parquet or binary files, a folder of images per class, or
            pictograms, which are drawn and need no files.
        root: The folder that holds the data. None: ``data/<name>`` under the current directory,
            where CIFAR is downloaded if it is not there.
        classes: Number of classes.
        size: Height and width in pixels.
        groups: The groups that act.
        alphabet: Of pictograms: what is drawn.
        per_class_train: Of pictograms: training images of each class.
        per_class_test: Of pictograms: test images of each class.
        seed: Of pictograms: seed of all images, apart from the run's seed.
        key: What the user types before ``.root``, for messages.
    """

    name: str = MISSING
    task: list[str] = field(default=MISSING, metadata={"how": True})
    kind: str = one_of(*KINDS)
    root: str | None = how(None)
    classes: int = at_least(2)
    size: int = at_least(8)
    groups: list[str] = field(default=MISSING, metadata={"how": True})
    alphabet: str | None = field(default=None, metadata={"choices": ALPHABETS})
    per_class_train: int | None = _count(1)
    per_class_test: int | None = _count(1)
    seed: int | None = _count(0)
    key: str = how("dataset")
