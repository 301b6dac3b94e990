"""The typed configuration: what ``conf/`` may hold, and the checks before anything heavy is loaded.

Values live in YAML; the dataclasses here say which keys exist and of which type. A task adds the
dataclasses of its own sections (``experiments/<task>/config.py``). The code of a task receives
these dataclasses, never a Hydra or OmegaConf object.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.environment import multiplies_bfloat16
from experiments.errors import UserError, unknown
from experiments.files import file_digest
from experiments.registry import load_task
from experiments.rows import METHODS, RESULTS

if TYPE_CHECKING:
    from omegaconf import DictConfig, ListConfig

CONF = Path(__file__).parents[1] / "conf"
SectionT = TypeVar("SectionT")
#: Of matrix products; ``auto`` is bfloat16 where the device multiplies it in hardware.
PRECISIONS = ("auto", "float32", "bfloat16")
STAGES = (
    "pretrain",
    "text",
    "features_train",
    "features_test",
    "lambda",
    "probe",
    "finetune",
    "regard",
    "generate",
    *RESULTS,
)


def one_of(*choices: str) -> Any:
    """Declare a text field with a closed set of values."""
    return field(default=MISSING, metadata={"choices": choices})


def at_least(minimum: float, *, above: bool = False) -> Any:
    """Declare a number field with a lower bound (excluded itself if ``above``)."""
    return field(default=MISSING, metadata={"minimum": minimum, "above": above})


def between(minimum: float, maximum: float, *, below: bool = False) -> Any:
    """Declare a number field with both bounds (the upper one excluded if ``below``)."""
    rule = {"minimum": minimum, "maximum": maximum, "below": below}
    return field(default=MISSING, metadata=rule)


def how(default: Any = MISSING, **rule: Any) -> Any:
    """Declare a field that says how a run is done and does not decide its numbers."""
    return field(default=default, metadata={"how": True, **rule})


def in_rows(**rule: Any) -> Any:
    """Declare a field that decides numbers and that a column of their rows already tells."""
    return field(default=MISSING, metadata={"undeclared": True, **rule})


def of_machine(*choices: str, departs: bool = False) -> Any:
    """Declare a text field that decides numbers and whose ``auto`` the machine decides.

    Args:
        choices: Its values.
        departs: Whether another value than the one in ``conf/`` is a departure from the protocol.
    """
    rule = {"choices": choices, "machine": True, "undeclared": not departs}
    return field(default=MISSING, metadata=rule)


class LambdaBudget(NamedTuple):
    """Steps and batch size of a training of lambda."""

    steps: int
    batch_size: int


@dataclass
class LambdaNetConfig:
    """The network lambda of Eq. 4 and how it is trained (paper, Section 5.2.1 and D.4)."""

    hidden: int = at_least(1)
    depth: int = at_least(1)
    dropout: float = between(0, 1, below=True)
    positive: str = one_of("softplus", "exp", "none")
    learning_rate: float = at_least(0, above=True)
    weight_decay: float = at_least(0)
    steps: int | None = at_least(1)
    batch_size: int | None = at_least(1)

    def budget(self) -> LambdaBudget:
        """Return how long the network is trained on its own.

        Raises:
            UserError: If that is left open, as where it is trained together with other layers.
        """
        if self.steps is None or self.batch_size is None:
            raise UserError("method.lambda_net needs steps and batch_size")
        return LambdaBudget(self.steps, self.batch_size)


@dataclass
class MethodConfig:
    """How the views of an orbit are weighted (Eq. 4)."""

    name: str = one_of(*METHODS)
    lambda_net: LambdaNetConfig | None = None


@dataclass
class GroupConfig:
    """A finite group, named; a task says how it acts."""

    name: str = MISSING


@dataclass
class NamedConfig:
    """A named option that carries no values of its own (scale, protocol)."""

    name: str = MISSING


@dataclass
class LoggerConfig:
    """Where a run is logged to besides its own folder."""

    name: str = one_of("wandb", "none")
    project: str = MISSING
    entity: str | None = None
    mode: str = one_of("auto", "online", "offline")


@dataclass
class RunConfig:
    """Everything that one run is told."""

    task: Any = MISSING
    method: MethodConfig = field(default_factory=MethodConfig)
    group: Any = MISSING
    model: Any = MISSING
    dataset: Any = MISSING
    scale: NamedConfig = field(default_factory=NamedConfig)
    protocol: NamedConfig = field(default_factory=NamedConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    stage: str = one_of(*STAGES)
    seed: int = between(0, 2**32 - 1)
    device: str = one_of("auto", "cpu", "cuda", "mps")
    threads: int = at_least(1)
    results: str = MISSING
    preset: str | None = None


def load(raw: DictConfig, *, bfloat16: bool | None = None) -> RunConfig:
    """Turn a composed configuration into typed dataclasses, or say in one line what is wrong.

    Args:
        raw: What Hydra composed from ``conf/`` and the command line.
        bfloat16: Whether the device is one that multiplies bfloat16, to name runs of other
            machines; None: this machine's device is looked at.

    Returns:
        The configuration; its task, model, dataset and group are the task's own dataclasses.

    Raises:
        UserError: For an unknown key, a wrong type, a value out of range or a combination that
            the task does not have.
    """
    task = load_task(str(OmegaConf.select(raw, "task.name")))
    _check_fit(raw, task.name)
    schema = OmegaConf.structured(RunConfig)
    for name, kind in task.sections.items():
        schema[name] = OmegaConf.structured(kind)
    try:
        merged = OmegaConf.merge(schema, raw)
        _check_given(merged)
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise explain(error) from error
    assert isinstance(config, RunConfig)
    _check_texts(config, OmegaConf.to_container(raw), "")
    _expand_home(config)
    check_values(config)
    if config.stage not in task.stages:
        raise unknown(f"task={task.name} stage", config.stage, task.stages)
    _check_results(config.results)
    needs_net = config.method.name == "lambda_equitune"
    if needs_net != (config.method.lambda_net is not None):
        raise UserError(
            f"method={config.method.name} {'needs' if needs_net else 'has no'} method.lambda_net"
        )
    _check_checkpoint(config)
    net = config.method.lambda_net
    if net is not None and net.positive == "none" and not _is_temperature(config.task):
        raise UserError(
            "method.lambda_net.positive=none: weights of Eq. 4 are positive; "
            "choose from: softplus, exp"
        )
    task.resolve(config)
    _choose_precision(config, config.device, bfloat16)
    return config


def _choose_precision(section: Any, device: str, bfloat16: bool | None) -> None:
    """Replace every precision ``auto`` in nested dataclasses by what the device is fast at."""
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if dataclasses.is_dataclass(value):
            _choose_precision(value, device, bfloat16)
        elif value == "auto" and item.metadata.get("machine"):
            fast = multiplies_bfloat16(device) if bfloat16 is None else bfloat16
            setattr(section, item.name, "bfloat16" if fast else "float32")


def _is_temperature(task: Any) -> bool:
    """Whether lambda is no weight of Eq. 4 but a factor of a view's scores, of any sign."""
    return getattr(task, "lambda_as", None) == "temperature"


