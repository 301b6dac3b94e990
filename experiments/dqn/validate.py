"""Completes and validates the configuration of DQN, before anything is loaded."""

from __future__ import annotations

import dataclasses
from itertools import chain
from typing import TYPE_CHECKING

from experiments.dqn.fingerprint import augmenting, recipe
from experiments.dqn.options import DqnGroup, Representation
from experiments.frame.errors import UserError, unknown
from experiments.frame.fields import given

if TYPE_CHECKING:
    from experiments.dqn.options import DqnConfig

PROTOCOL = "paper"


def resolve(config: DqnConfig) -> None:
    """Complete and validate the configuration, before anything is loaded.

    Options that the method does not read become None.

    Raises:
        UserError: For an unknown protocol, method or recipe, a group without a representation, and
            lambda with a single view.
    """
    if config.protocol.name != PROTOCOL:
        raise UserError(
            f"protocol={config.protocol.name}: the authors published no code for task=dqn; "
            f"choose protocol={PROTOCOL}"
        )
    if config.method.entry.augments:
        _check_augmented(config)
    if not config.method.entry.uses_group:
        config.group = DqnGroup(name="trivial")
    elif config.group.name != "trivial":
        _check_representation(config.group.name, config.dataset.representations)
    _check_recipe(config)
    _check_weighting(config)
    if config.device not in ("auto", "cpu"):
        raise UserError(
            f"task=dqn runs on the CPU, not on device={config.device}; choose device=cpu"
        )


def _check_augmented(config: DqnConfig) -> None:
    """Check the group by which the transitions of a training are transformed."""
    dataset, group, method = config.dataset, config.group.name, config.method
    if config.model.checkpoint is not None:
        raise UserError(
            f"method={method.name} trains the network itself: it takes no model.checkpoint"
        )
    if not method.entry.uses_group and group not in ("trivial", dataset.symmetry):
        raise UserError(
            f"method={method.name} is trained on transforms by dataset.symmetry="
            f"{dataset.symmetry}, not by group={group}; give dataset.symmetry={group}"
        )
    if dataset.symmetry not in dataset.representations:
        raise unknown("dataset.symmetry", dataset.symmetry, dataset.representations)
    _check_representation(augmenting(config), dataset.representations)


def _check_weighting(config: DqnConfig) -> None:
    """Check and complete the settings of learned weights; None if nothing is learned."""
    task = config.task
    if not config.method.is_fitted:
        task.weighting = task.weighting_data = None
        return
    if config.method.lambda_net is not None:
        config.method.lambda_net.budget()
    data = given(task.weighting_data)
    if task.weighting != "advantage":
        data.horizon = None
    elif data.horizon is None:
        raise UserError("task.weighting=advantage needs task.weighting_data.horizon")


def _check_recipe(config: DqnConfig) -> None:
    settings = recipe(config)
    missing = [key for key, value in dataclasses.asdict(settings).items() if value is None]
    if missing:
        raise UserError(
            f"task.recipe.{missing[0]} has no value in task.regime={config.task.regime}"
        )
    if not settings.hidden or min(settings.hidden) < 1:
        raise UserError(
            f"task.recipe.hidden={settings.hidden} must be a list of widths, such as [64,64]"
        )


def _check_representation(group: str, known: dict[str, Representation]) -> None:
    """Refuse a group for which the data set has no representation."""
    if group not in known:
        raise UserError(
            f"group={group}: dataset.representations does not say how it acts; "
            f"it has: {', '.join(known) or 'nothing'}"
        )
    where, acting = f"dataset.representations.{group}", known[group]
    given = [name for name in ("signs", "matrix", "image") if getattr(acting, name) is not None]
    if len(given) != 1:
        raise UserError(f"{where} needs exactly one of signs, matrix and image, not {given}")
    if acting.signs is not None and set(acting.signs) - {1, -1}:
        raise UserError(f"{where}.signs={acting.signs} must be 1 or -1 each")
    if acting.mirror and acting.image != "dihedral":
        raise UserError(f"{where}.mirror is for image=dihedral alone")
    for name in ("actions", "mirror"):
        moved = list(chain.from_iterable(getattr(acting, name)))
        if len(set(moved)) != len(moved):
            raise UserError(f"{where}.{name}: an action stands in more than one place")
