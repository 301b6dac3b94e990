"""Fingerprints of the CLIP stages: the options that decide their numbers; part of run names."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.clip.options import is_plain
from experiments.clip.prompts import IMAGENET, imagenet_names, templates
from experiments.frame.fields import given
from experiments.frame.files import digest, file_digest, sha256
from experiments.frame.stages import built_on
from experiments.frame.variant import deciding, variant
from experiments.images.arrays import Split
from experiments.images.config import features_of, is_ours, pretraining_data, trained_as
from experiments.images.sets import fingerprint
from experiments.images.symmetries import smallest

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig
    from experiments.images.options import ImageDataset

#: The result version of each stage, raised whenever a change of code alters its numbers.
VERSIONS = {
    "pretrain": 1,
    "text": 1,
    "features": 1,
    "lambda": 2,
    "finetune": 1,
    "evaluate": 1,
    "timing": 2,
    "continuity": 1,
}
#: Default batch size of an evaluation that draws one transform per batch.
_DRAW_BATCH = 32


def weights_identity(config: ClipConfig) -> dict[str, Any]:
    """Return the options that decide the model's weights."""
    model = config.model
    if is_ours(config):
        return {"pretrained_by": built_on(VERSIONS["pretrain"], pretrain_identity(config))}
    from experiments.clip.checkpoints import identity

    given = model.checkpoint and {"checkpoint": file_digest(Path(model.checkpoint))}
    return {
        "architecture": model.architecture,
        "config": model.config,
        "tag": model.weights,
        **(given or {}),
        **identity(model),
    }


def pretrain_identity(config: ClipConfig) -> dict[str, Any]:
    """Return the options that decide a CLIP that the suite trains."""
    data = pretraining_data(config)
    return {
        "data": fingerprint(data),
        "words": _words(data),
        "seed": config.seed,
        "recipe": deciding(config.task.pretrain),
        **_seen(config, data),
        "architecture": config.model.architecture,
        "config": config.model.config,
    }


def _seen(config: ClipConfig, data: ImageDataset) -> dict[str, Any]:
    """Return the preprocessing options that differ between models."""
    model = config.model
    seen = {name: getattr(model, name) for name in ("size", "mean", "std", "interpolation")}
    if model.interpolation == "bilinear":
        seen["rounded"] = True
    return seen if is_plain(data, model) else seen | {"resize_mode": model.resize_mode}


def _words(data: ImageDataset) -> dict[str, Any]:
    """Return the options that decide the captions, except class names taken from the data."""
    names = data.class_names
    if names == IMAGENET:
        names = digest("\n".join(imagenet_names()))
    elif names is not None and Path(names).is_file():
        names = sha256(Path(names))
    return {"templates": digest("\n".join(templates(data)))[:16], "class_names": names}


def text_identity(config: ClipConfig) -> dict[str, Any]:
    """Return the options that decide the text classifier."""
    return {
        "weights": weights_identity(config),
        "words": _words(config.dataset),
        "data": fingerprint(config.dataset, ("test",)),
        "dataset": config.dataset.name,
        "classes": config.dataset.classes,
        "precision": config.task.precision,
    }


def features_identity(config: ClipConfig, split: Split) -> dict[str, Any]:
    """Return the options that decide the features of a split."""
    seen = _seen(config, config.dataset)
    identity = features_of(config, split, weights_identity(config), seen, views(config))
    return identity | {"precision": config.task.precision}


def views(config: ClipConfig) -> str:
    """Return the name of the group whose orbit is computed."""
    return smallest(config.group.name, config.task.transform)


def _read(config: ClipConfig, split: Split) -> dict[str, Any]:
    """Return the fingerprint of the features and text that are read of a split."""
    return {
        "features": built_on(VERSIONS["features"], features_identity(config, split)),
        "text": built_on(VERSIONS["text"], text_identity(config)),
    }


