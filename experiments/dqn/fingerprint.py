"""Fingerprints of the DQN stages: the options that decide their numbers; part of run names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.dqn.options import Recipe
from experiments.frame.errors import unknown
from experiments.frame.fields import given
from experiments.frame.files import sha256
from experiments.frame.modules import source_digests
from experiments.frame.stages import built_on
from experiments.frame.variant import deciding, variant

if TYPE_CHECKING:
    from experiments.dqn.options import DqnConfig

#: The result version of every stage: raised whenever a change of code alters its numbers. A stage's
#: identity includes those of the stages that it builds on, so all rows after a change are new.
VERSIONS = {"pretrain": 2, "lambda": 1, "evaluate": 3}


def recipe(config: DqnConfig) -> Recipe:
    """Return the complete training recipe of a run.

    The user's values come first, then the data set's for the regime ``tuned``, then those of the
    regime, then the data set's steps.

    Raises:
        UserError: If there is no such regime, or no recipe of it for this environment.
    """
    task, dataset = config.task, config.dataset
    known = [name for name in task.regimes if name != "tuned" or dataset.tuned is not None]
    if task.regime not in known:
        raise unknown(f"dataset={dataset.name} task.regime", str(task.regime), known)
    chosen: Recipe = task.regimes[task.regime]
    if task.regime == "tuned":
        chosen = given(dataset.tuned).over(chosen)
    chosen = task.recipe.over(chosen)
    return chosen.over(Recipe(steps=dataset.steps))


def kept_steps(settings: Recipe) -> list[int]:
    """Return the steps after which the network is stored, the last one included."""
    total, first, every = settings.steps, settings.keep_from, settings.keep_every
    assert total is not None and first is not None and every is not None
    return sorted({*range(first, total, every), total})


def training(config: DqnConfig) -> str:
    """Return the label of a network's training for its rows: regime and user's values."""
    own = dataclasses.asdict(config.task.recipe).items()
    parts = [f"recipe.{key}={value}" for key, value in own if value is not None]
    augmented = [f"augmented={augmenting(config)}"] if config.method.entry.augments else []
    return ", ".join((f"regime={config.task.regime}", *parts, *augmented))


def augmenting(config: DqnConfig) -> str:
    """Return the group by which training transitions are transformed: the run's, or the paper's."""
    own: str = config.group.name
    return config.dataset.symmetry if own == "trivial" else own


def pretrain_identity(config: DqnConfig) -> dict[str, Any]:
    """Return the options that decide a Q-network: environment, recipe, seed; or given weights."""
    environment = {
        "name": config.dataset.environment,
        "arguments": config.dataset.arguments,
        **_files(config.dataset.arguments),
        **_source("source", config.dataset.environment),
    }
    if config.model.checkpoint is not None:
        given = sha256(Path(config.model.checkpoint))
        return {"environment": environment, "checkpoint": given, "hidden": recipe(config).hidden}
    augmented = {"augmented": _acting(config, augmenting(config))}
    return {
        "environment": environment,
        "seed": config.seed,
        "recipe": dataclasses.asdict(recipe(config)),
        **(augmented if config.method.entry.augments else {}),
    }


def _files(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the digests of the files that arguments name, if there are any."""
    found = {text: sha256(Path(text)) for text in _texts(arguments) if Path(text).is_file()}
    return {"files": found} if found else {}


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value, which may be nested."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _source(key: str, name: str | None) -> dict[str, Any]:
    """Return the digests of a user's module ``module:NAME`` under a key, if there is one."""
    return {key: source_digests(name)} if name and ":" in name else {}


def _simulator(config: DqnConfig) -> dict[str, Any]:
    name = config.dataset.simulator
    return {"simulator": name, **_source("simulator_source", name)}


def lambda_identity(config: DqnConfig) -> dict[str, Any]:
    """Return the options that decide learned weights: Q-networks, recipe and objective."""
    net = config.method.lambda_net
    return {
        "pretrained_by": built_on(VERSIONS["pretrain"], pretrain_identity(config)),
        # Given weights have no seed and no recipe in their identity.
        "seed": config.seed,
        "gamma": recipe(config).gamma,
        **_simulator(config),
        **_acting(config, config.group.name),
        **({"lambda_net": deciding(net)} if net else {"score": config.task.score}),
        "objective": config.task.weighting,
        "data": deciding(config.task.weighting_data),
    }


def evaluate_identity(config: DqnConfig) -> dict[str, Any]:
    """Return the options that decide an evaluation."""
    return {
        "pretrained_by": built_on(VERSIONS["pretrain"], pretrain_identity(config)),
        **_weighted_by(config),
        "seed": config.seed,
        "dataset": config.dataset.name,
        **_simulator(config),
        "method": config.method.name,
        **_acting(config, config.group.name),
        "score": config.task.score,
        "episodes": config.task.episodes,
        "variant": variant(config),
        "protocol": config.protocol.name,
        "scale": config.scale.name,
    }


def _acting(config: DqnConfig, group: str) -> dict[str, Any]:
    """Return the options that decide a group's action."""
    acting = config.dataset.representations.get(group)
    return {
        "group": group,
        "representation": acting and dataclasses.asdict(acting),
    }


def _weighted_by(config: DqnConfig) -> dict[str, Any]:
    if config.method.is_fitted:
        return {"weighted_by": built_on(VERSIONS["lambda"], lambda_identity(config))}
    own = config.method.own_options()
    return {"options": own} if own else {}


def pretrain_label(config: DqnConfig) -> str:
    """Return the readable part of the name of a network's run."""
    augmented = "-augmented" if config.method.entry.augments else ""
    return f"{config.dataset.name}-{config.task.regime}{augmented}-seed{config.seed}"


def evaluate_label(config: DqnConfig) -> str:
    """Return the readable part of the name of a method's run."""
    group, method = config.group.name, config.method.name
    return f"{config.dataset.name}-{config.task.regime}-{group}-{method}-seed{config.seed}"
