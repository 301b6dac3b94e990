"""The configuration sections of the CNN task: which keys exist and of which type."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from experiments.frame.fields import at_least, between, how, in_rows, one_of, only_for
from experiments.frame.options import GroupConfig, RunConfig
from experiments.images.options import ImageDataset, TrainingRecipe
from experiments.images.symmetries import TRANSFORMS

TRAININGS = ("none", "probe", "all")
LOSSES = ("max_probability", "entropy", "energy", "reversed_max_probability")
STRAIGHT_THROUGH = ("mean", "identity")


@dataclass
class PretrainRecipe(TrainingRecipe):
    """Recipe of training a backbone as a classifier."""

    momentum: float = between(0, 1, below=True)
    label_smoothing: float = between(0, 1, below=True)


@dataclass
class ProbeRecipe:
    """Recipe of training the last two layers, and lambda, on the data set."""

    epochs: int = at_least(1)
    batch_size: int = at_least(1)
    learning_rate: float = at_least(0, above=True)
    momentum: float = between(0, 1, below=True)
    validation: float = between(0, 1, below=True)


@dataclass
class CnnTask:
    """Section ``task``."""

    name: str = MISSING
    training: str = one_of(*TRAININGS)
    transform: str = one_of(*TRANSFORMS)
    evaluate_on: str = one_of("test", "train")
    batch_norm: str = one_of("frozen", "train")
    max_images: int | None = at_least(2)
    selection: str | None = one_of("validation", "evaluation", "last")
    loss: str | None = only_for("needs_loss", one_of(*LOSSES))
    straight_through: str | None = only_for("needs_loss", one_of(*STRAIGHT_THROUGH), required=False)
    lambda_relus: int | None = only_for("needs_net", at_least(0), required=False)
    lambda_training: str | None = only_for("needs_net", one_of("joint", "separate"), required=False)
    over_equitune: bool = in_rows()
    held_out: float | None = only_for("is_fitted", between(0, 1, below=True), required=False)
    probe: ProbeRecipe | None = field(default_factory=ProbeRecipe)
    pretrain: PretrainRecipe | None = field(default_factory=PretrainRecipe)
    pretrain_seed: int | None = between(0, 2**32 - 1)
    feature_batch: int = how(minimum=1)


@dataclass
class CnnModel:
    """Section ``model``: the network, its weights and its preprocessing.

    Attributes:
        name: Name of the option.
        task: The task that uses it.
        architecture: ``cifar:NAME``, ``torchvision:NAME``, ``timm:NAME`` or ``module:function``.
        weights: ``ours``, trained by stage=pretrain, or ``imagenet``, published ones.
        checkpoint: A file of weights, used instead of ``weights``.
        revision: The hub commit of timm's file; None: the newest.
        sha256: SHA-256 of the published file; None: as its name or the hub says.
        local: A local copy of the published file; the run name is the same.
        size: Height and width of its input images, in pixels.
        mean: Subtracted from each channel of values in [0, 1].
        std: Standard deviation of each channel, which divides them.
    """

    name: str = MISSING
    task: str = MISSING
    architecture: str = MISSING
    weights: str = one_of("ours", "imagenet")
    checkpoint: str | None = how(default=None)
    revision: str | None = None
    sha256: str | None = how(default=None)
    local: str | None = how(default=None)
    size: int = at_least(8)
    mean: list[float] = MISSING
    std: list[float] = MISSING


def is_own(architecture: str) -> bool:
    """Whether an architecture is a user's function, ``module:function``."""
    family, colon, _ = architecture.partition(":")
    return bool(colon) and family not in ("cifar", "torchvision", "timm")


#: The configuration of a run of this task.
CnnConfig = RunConfig[CnnTask, CnnModel, ImageDataset, GroupConfig]