def _rule(config: ClipConfig) -> dict[str, Any]:
    """Return the options that decide how views become scores."""
    task = config.task
    return {
        "method": config.method.name,
        "group": config.group.name,
        "transform": task.transform,
        "space": task.space,
        "scale": task.scale,
        "loss": task.loss,
        "maximum": task.maximum,
        "lambda_as": task.lambda_as,
        **({"options": own} if (own := config.method.own_options()) else {}),
    }


def _learned(config: ClipConfig) -> dict[str, Any]:
    """Return the options that decide all training on images: of lambda, and fine-tuning.

    Options that the training does not read have their default values, so that run names are stable.
    """
    task, net = config.task, config.method.lambda_net
    by_batch = task.draw == "batch"
    drops = net is not None and net.dropout > 0
    return {
        **_read(config, "train"),
        **_rule(config),
        "seed": config.seed,
        # One transform per image, or one per training batch.
        "draw": "batch" if by_batch else "every",
        "draw_batch": _DRAW_BATCH if by_batch else None,
        "training_loss": task.training_loss,
        "shuffle": task.shuffle,
        "validation": task.validation,
        "lambda_dropout": task.lambda_dropout if drops or net is None else "training",
        "selection": task.selection,
    }


def lambda_identity(config: ClipConfig) -> dict[str, Any]:
    """Return the options that decide lambda."""
    net, relus = config.method.lambda_net, config.task.lambda_relus
    return {
        **_learned(config),
        # None stands for all hidden layers.
        "lambda_relus": None if net is not None and relus == net.depth - 1 else relus,
        "lambda_images": config.task.lambda_images,
        "lambda_net": net and deciding(net),
    }


def finetune_identity(config: ClipConfig) -> dict[str, Any]:
    """Return the options that decide a fine-tuned image encoder."""
    task = config.task
    return {
        **_learned(config),
        "selection": _judged_by(config),
        "training_images": task.training_images,
        "straight_through": task.straight_through,
        "recipe": task.finetune and deciding(task.finetune),
        "weighed_by": _weighed_by(config),
    }


def _judged_by(config: ClipConfig) -> str | None:
    """Return the split by which the evaluation chooses a step of fine-tuning."""
    task = config.task
    if task.selection != "last":
        return task.selection  # type: ignore[no-any-return]
    return "validation" if task.validation else "train"


def _weighed_by(config: ClipConfig) -> dict[str, Any] | None:
    if not config.method.is_fitted:
        return None
    return built_on(VERSIONS["lambda"], lambda_identity(config))


def evaluate_identity(config: ClipConfig) -> dict[str, Any]:
    """Return the options that decide an evaluation."""
    task = config.task
    tuned = task.training == "image_encoder"
    # The shares of a temperature are those of its absolute values.
    shares = {"shares": "magnitudes"} if task.lambda_as == "temperature" else {}
    return {
        **_read(config, "test"),
        **_rule(config),
        "seed": config.seed,
        "draw": task.draw,
        "draw_batch": task.draw_batch,
        "max_images": task.max_images,
        "lambda_dropout": task.lambda_dropout,
        "weighed_by": _weighed_by(config),
        "finetuned_by": built_on(VERSIONS["finetune"], finetune_identity(trained_as(config)))
        if tuned
        else None,
        "selection": task.selection,
        "variant": variant(config),
        "protocol": config.protocol.name,
        "scale_name": config.scale.name,
        **shares,
    }


def timing_identity(config: ClipConfig) -> dict[str, Any]:
    """Return the options that decide the run times on a given machine."""
    model, task = config.model, config.task
    return {
        "architecture": model.architecture,
        "config": model.config,
        "size": model.size,
        "group": config.group.name,
        "classes": config.dataset.classes,
        "data": fingerprint(config.dataset, ("test",)),
        "images": task.max_images,
        "batch": task.timing_batch,
        "rounds": task.timing_rounds,
        "precision": task.precision,
        "machine": platform.node(),
        "device": config.device,
        "threads": config.threads,
        "scale_name": config.scale.name,
        "protocol": config.protocol.name,
    }


def pretrain_label(config: ClipConfig) -> str:
    """Return the readable part of the name of a small CLIP's run."""
    return f"{given(config.task.pretrain).dataset}-{config.model.name}-seed{config.seed}"
