"""The configuration sections of the CLIP task: which keys exist and of which type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from experiments.frame.fields import (
    PRECISIONS,
    at_least,
    between,
    how,
    in_rows,
    of_machine,
    one_of,
    only_for,
)
from experiments.frame.options import GroupConfig, RunConfig
from experiments.images.options import ImageDataset, TrainingRecipe
from experiments.images.symmetries import TRANSFORMS

#: Kinds of data sets whose images have any shape and are decoded to the requested size.
FILES = ("folder", "imagenet_v2")
RESIZE_MODES = ("shortest", "longest", "squash")
LOSSES = ("similarity", "max_probability", "entropy", "energy")
SPACES = ("features", "logits", "probabilities")


@dataclass
class FinetuneRecipe:
    """Recipe of fine-tuning the image encoder (Section 5.2.1 and D.4)."""

    steps: int = at_least(1)
    every: int = at_least(1)
    batch_size: int = at_least(1)
    accumulate: int = how(minimum=1)
    learning_rate: float = at_least(0, above=True)
    momentum: float = between(0, 1, below=True)
    precision: str = of_machine(*PRECISIONS)


@dataclass
class ClipTask:
    """Section ``task``."""

    name: str = MISSING
    training: str = one_of("none", "image_encoder")
    transform: str = in_rows(choices=("auto", *TRANSFORMS))
    draw: str = one_of("every", "image", "batch")
    draw_batch: int | None = at_least(1)
    space: str = one_of(*SPACES)
    scale: float | None = at_least(0, above=True)
    loss: str | None = only_for("needs_loss", one_of(*LOSSES))
    maximum: str | None = only_for("needs_loss", one_of("one_view", "elementwise"))
    straight_through: str | None = only_for("needs_loss", one_of("mean", "identity"))
    lambda_as: str | None = only_for("needs_net", one_of("weight", "temperature"))
    lambda_relus: int | None = only_for("needs_net", at_least(0), required=False)
    lambda_dropout: str | None = only_for("needs_net", one_of("training", "always"))
    training_loss: str | None = field(
        default=None,
        metadata={"choices": ("cross_entropy", "cross_entropy_of_probabilities")},
    )
    training_images: int | None = at_least(2)
    lambda_images: int | None = only_for("needs_net", at_least(2), required=False)
    shuffle: bool | None = MISSING
    validation: float | None = between(0, 0.5)
    selection: str | None = one_of("validation", "train", "last")
    finetune: FinetuneRecipe | None = field(default_factory=FinetuneRecipe)
    pretrain: TrainingRecipe | None = field(default_factory=TrainingRecipe)
    max_images: int | None = at_least(2)
    timing_batch: int = at_least(1)
    timing_rounds: int = at_least(1)
    precision: str = of_machine(*PRECISIONS, departs=True)
    feature_batch: int = how(minimum=1)


@dataclass
class ClipModel:
    """Section ``model``: an open_clip model, its weights and its preprocessing.

    Attributes:
        name: Name of the option.
        task: The task that uses it.
        architecture: A name of open_clip; ``custom`` where ``config`` describes it.
        weights: A tag of open_clip, or ``ours``: trained by stage=pretrain.
        checkpoint: A file of weights, used instead of ``weights``.
        revision: The hub commit of the tag's file; None: the newest.
        sha256: SHA-256 of the tag's file; None: as the hub says.
        local: A local copy of the tag's file; the run name is the same as with the hub.
        size: Height and width of its input images, in pixels; None: as open_clip says.
        mean: Subtracted from each channel of values in [0, 1]; None: as open_clip says.
        std: Standard deviation of each channel, which divides them; None: as open_clip says.
        interpolation: How images are resized; None: as open_clip says.
        resize_mode: How images that are not square are made square; None: as open_clip says, or if
            the data are square.
        config: The arguments of `open_clip.CLIP`, of a custom architecture.
    """

    name: str = MISSING
    task: str = MISSING
    architecture: str = MISSING
    weights: str = MISSING
    checkpoint: str | None = how(default=None)
    revision: str | None = None
    sha256: str | None = how(default=None)
    local: str | None = how(default=None)
    size: int | None = at_least(8)
    mean: list[float] | None = MISSING
    std: list[float] | None = MISSING
    interpolation: str | None = one_of("bilinear", "bicubic")
    resize_mode: str | None = field(default=None, metadata={"choices": RESIZE_MODES})
    config: dict[str, Any] | None = None


def is_plain(data: ImageDataset, model: ClipModel) -> bool:
    """Whether images are decoded in the standard way: shorter side, centre crop, bicubic."""
    plain = (model.resize_mode, model.interpolation) == ("shortest", "bicubic")
    return plain or data.kind not in FILES


#: The configuration of a run of this task.
ClipConfig = RunConfig[ClipTask, ClipModel, ImageDataset, GroupConfig]
