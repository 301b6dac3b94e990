"""Functions of an image task's configuration: run names, identities, checks."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from experiments.frame.conf import section
from experiments.frame.errors import UserError
from experiments.frame.methods import AUGMENTED, find_method
from experiments.frame.options import AnyConfig, GroupConfig, MethodConfig
from experiments.frame.stages import Number, Stage, built_on
from experiments.images.arrays import Split
from experiments.images.options import ImageDataset
from experiments.images.sets import fingerprint
from experiments.images.symmetries import members

log = logging.getLogger(__name__)

ConfigT = TypeVar("ConfigT", bound=AnyConfig)

_WHOLE = {"view": ""}
#: What the terminal shows of an evaluation: rows of upright images come before those of turned.
_ACCURACY = (
    Number("top1_accuracy", "top-1 accuracy", " %", where=_WHOLE, told=("split", "transform")),
    Number("over_equitune", "gain over equitune", " points", digits="+.1f"),
    Number("top1_accuracy", "upright", " %", where=_WHOLE | {"transform": "none"}),
)
_JUMP = (Number("jump", "largest change of the output under a tiny step", digits=".2g"),)


def evaluation_stages(
    task: str, versions: Mapping[str, int], identity: Callable[[Any], dict[str, Any]]
) -> tuple[Stage, Stage]:
    """Return the stages ``evaluate`` and ``continuity`` of a task; the latter builds on the former.

    Args:
        task: The task, whose module ``evaluate`` has ``evaluate`` and ``measure_jump``.
        versions: The result versions of its stages.
        identity: Returns the options that decide an evaluation.
    """

    def evaluated(config: AnyConfig) -> dict[str, Any]:
        return {"evaluated": built_on(versions["evaluate"], identity(config))}

    where = f"experiments.{task}.evaluate"
    return (
        Stage(
            *("evaluate", versions["evaluate"], identity, method_label),
            f"{where}:evaluate",
            shows=_ACCURACY,
        ),
        Stage(
            *("continuity", versions["continuity"], evaluated, method_label),
            f"{where}:measure_jump",
            shows=_JUMP,
        ),
    )


def features_label(config: AnyConfig) -> str:
    """Return the readable part of a run's folder name, for runs without a method."""
    return f"{config.dataset.name}-{config.model.name}"


def method_label(config: AnyConfig) -> str:
    """Return the readable part of the folder name of a method's run."""
    parts = (config.dataset.name, config.model.name, config.group.name, config.method.name)
    return f"{'-'.join(parts)}-seed{config.seed}"


def features_of(
    config: AnyConfig, split: Split, weights: dict[str, Any], seen: dict[str, Any], views: str
) -> dict[str, Any]:
    """Return the identity of a split's features: weights, images, preprocessing, views.

    Args:
        config: The configuration, with the data set.
        split: The split.
        weights: Identity of the network's weights.
        seen: Identity of the preprocessing.
        views: Name of the group whose orbit is stored.
    """
    limit = config.task.max_images
    return {
        "weights": weights,
        **seen,
        "data": fingerprint(config.dataset, (split,)),
        "dataset": config.dataset.name,
        "classes": config.dataset.classes,
        "split": split,
        "views": views,
        # Only in trials, so that the names of other runs stay the same.
        **({} if limit is None else {"max_images": limit}),
    }


def is_ours(config: AnyConfig) -> bool:
    """Whether the model is one that the suite trains."""
    return config.model.checkpoint is None and config.model.weights == "ours"


def pretraining_data(config: AnyConfig) -> ImageDataset:
    """Return the data set of the suite's pretraining: the run's, or another one.

    Raises:
        UserError: If conf/dataset/ has no data set of this name for this task.
    """
    recipe = config.task.pretrain
    if recipe.dataset == config.dataset.name:
        root = recipe.root or config.dataset.root
        own: ImageDataset = dataclasses.replace(config.dataset, root=root)
        return own
    if recipe.dataset == "images":
        raise UserError(
            "task.pretrain.dataset=images: a folder of your own is learned from together with "
            "dataset=images, whose classes it has"
        )
    found = section("dataset", recipe.dataset, ImageDataset, config.task.name)
    return dataclasses.replace(found, root=recipe.root, key="task.pretrain")


def warn_of_training(config: AnyConfig, published: str) -> None:
    """Warn once that a model for real images learns from drawn ones, or from the user's alone.

    Args:
        config: The configuration; the suite trains its model.
        published: The words that choose a model with published weights.
    """
    own, learned = config.dataset, pretraining_data(config)
    drawn = learned.kind == "pictograms"
    if own.kind == "folder" or (drawn and own.kind != "pictograms"):
        images = "drawn images" if drawn else "the images"
        other = "" if learned.name == own.name else f", task.pretrain.dataset={own.name}"
        _warn_once(
            f"model={config.model.name} is trained here, on {images} of dataset={learned.name} "
            f"alone; other weights: {published}, model.checkpoint=FILE{other}"
        )


_warn_once = cache(log.warning)


def of_method(config: ConfigT, method: str) -> ConfigT:
    """Return a configuration of a method without options of its own: its mean, or one view."""
    entry, other, task = find_method(method), copy.copy(config), copy.copy(config.task)
    group = config.group.name if config.group.name != "trivial" else config.task.transform
    for item in dataclasses.fields(task):
        need = item.metadata.get("only_for")
        if need and not getattr(entry, need):
            setattr(task, item.name, None)
    other.task, other.method = task, MethodConfig(method)
    other.group = GroupConfig(group if entry.uses_group else "trivial")
    return other


def trained_as(config: ConfigT) -> ConfigT:
    """Return the configuration that trains the model of a run: of ``augmented``, with one view."""
    entry = config.method.entry
    return of_method(config, AUGMENTED) if entry.augments and entry.uses_group else config


def repeats(config: AnyConfig) -> int:
    """Return how often a training with one view is longer, to cost the passes of the group."""
    return len(members(config.task.transform)) if config.method.entry.augments else 1


def check_group(config: AnyConfig) -> None:
    """Set the trivial group for methods with a single view, whatever group is configured.

    Raises:
        UserError: If a model is trained on transforms by another group.
    """
    method, group, moved = config.method.entry, config.group.name, config.task.transform
    if method.augments and group not in ("trivial", moved):
        raise UserError(
            f"method={method.name} is trained on transforms by task.transform={moved}, not by "
            f"group={group}; give task.transform={group}"
        )
    if not method.uses_group:
        config.group = GroupConfig(name="trivial")


def check_relus(config: AnyConfig) -> None:
    """Refuse more layers with a ReLU than lambda has hidden layers.

    Raises:
        UserError: If there are more.
    """
    relus, net = config.task.lambda_relus, config.method.lambda_net
    if net is not None and relus is not None and relus >= net.depth:
        raise UserError(
            f"task.lambda_relus={relus}: method.lambda_net.depth={net.depth} has "
            f"{net.depth - 1} hidden layers"
        )
