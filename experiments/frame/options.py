"""The typed configuration: the sections that all tasks have.

Values live in YAML; the dataclasses here define the keys and their types. A task adds the
dataclasses of its own sections (``experiments/<task>/options.py``). The code of a task receives
these dataclasses, never a Hydra or OmegaConf object.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from omegaconf import MISSING, OmegaConf

from experiments.frame.errors import UserError
from experiments.frame.fields import at_least, between, one_of
from experiments.frame.methods import Method, find_method

TaskT = TypeVar("TaskT")
ModelT = TypeVar("ModelT")
DatasetT = TypeVar("DatasetT")
GroupT = TypeVar("GroupT")


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
        """Return the steps and batch size of a separate training of the network.

        Raises:
            UserError: If they are not given, as for joint training with other layers.
        """
        if self.steps is None or self.batch_size is None:
            raise UserError("method.lambda_net needs steps and batch_size")
        return LambdaBudget(self.steps, self.batch_size)


@dataclass
class MethodConfig:
    """The weighting of the views of an orbit (Eq. 4)."""

    name: str = MISSING
    lambda_net: LambdaNetConfig | None = None

    @property
    def entry(self) -> Method:
        """The registered method."""
        return find_method(self.name)


@dataclass
class GroupConfig:
    """The name of a finite group; the task defines its action."""

    name: str = MISSING


@dataclass
class NamedConfig:
    """A named option that carries no values of its own (scale, protocol)."""

    name: str = MISSING


@dataclass
class LoggerConfig:
    """The logger of a run, besides its folder."""

    name: str = one_of("wandb", "none")
    project: str = MISSING
    entity: str | None = None
    mode: str = one_of("auto", "online", "offline")


@dataclass
class RunConfig(Generic[TaskT, ModelT, DatasetT, GroupT]):
    """The full configuration of a run.

    Its task, model, dataset and group are dataclasses of the task.
    """

    task: TaskT = MISSING
    method: MethodConfig = field(default_factory=MethodConfig)
    group: GroupT = MISSING
    model: ModelT = MISSING
    dataset: DatasetT = MISSING
    scale: NamedConfig = field(default_factory=NamedConfig)
    protocol: NamedConfig = field(default_factory=NamedConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    stage: str = MISSING
    seed: int = between(0, 2**32 - 1)
    device: str = one_of("auto", "cpu", "cuda", "mps")
    threads: int = at_least(1)
    results: str = MISSING
    preset: str | None = None

    def to_yaml(self) -> str:
        """Return the configuration as the text of a YAML file."""
        return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(self)))


#: A configuration of any task.
AnyConfig = RunConfig[Any, Any, Any, Any]
