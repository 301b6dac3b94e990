"""The configuration section of an image data set; values are in conf/dataset/."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from experiments.frame.fields import PRECISIONS, at_least, between, how, of_machine, one_of
from experiments.images.symmetries import SYMMETRIES

KINDS = ("cifar10", "cifar100", "folder", "imagenet_v2", "pictograms")
ALPHABETS = ("letters", "symbols")


def _count(minimum: int) -> Any:
    """Declare an integer option of pictograms, with its lower bound."""
    return field(default=None, metadata={"minimum": minimum})


@dataclass
class ImageDataset:
    """A data set of labelled square colour images, with a training and a test split.

    Attributes:
        name: Name of the data set.
        task: The tasks that use it.
        kind: What the files are: CIFAR as parquet or binary files, a folder of images per class,
            ImageNet-V2 with its numbered folders or its archive, or pictograms, which are drawn and
            need no files.
        root: The folder that holds the data. None: ``data/<name>`` under the current directory, or
            for CIFAR the cache of the hub, or a download.
        classes: Number of classes.
        size: Height and width in pixels.
        groups: The groups that act; by default all.
        alphabet: Pictograms: the alphabet that is drawn.
        per_class_train: Pictograms: training images per class.
        per_class_test: Pictograms: test images per class.
        seed: Pictograms: seed of all images, independent of the run's seed.
        prompts: Templates of CLIP's captions, one of those in conf/prompts/ or a file.
        class_names: A file with the class names for CLIP, one per line; ``imagenet``: the 1000
            curated names. None: the names in the data.
        key: The option's prefix before ``.root``, for messages.
    """

    name: str = MISSING
    task: list[str] = field(default=MISSING, metadata={"how": True})
    kind: str = one_of(*KINDS)
    root: str | None = how(None)
    classes: int = at_least(2)
    size: int = at_least(8)
    groups: list[str] = field(default_factory=lambda: [*SYMMETRIES], metadata={"how": True})
    alphabet: str | None = field(default=None, metadata={"choices": ALPHABETS})
    per_class_train: int | None = _count(1)
    per_class_test: int | None = _count(1)
    seed: int | None = _count(0)
    prompts: str | None = None
    class_names: str | None = None
    key: str = how("dataset")


@dataclass
class TrainingRecipe:
    """The recipe of the suite's training on upright images.

    Attributes:
        dataset: The training data set.
        root: As ``dataset.root``, of that data set.
        epochs: Passes over its training images.
        batch_size: Images per step.
        learning_rate: The highest rate, after a linear warm-up and before a cosine to zero.
        warmup: Share of the steps for the warm-up.
        weight_decay: Weight decay of the optimiser.
        crop: Largest random shift, in pixels.
        mirror: Whether half of the images are mirrored.
        precision: Precision of matrix products.
    """

    dataset: str = MISSING
    root: str | None = how(default=None)
    epochs: int = at_least(1)
    batch_size: int = at_least(1)
    learning_rate: float = at_least(0, above=True)
    warmup: float = between(0, 1, below=True)
    weight_decay: float = at_least(0)
    crop: int = at_least(0)
    mirror: bool = MISSING
    precision: str = of_machine(*PRECISIONS)