def _check_results(results: str) -> None:
    """Refuse a results folder that cannot be one; finished runs are shown from one to be read."""
    if not results:
        raise UserError("results= is empty; it must name a folder")
    there = next(path for path in (Path(results), *Path(results).parents) if path.exists())
    usable = os.access(there, os.W_OK) or (Path(results) / "runs").is_dir()
    if not there.is_dir() or not usable:
        raise UserError(f"results={results}: {there} is no folder that can be written to")


def _check_checkpoint(config: RunConfig) -> None:
    """Refuse weights of the user's own that are not there, or that the run would not use."""
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
    """Turn OmegaConf's error into one line with the key and, for an unknown key, the valid ones."""
    key = str(error.full_key or error.key or "")
    parent = error.parent_node
    if "not in" in str(error) and parent is not None and OmegaConf.is_dict(parent):
        return unknown("key", key, _full_names(key, parent.keys()))
    reason = (error.msg or str(error)).splitlines()[0].rstrip(".")
    return UserError(f"{key}: {reason[0].lower()}{reason[1:]}")


def _full_names(key: str, siblings: Iterable[Any]) -> list[str]:
    prefix = key.rpartition(".")[0]
    return [f"{prefix}.{name}" if prefix else str(name) for name in siblings]


def _check_texts(value: Any, given: Any, key: str, *, listed: bool = False) -> None:
    """Refuse a text that YAML has read as something else, such as the word no.

    Args:
        value: What the configuration has.
        given: The same as it was read.
        key: Its key.
        listed: Whether it is one of a list.
    """
    if dataclasses.is_dataclass(value):
        value = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    # A whole number may be meant as a name, but not as one of a list of words.
    kinds = bool | float | int if listed else bool | float
    if isinstance(value, str) and isinstance(given, kinds):
        raise UserError(
            f"{key}: YAML reads {given!r} where a text is due: no, yes, on, off and numbers that "
            "are texts need quotes, as 'no'"
        )
    if isinstance(value, Mapping) and isinstance(given, Mapping):
        for name in value.keys() & given.keys():
            _check_texts(value[name], given[name], f"{key}.{name}".lstrip("."))
    if isinstance(value, list | tuple) and isinstance(given, list) and len(value) == len(given):
        for one, other in zip(value, given, strict=True):
            _check_texts(one, other, key, listed=True)


