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
from experiments.frame.fields import at_least, between, one_of, only_for
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
            raise UserError(
                "method.lambda_net is trained alone here: give its steps and batch_size, such as "
                "method.lambda_net.steps=2000 method.lambda_net.batch_size=128"
            )
        return LambdaBudget(self.steps, self.batch_size)


@dataclass
class MethodConfig:
    """The weighting of the views of an orbit (Eq. 4).

    Attributes:
        name: Name of the method.
        lambda_net: The network of a method that has one.
        temperature: Of a soft choice; None: the likeliest on held-out training data.
        task_weight: Weight of the task's loss beside the prior, 0: no labels are used.
        stem: Share of the model's work that is done for all views before one is chosen; 0: a small
            network reads the inputs.
        distance: Which distance from training data.
        neighbours: Of the distance ``neighbours``, their number; None: chosen on held-out training
            data.
        gate: Views are compared only if the input is farther from training data than so many
            percent of upright data; None: always, which is exactly equivariant.
    """

    name: str = MISSING
    lambda_net: LambdaNetConfig | None = None
    temperature: float | None = only_for(
        "needs_temperature", at_least(0, above=True), required=False, default=None
    )
    task_weight: float | None = only_for("needs_pose", at_least(0), default=None)
    stem: float | None = only_for("needs_stem", between(0, 1, below=True), default=None)
    distance: str | None = only_for(
        "needs_reference", one_of("mahalanobis", "neighbours"), default=None
    )
    neighbours: int | None = only_for("needs_reference", at_least(1), required=False, default=None)
    gate: float | None = only_for("needs_reference", between(0, 100), required=False, default=None)

    @property
    def is_fitted(self) -> bool:
        """Whether a run of stage=lambda fits the weighting."""
        return self.entry.is_fitted and self.temperature is None

    @property
    def fits_temperature(self) -> bool:
        """Whether that fits a temperature: one number."""
        return self.entry.needs_temperature and self.is_fitted

    @property
    def labels_weight(self) -> float:
        """Weight of the labels' loss in the training of the network, beside a prior or alone."""
        return 1.0 if self.task_weight is None else self.task_weight

    @property
    def uses_labels(self) -> bool:
        """Whether the weighting is fitted to labels."""
        return (self.entry.needs_labels and self.temperature is None) or bool(self.task_weight)

    def settings(self) -> dict[str, Any]:
        """Return the name and all options that are set, for run names."""
        own = {
            "name": self.name,
            "lambda_net": self.lambda_net and dataclasses.asdict(self.lambda_net),
        }
        return own | self.own_options()

    def own_options(self) -> dict[str, Any]:
        """Return the options that are set, besides the network."""
        names = (item.name for item in dataclasses.fields(self))
        values = {name: getattr(self, name) for name in names if name not in ("name", "lambda_net")}
        return {name: value for name, value in values.items() if value is not None}

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
    artefact: str | None = None
    verbose: bool = False

    def to_yaml(self) -> str:
        """Return the configuration as the text of a YAML file."""
        return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(self)))


#: A configuration of any task.
AnyConfig = RunConfig[Any, Any, Any, Any]
