"""Converts Hydra's configuration to typed dataclasses and checks it before heavy imports."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.frame.conf import CONF, groups_in, options, owners
from experiments.frame.errors import UserError, unknown, usual_name
from experiments.frame.fields import check_values
from experiments.frame.machine import multiplies_bfloat16
from experiments.frame.methods import PRETRAINED
from experiments.frame.options import AnyConfig, RunConfig
from experiments.frame.tasks import load_task

if TYPE_CHECKING:
    from omegaconf import DictConfig, ListConfig

    from experiments.frame.stages import Task

#: How a wrong value is named that looks like several numbers: 0:2, 0-2 or 0..2.
_SPAN = re.compile(r"Value '\d+(:|-|\.\.)\d+' .* to Integer")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def load(raw: DictConfig) -> AnyConfig:
    """Turn a composed configuration into typed dataclasses, or raise a one-line error.

    Args:
        raw: The configuration composed by Hydra from ``conf/`` and the command line.

    Returns:
        The configuration; its task, model, dataset and group are dataclasses of the task.

    Raises:
        UserError: For an unknown key, a wrong type, a value out of range or a combination that
            the task does not have.
    """
    config = _checked(raw)
    _choose_precision(config, partial(multiplies_bfloat16, config.device))
    return config


def load_for_machines(raw: DictConfig) -> list[AnyConfig]:
    """As `load`: on this machine, then, where its fast precision decides, on one of the other."""
    here = _checked(raw)
    elsewhere = deepcopy(here)
    _choose_precision(here, partial(multiplies_bfloat16, here.device))
    _choose_precision(elsewhere, lambda: not multiplies_bfloat16(here.device))
    return [here, elsewhere] if here != elsewhere else [here]


def _checked(raw: DictConfig) -> AnyConfig:
    task = load_task(str(OmegaConf.select(raw, "task.name")))
    _check_fit(raw, task)
    schema, structured = _schema(tuple(task.sections.items()))
    _check_texts(schema, OmegaConf.to_container(raw), "")
    try:
        merged = OmegaConf.merge(structured, raw)
        try:
            found: Any = OmegaConf.to_object(merged)
        except OmegaConfBaseException:
            _check_given(merged)
            raise
    except OmegaConfBaseException as error:
        raise explain(error) from error
    config: AnyConfig = RunConfig(**vars(found))
    _expand_home(config)
    _check_positive(config)
    check_values(config)
    if config.stage not in task.stages:
        raise unknown(f"task={task.name} stage", config.stage, task.stages)
    _check_results(config.results)
    method = config.method.entry
    task.check_method(method)
    needs_net = method.needs_net
    if needs_net != (config.method.lambda_net is not None):
        raise UserError(
            f"method={config.method.name} {'needs' if needs_net else 'has no'} method.lambda_net"
        )
    _drop_unread(config)
    if config.stage == "lambda" and not config.method.is_fitted:
        if method.is_fitted:
            raise UserError("stage=lambda has nothing to fit: method.temperature is given")
        raise task.no_lambda(method)
    _check_checkpoint(config)
    task.resolve(config)
    if method.is_fitted and method.uses_group and config.group.name == "trivial":
        raise UserError(
            f"method={method.name} has one view to weigh in group=trivial; choose "
            f"method={PRETRAINED}"
        )
    return config


def _drop_unread(config: AnyConfig) -> None:
    """Set options that the method does not read to None; they are then not part of run names.

    Raises:
        UserError: If a required option has no value.
    """
    method = config.method.entry
    if config.method.distance != "neighbours":
        config.method.neighbours = None
    for key, section in (("task", config.task), ("method", config.method)):
        for item in dataclasses.fields(section):
            need = item.metadata.get("only_for")
            if need and not getattr(method, need):
                setattr(section, item.name, None)
            elif need and item.metadata["required"] and getattr(section, item.name) is None:
                raise UserError(f"method={method.name} needs {key}.{item.name}")


@cache
def _schema(sections: tuple[tuple[str, type], ...]) -> tuple[type, DictConfig]:
    """Return `RunConfig` with a task's section types, as a class and as OmegaConf reads it."""
    kinds = _hints(RunConfig) | dict(sections)
    fields = [(item.name, kinds[item.name], item) for item in dataclasses.fields(RunConfig)]
    schema = dataclasses.make_dataclass("RunConfig", fields)
    return schema, OmegaConf.structured(schema)


def _choose_precision(section: Any, is_bfloat16: Callable[[], bool]) -> None:
    """Replace every precision ``auto`` in nested dataclasses by the fast one, bfloat16 or not."""
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if dataclasses.is_dataclass(value):
            _choose_precision(value, is_bfloat16)
        elif value == "auto" and item.metadata.get("machine"):
            setattr(section, item.name, "bfloat16" if is_bfloat16() else "float32")


def _check_positive(config: AnyConfig) -> None:
    """Refuse weights of Eq. 4 that need not be positive; a temperature may have any sign."""
    net, choices = config.method.lambda_net, ("softplus", "exp")
    if net is None or getattr(config.task, "lambda_as", None) == "temperature":
        return
    if net.positive == "none":
        raise UserError(
            "method.lambda_net.positive=none: weights of Eq. 4 are positive; "
            f"choose from: {', '.join(choices)}"
        )
    if net.positive not in choices:
        raise unknown("method.lambda_net.positive", net.positive, choices)


def _check_results(results: str) -> None:
    """Refuse an unusable results folder; a read-only one can still show finished runs."""
    if not results:
        raise UserError("results= is empty; it must name a folder")
    there = next(path for path in (Path(results), *Path(results).parents) if path.exists())
    usable = os.access(there, os.W_OK) or (Path(results) / "runs").is_dir()
    if not there.is_dir() or not usable:
        raise UserError(f"results={results}: {there} is no folder that can be written to")