def _expand_home(section: Any) -> None:
    """Replace ``~/`` at the beginning of texts in nested dataclasses by the user's home."""
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if isinstance(value, str) and value.startswith("~/"):
            setattr(section, item.name, os.path.expanduser(value))
        for part in value.values() if isinstance(value, dict) else (value,):
            if dataclasses.is_dataclass(part):
                _expand_home(part)


def _check_given(merged: DictConfig | ListConfig) -> None:
    """Refuse a configuration with an option that has no default and was not given."""
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        section = missing[0].partition(".")[0]
        file = CONF / section / f"{OmegaConf.select(merged, f'{section}.name')}.yaml"
        place = f"; {file.relative_to(CONF.parent)} says what" if file.is_file() else ""
        needed = " ".join(f"{key}=VALUE" for key in missing)
        raise UserError(f"{', '.join(missing)} must be given: {needed}{place}")


def _check_fit(raw: DictConfig, task: str) -> None:
    """Refuse a dataset, model or group that the task, or the dataset, does not have.

    Every dataset and model names its task, or tasks, and every dataset the groups that act on it.
    """
    for section in ("dataset", "model", "group"):
        name = OmegaConf.select(raw, f"{section}.name")
        if name is None:
            raise UserError(f"{section}: the chosen file sets no {section}.name")
        if section != "group" and task not in _owners(OmegaConf.select(raw, f"{section}.task")):
            raise UserError(
                f"task={task} cannot use {section}={name}; choose from: "
                f"{', '.join(options(section, task))}"
            )
    group = OmegaConf.select(raw, "group.name")
    groups = OmegaConf.select(raw, "dataset.groups")
    if not OmegaConf.is_list(groups) or not len(groups):
        raise UserError(f"dataset.groups={groups} must be a list of the groups that act")
    if group not in groups:
        raise UserError(
            f"group={group} does not act on dataset={raw.dataset.name} of task={task}; "
            f"choose from: {', '.join(groups)}"
        )


def options(section: str, task: str) -> list[str]:
    """Return the options of a config group that belong to a task."""
    found = []
    for path in sorted((CONF / section).glob("*.yaml")):
        if task in _owners(OmegaConf.select(OmegaConf.load(path), "task")):
            found.append(path.stem)
    return found


def groups_of(task: str) -> list[str]:
    """Return the groups that act on some data set of a task, as its files in ``conf/`` say."""
    found: dict[str, None] = {}
    for name in options("dataset", task):
        found |= dict.fromkeys(OmegaConf.select(_read(f"dataset/{name}"), "groups") or ())
    return list(found)


def _owners(value: Any) -> list[str]:
    return list(value) if OmegaConf.is_list(value) else [str(value)]


def section(group: str, name: str, kind: type[SectionT], task: str) -> SectionT:
    """Read one more option of a config group, beside the one that the run has chosen.

    Args:
        group: The group, a folder of ``conf/``.
        name: The option.
        kind: Its dataclass.
        task: The task that it must be for.

    Raises:
        UserError: If there is no such option for this task.
    """
    choices = options(group, task)
    if name not in choices:
        raise unknown(group, name, choices)
    values = _read(f"{group}/{name}")
    values.pop("defaults", None)  # Hydra's, of a run that has chosen this option
    merged = OmegaConf.merge(OmegaConf.structured(kind), values)
    found = OmegaConf.to_object(merged)
    assert isinstance(found, kind)
    return found


