"""Fingerprints of the SCAN stages: the options that decide their numbers; part of run names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.frame.fields import given
from experiments.frame.files import sha256
from experiments.frame.methods import Kind
from experiments.frame.stages import built_on
from experiments.frame.variant import deciding, variant
from experiments.scan.options import ScanGroup, load_group

if TYPE_CHECKING:
    from experiments.scan.options import ScanConfig

#: The result version of every stage: raised whenever a change of code alters its numbers. A stage's
#: identity includes those of the stages that it builds on, so all rows after a change are new.
VERSIONS = {"pretrain": 1, "lambda": 1, "finetune": 2, "evaluate": 2}
#: The kinds of methods through which a model is fine-tuned.
TUNED = (Kind.MEAN, Kind.CHOICE, Kind.LEARNED_MEAN)
#: The options in which the text and the authors' code differ.
OPTIONS = ("coupling", "selection", "score", "space", "validation", "word_bias")


def pretrain_identity(config: ScanConfig) -> dict[str, Any]:
    """Return the options that decide the pretrained model: data, model, recipe, seed, back end.

    The two back ends compute the same mathematics, but training amplifies rounding differences.
    """
    settings = config.task.pretrain
    made: dict[str, Any] = {"recipe": deciding(settings), "backend": settings.backend}
    if config.model.checkpoint is not None:
        made = {"checkpoint": sha256(Path(config.model.checkpoint))}
    if config.model.equivariant:
        made |= {"group": group_identity(config.group), "word_bias": config.task.word_bias}
    if config.method.entry.augments:
        made |= {"augmented": group_identity(nontrivial_group(config))}
    return {
        "dataset": config.dataset.name,
        "seed": config.seed,
        "max_commands": config.task.max_commands,
        "model": {k: v for k, v in deciding(config.model).items() if v is not None},
        **made,
    }


def group_identity(group: ScanGroup) -> dict[str, Any]:
    """Return the options that decide a group's action; of a product, those of its factors."""
    factors = [deciding(load_group(name)) for name in group.factors]
    return deciding(group) | {"factors": factors}


def lambda_identity(config: ScanConfig) -> dict[str, Any]:
    """Return the options that decide learned weights: pretrained model, recipe, space, score."""
    soft = config.method.entry.needs_temperature
    return {
        "pretrained_by": built_on(VERSIONS["pretrain"], pretrain_identity(config)),
        "method": config.method.settings(),
        "group": group_identity(config.group),
        "space": config.task.space,
        **({"score": config.task.score} if soft else {}),
    }


def finetune_identity(config: ScanConfig) -> dict[str, Any]:
    """Return the options that decide a fine-tuned model: its start, objective and recipe."""
    task, settings = config.task, config.task.finetune
    rate = {"rate": None, "rates": None, "learning_rate": learning_rate(config)}
    recipe = deciding(settings) | rate
    options = {name: getattr(task, name) for name in ("coupling", "space", "score")}
    return {
        "pretrained_by": built_on(VERSIONS["pretrain"], pretrain_identity(config)),
        **_weighted_by(config),
        "method": config.method.settings(),
        "group": group_identity(config.group),
        "options": {name: value for name, value in options.items() if value is not None},
        "recipe": {name: value for name, value in recipe.items() if value is not None},
        "backend": task.pretrain.backend,
    }


def learning_rate(config: ScanConfig) -> float:
    """Return the learning rate of fine-tuning: the given one, or a source's for the data set."""
    settings = given(config.task.finetune)
    if settings.learning_rate is not None:
        return float(settings.learning_rate)
    return float(settings.rates[given(settings.rate)][config.dataset.name])


def nontrivial_group(config: ScanConfig) -> ScanGroup:
    """Return the run's group; the data set's if that is trivial.

    It is that of the equivariance error, and that which transforms the pairs of an augmented
    training.
    """
    trivial = config.group.name == "trivial"
    group: ScanGroup = load_group(config.dataset.symmetry) if trivial else config.group
    return group


def evaluate_identity(config: ScanConfig) -> dict[str, Any]:
    """Return the options that decide an evaluation: model, method, and options that it reads."""
    options = {name: getattr(config.task, name) for name in OPTIONS}
    tuned = config.task.finetune is not None
    return {
        "pretrained_by": built_on(VERSIONS["pretrain"], pretrain_identity(config)),
        **(
            {"finetuned_by": built_on(VERSIONS["finetune"], finetune_identity(config))}
            if tuned
            else {}
        ),
        **_weighted_by(config),
        "method": config.method.settings(),
        "group": group_identity(config.group),
        "error_group": group_identity(nontrivial_group(config)),
        "options": {name: value for name, value in options.items() if value is not None},
        "variant": variant(config),
        "protocol": config.protocol.name,
        "scale": config.scale.name,
    }


def _weighted_by(config: ScanConfig) -> dict[str, Any]:
    if not config.method.is_fitted:
        return {}
    return {"weighted_by": built_on(VERSIONS["lambda"], lambda_identity(config))}


def pretrain_label(config: ScanConfig) -> str:
    """Return the readable part of the name of a model's run."""
    augmented = "-augmented" if config.method.entry.augments else ""
    return f"{config.dataset.name}-{config.model.name}{augmented}-seed{config.seed}"


def evaluate_label(config: ScanConfig) -> str:
    """Return the readable part of the name of a method's run."""
    group, method = config.group.name, config.method.name
    return f"{config.dataset.name}-{config.model.name}-{group}-{method}-seed{config.seed}"
