"""What the frame needs to know of SCAN: its configuration, its stages, their identities."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from experiments.errors import UserError
from experiments.files import sha256
from experiments.schema import (
    CONF,
    GroupConfig,
    at_least,
    between,
    deciding,
    how,
    one_of,
    variant,
)
from experiments.stages import Stage, Task

if TYPE_CHECKING:
    from experiments.schema import RunConfig


@dataclass
class PretrainConfig:
    """Pretraining at batch 1 (Section 5.1.3)."""

    iterations: int = at_least(1)
    iterations_without_kernel: int = how(minimum=1)
    evaluations: int = at_least(1)
    learning_rate: float = at_least(0, above=True)
    weight_decay: float = at_least(0)
    clip: float = at_least(0, above=True)
    teacher_forcing: float = between(0, 1)
    backend: str = how(choices=("auto", "numba", "torch"))
    checkpoint_every: int = how(minimum=1)


@dataclass
class ScanTask:
    """The options of ``task=scan``; ``conf/task/scan.yaml`` says what each value means."""

    name: str = MISSING
    coupling: str = one_of("apart", "joint")
    selection: str = one_of("step", "prefix", "sequence")
    score: str = one_of("padded", "emitted")
    space: str = one_of("log_probabilities", "probabilities", "logits")
    validation: str = one_of("held_out", "unseeded")
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    max_commands: int | None = field(default=None, metadata={"minimum": 1})


@dataclass
class ScanModel:
    """A sequence-to-sequence model and, optionally, its weights."""

    name: str = MISSING
    task: str = MISSING
    cell: str = one_of("LSTM", "GRU", "RNN")
    hidden: int = at_least(1)
    dropout: float = between(0, 1)
    max_steps: int = at_least(1)
    checkpoint: str | None = how(None)


@dataclass
class ScanDataset:
    """A split of the SCAN language and the groups that act on it."""

    name: str = one_of("add_jump", "around_right")
    task: str = MISSING
    groups: list[str] = MISSING


@dataclass
class ScanGroup(GroupConfig):
    """A cyclic group acting on words: every list is a cycle, all of the same length."""

    words: list[list[str]] = field(default_factory=list)
    actions: list[list[str]] = field(default_factory=list)


def check(config: RunConfig) -> None:
    """Refuse combinations that make no sense, before anything is loaded.

    Raises:
        UserError: For padded scores of a joint decoding, a missing checkpoint, or too few
            iterations for the validation points.
    """
    task = config.task
    if task.coupling == "apart" and task.selection != "sequence":
        raise UserError(
            f"task.selection={task.selection} needs task.coupling=joint; branches that decode "
            "apart are selected by sequence"
        )
    if task.score == "padded" and task.selection != "sequence":
        raise UserError(
            f"task.score=padded needs task.selection=sequence, not {task.selection}: only a "
            "finished sequence has rows after its end; choose task.score=emitted"
        )
    if task.pretrain.evaluations > task.pretrain.iterations:
        raise UserError(
            f"task.pretrain.evaluations={task.pretrain.evaluations} is more than "
            f"task.pretrain.iterations={task.pretrain.iterations}"
        )
    checkpoint = config.model.checkpoint
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise UserError(f"model.checkpoint={checkpoint}: no such file; it must be .safetensors")
    if config.method.name == "pretrained":
        config.group = ScanGroup(name="trivial")
    if task.pretrain.backend == "numba" and importlib.util.find_spec("numba") is None:
        raise UserError("task.pretrain.backend=numba: numba is not installed; choose: auto, torch")


def budget(settings: PretrainConfig) -> int:
    """Return the iterations to train: the shorter budget where the compiled kernel is missing."""
    compiled = settings.backend != "torch" and importlib.util.find_spec("numba") is not None
    if compiled:
        return settings.iterations
    return min(settings.iterations, settings.iterations_without_kernel)


def load_group(name: str) -> ScanGroup:
    """Return a group by its name in ``conf/group``."""
    from omegaconf import OmegaConf

    schema = OmegaConf.structured(ScanGroup)
    group = OmegaConf.to_object(
        OmegaConf.merge(schema, OmegaConf.load(CONF / f"group/{name}.yaml"))
    )
    assert isinstance(group, ScanGroup)
    return group


def pretrain_identity(config: RunConfig) -> dict[str, Any]:
    """Return what decides a pretrained model: data, architecture, recipe and seed."""
    checkpoint = config.model.checkpoint
    return {
        "dataset": config.dataset.name,
        "recipe": deciding(config.task.pretrain) | {"iterations": budget(config.task.pretrain)},
        "seed": config.seed,
        "max_commands": config.task.max_commands,
        "model": deciding(config.model),
        "checkpoint": checkpoint and sha256(Path(checkpoint)),
    }


def evaluate_identity(config: RunConfig) -> dict[str, Any]:
    """Return what decides an evaluation: its model, the method, and the options it reads."""
    method, task = config.method.name, config.task
    reads = {
        "pretrained": ("validation",),
        "equitune": ("coupling", "space"),
        "lambda_equitune": ("coupling", "space"),
        "equizero": ("coupling", "selection", "score"),
    }[method]
    return {
        "pretrained_by": pretrain_identity(config),
        "method": deciding(config.method),
        "group": deciding(config.group),
        "options": {name: getattr(task, name) for name in reads},
        "variant": variant(config),
        "protocol": config.protocol.name,
        "scale": config.scale.name,
    }


def _pretrain_label(config: RunConfig) -> str:
    return f"{config.dataset.name}-{config.model.name}-seed{config.seed}"


def _evaluate_label(config: RunConfig) -> str:
    group, method = config.group.name, config.method.name
    return f"{config.dataset.name}-{config.model.name}-{group}-{method}-seed{config.seed}"


TASK = Task(
    name="scan",
    sections={"task": ScanTask, "model": ScanModel, "dataset": ScanDataset, "group": ScanGroup},
    stages={
        "pretrain": Stage(
            "pretrain",
            1,
            pretrain_identity,
            _pretrain_label,
            "experiments.scan.pretrain:pretrain",
            blank=("method", "group", "protocol", "scale"),
        ),
        "evaluate": Stage(
            "evaluate",
            1,
            evaluate_identity,
            _evaluate_label,
            "experiments.scan.evaluate:evaluate",
        ),
    },
    check=check,
)