def deciding(section: Any, *, unless: str = "") -> dict[str, Any]:
    """Return the fields of a dataclass that decide numbers, nested, as plain data.

    Args:
        section: The dataclass.
        unless: Leave out the fields that carry this mark, too.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return deciding(value, unless=unless) if dataclasses.is_dataclass(value) else value

    return {
        item.name: plain(getattr(section, item.name))
        for item in dataclasses.fields(section)
        if not item.metadata.get("how") and not item.metadata.get(unless)
    }


def variant(config: RunConfig) -> str:
    """Return how a configuration departs from the values in ``conf/``: '' or a readable label.

    The rows of a run whose task, method, model, data set or group was given other values than its
    scale and protocol have, or weights of the user's own, carry this label, so that they are never
    taken for the main ones. Options that the run does not read (None after the task's ``resolve``)
    do not count.

    Returns:
        For instance ``coupling=joint, score=emitted``.
    """
    expected = _defaults(config)
    parts = []
    for section in ("task", "method", "model", "dataset", "group"):
        chosen = _flatten(deciding(getattr(config, section), unless="undeclared"))
        standard = _flatten(expected.get(section, {}))
        # The keys of a data set and of a model may have the same names.
        prefix = f"{section}." if section in ("dataset", "model") else ""
        parts += [
            f"{prefix}{key}={value}"
            for key, value in chosen.items()
            if value is not None and value != standard.get(key, value if value == [] else None)
        ]
    checkpoint = getattr(config.model, "checkpoint", None)
    if checkpoint is not None:
        parts.append(f"checkpoint={file_digest(Path(checkpoint))[:8]}")
    return ", ".join(parts)


def _defaults(config: RunConfig) -> dict[str, Any]:
    """Return the sections of a configuration as the files in ``conf/`` give them."""
    task, method = config.task.name, config.method.name
    sections = {
        "task": _read(f"task/{task}"),
        "method": _read(f"method/{method}"),
        "model": _read(f"model/{config.model.name}"),
        "dataset": _read(f"dataset/{config.dataset.name}"),
        "group": _read(f"group/{config.group.name}"),
    }
    merged = OmegaConf.merge(
        sections,
        _read(f"task_scale/{task}_{config.scale.name}"),
        _read(f"task_protocol/{task}_{config.protocol.name}"),
        _read(f"task_method/{task}_{method}"),
        _read(f"task_model/{task}_{config.model.name}"),
        _read(f"task_protocol_method/{task}_{config.protocol.name}_{method}"),
    )
    plain = OmegaConf.to_container(merged, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _read(option: str) -> Any:
    path = CONF / f"{option}.yaml"
    return OmegaConf.load(path) if path.is_file() else OmegaConf.create({})


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def check_values(section: Any, prefix: str = "") -> None:
    """Check every field that declares choices or bounds, in nested dataclasses too.

    Raises:
        UserError: Naming the key, the value and what is valid.
    """
    for item in dataclasses.fields(section):
        value, name = getattr(section, item.name), f"{prefix}{item.name}"
        if dataclasses.is_dataclass(value):
            check_values(value, f"{name}.")
        elif value is not None:
            _check_value(name, value, item.metadata)


def _check_value(name: str, value: Any, rule: Mapping[str, Any]) -> None:
    if "choices" in rule and value not in rule["choices"]:
        raise unknown(name, value, rule["choices"])
    if "minimum" not in rule:
        return
    low, high = rule["minimum"], rule.get("maximum", math.inf)
    above, below = rule.get("above", False), rule.get("below", False)
    fits = (low < value if above else low <= value) and (value < high if below else value <= high)
    if not fits or math.isinf(value):
        bounds = f"above {low}" if above else f"at least {low}"
        if high != math.inf:
            bounds += f" and {'below' if below else 'at most'} {high}"
        raise UserError(f"{name}={value} is out of range; it must be {bounds}")