def _check_checkpoint(config: AnyConfig) -> None:
    """Refuse a user's weights that are missing or that the run would not use."""
    checkpoint = getattr(config.model, "checkpoint", None)
    if checkpoint is None:
        return
    if config.stage == "pretrain":
        raise UserError("stage=pretrain makes no use of model.checkpoint; give one of the two")
    if not Path(checkpoint).is_file():
        raise UserError(
            f"model.checkpoint={checkpoint}: no such file; give a file of weights: .safetensors, "
            "or .pt, .pth, .th, .ckpt, .bin with tensors alone"
        )


def explain(error: OmegaConfBaseException) -> UserError:
    """Turn OmegaConf's error into one line with the key; for an unknown key, with valid ones."""
    key = str(error.full_key or error.key or "")
    parent: Any = error.parent_node
    if "not in" in str(error) and parent is not None and OmegaConf.is_dict(parent):
        prefix, dot, _ = key.rpartition(".")
        siblings = [f"{prefix}{dot}{name}" for name in parent]
        meant = usual_name(key).rpartition(".")[2]
        tree = _full_names(parent._get_root())
        elsewhere = [name for name in tree if name.rpartition(".")[2] == meant]
        if not elsewhere or set(elsewhere) & set(siblings):
            return unknown("key", key, siblings)
        near = sorted(elsewhere, key=lambda name: (name.count("."), not name.startswith("task.")))
        return UserError(f"key={key} is not known; did you mean {' or '.join(near[:3])}?")
    reason = (error.msg or str(error)).splitlines()[0].rstrip(".")
    span = _SPAN.match(reason)
    hint = f"; a sweep is {key}=0,1,2 or {key}=range(3)" if span else ""
    return UserError(f"{key}: {reason[0].lower()}{reason[1:]}{hint}")


def _full_names(tree: Any, prefix: str = "") -> Iterator[str]:
    """Yield the full names of all keys of a configuration, besides Hydra's own."""
    for name in tree:
        full = f"{prefix}{name}"
        if full != "hydra":
            yield full
            node = tree._get_node(name)
            if OmegaConf.is_dict(node) and not OmegaConf.is_missing(tree, name):
                yield from _full_names(node, f"{full}.") if node else ()


def _check_texts(kind: Any, given: Any, key: str, *, listed: bool = False) -> None:
    """Refuse a text that YAML has read as another type, such as the word no.

    Args:
        kind: The expected type.
        given: The value that was read.
        key: Its key.
        listed: Whether it is an entry of a list.
    """
    parts = get_args(kind)
    # An integer may be meant as a name, but not in a list of words.
    if kind is str and isinstance(given, bool | float | int if listed else bool | float):
        raise UserError(
            f"{key}: YAML reads {given!r} where a text is due: no, yes, on, off and numbers that "
            "are texts need quotes, as 'no'"
        )
    if get_origin(kind) in (Union, UnionType):
        for part in parts:
            _check_texts(part, given, key, listed=listed)
    elif get_origin(kind) is list and isinstance(given, list):
        for one in given:
            _check_texts(parts[0], one, key, listed=True)
    elif isinstance(given, Mapping) and get_origin(kind) is dict:
        for name, one in given.items():
            _check_texts(parts[0], name, key, listed=True)
            _check_texts(parts[1], one, f"{key}.{name}")
    elif isinstance(given, Mapping) and isinstance(kind, type) and dataclasses.is_dataclass(kind):
        for name, part in _hints(kind).items():
            if name in given:
                _check_texts(part, given[name], f"{key}.{name}".lstrip("."))


def _expand_home(value: Any) -> Any:
    """Return a value with ``~`` or ``~USER`` at the start of its texts expanded.

    Dataclasses are changed in place.
    """
    if isinstance(value, str):
        return os.path.expanduser(value)
    if isinstance(value, dict):
        return {key: _expand_home(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_expand_home(part) for part in value]
    if dataclasses.is_dataclass(value):
        for item in dataclasses.fields(value):
            setattr(value, item.name, _expand_home(getattr(value, item.name)))
    return value


def _check_given(merged: DictConfig | ListConfig) -> None:
    """Refuse a configuration that lacks a value for an option without a default."""
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        section = missing[0].partition(".")[0]
        file = CONF / section / f"{OmegaConf.select(merged, f'{section}.name')}.yaml"
        place = f"; {file.relative_to(CONF.parent)} says what" if file.is_file() else ""
        needed = " ".join(f"{key}=VALUE" for key in missing)
        raise UserError(f"{', '.join(missing)} must be given: {needed}{place}")


def _check_fit(raw: DictConfig, task: Task) -> None:
    """Refuse a dataset, model or group that does not belong to the task, or to the dataset.

    Every dataset and model names its task, or tasks; a dataset, or its dataclass, names the groups
    that act on it.
    """
    for section in ("dataset", "model", "group"):
        name = OmegaConf.select(raw, f"{section}.name")
        if name is None:
            raise UserError(f"{section}: the chosen file sets no {section}.name")
        if section != "group" and task.name not in owners(OmegaConf.select(raw, f"{section}.task")):
            raise UserError(
                f"task={task.name} cannot use {section}={name}; choose from: "
                f"{', '.join(options(section, task.name))}"
            )
    group = OmegaConf.select(raw, "group.name")
    groups = groups_in(raw.dataset, task.sections["dataset"])
    if not OmegaConf.is_list(groups) or not len(groups):
        raise UserError(f"dataset.groups={groups} must be a list of the groups that act")
    if group not in groups:
        raise UserError(
            f"group={group} does not act on dataset={raw.dataset.name} of task={task.name}; "
            f"choose from: {', '.join(groups)}"
        )
