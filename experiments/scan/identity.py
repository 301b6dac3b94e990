"""What decides the numbers of each stage of SCAN, as plain data; it names the runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.files import sha256
from experiments.schema import deciding, variant

if TYPE_CHECKING:
    from experiments.schema import RunConfig

#: The options in which the text and the authors' code differ.
OPTIONS = ("coupling", "selection", "score", "space", "validation", "word_bias")


def pretrain_identity(config: RunConfig) -> dict[str, Any]:
    """Return what decides the pretrained model: data, architecture, recipe, seed, back end.

    The two back ends do the same mathematics, but training amplifies their last bits.
    """
    settings = config.task.pretrain
    made: dict[str, Any] = {"recipe": deciding(settings), "backend": settings.backend}
    if config.model.checkpoint is not None:
        made = {"checkpoint": sha256(Path(config.model.checkpoint))}
    if config.model.equivariant:
        made |= {"group": deciding(config.group), "word_bias": config.task.word_bias}
    return {
        "dataset": config.dataset.name,
        "seed": config.seed,
        "max_commands": config.task.max_commands,
        "model": {k: v for k, v in deciding(config.model).items() if v is not None},
        **made,
    }


def lambda_identity(config: RunConfig) -> dict[str, Any]:
    """Return what decides the network lambda: the model that it weighs, its recipe, the space."""
    return {
        "pretrained_by": pretrain_identity(config),
        "method": deciding(config.method),
        "group": deciding(config.group),
        "space": config.task.space,
    }


def finetune_identity(config: RunConfig) -> dict[str, Any]:
    """Return what decides a fine-tuned model: where it starts, the objective, the recipe."""
    task, settings = config.task, config.task.finetune
    recipe = deciding(settings) | {"rate": None, "learning_rate": learning_rate(config)}
    options = {name: getattr(task, name) for name in ("coupling", "space", "score")}
    return {
        "pretrained_by": pretrain_identity(config),
        "method": deciding(config.method),
        "group": deciding(config.group),
        "options": {name: value for name, value in options.items() if value is not None},
        "recipe": {name: value for name, value in recipe.items() if value is not None},
        "backend": task.pretrain.backend,
    }


def learning_rate(config: RunConfig) -> float:
    """Return the learning rate of fine-tuning: a number, or that of a source for the data set."""
    settings = config.task.finetune
    if settings.learning_rate is not None:
        return float(settings.learning_rate)
    return float(settings.rates[settings.rate][config.dataset.name])


def error_group(config: RunConfig) -> str:
    """Return the group for which the equivariance error is measured: the data set's if none."""
    return str(config.dataset.symmetry if config.group.name == "trivial" else config.group.name)


def evaluate_identity(config: RunConfig) -> dict[str, Any]:
    """Return what decides an evaluation: its model, the method, and the options it reads."""
    options = {name: getattr(config.task, name) for name in OPTIONS}
    tuned = config.task.finetune is not None
    return {
        "pretrained_by": pretrain_identity(config),
        **({"finetuned_by": finetune_identity(config)} if tuned else {}),
        "method": deciding(config.method),
        "group": deciding(config.group),
        "error_group": error_group(config),
        "options": {name: value for name, value in options.items() if value is not None},
        "variant": variant(config),
        "protocol": config.protocol.name,
        "scale": config.scale.name,
    }


def pretrain_label(config: RunConfig) -> str:
    """Return the readable part of the name of a model's run."""
    return f"{config.dataset.name}-{config.model.name}-seed{config.seed}"


def evaluate_label(config: RunConfig) -> str:
    """Return the readable part of the name of a method's run."""
    group, method = config.group.name, config.method.name
    return f"{config.dataset.name}-{config.model.name}-{group}-{method}-seed{config.seed}"
