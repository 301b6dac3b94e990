"""The configuration sections of SCAN: which keys exist and of which type; values are in conf/."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING, OmegaConf

from experiments.frame.conf import CONF
from experiments.frame.errors import unknown
from experiments.frame.fields import at_least, between, how, in_rows, one_of
from experiments.frame.options import GroupConfig, RunConfig


@dataclass
class PretrainConfig:
    """Pretraining at batch 1 (Section 5.1.3).

    The budget that does not apply is None (:func:`resolve`).
    """

    iterations: int | None = at_least(1)
    iterations_without_kernel: int | None = at_least(1)
    evaluations: int = at_least(1)
    learning_rate: float = at_least(0, above=True)
    weight_decay: float = at_least(0)
    clip: float = at_least(0, above=True)
    teacher_forcing: float = between(0, 1)
    backend: str = how(choices=("auto", "numba", "torch"))
    checkpoint_every: int = how(minimum=1)

    @property
    def budget(self) -> int:
        """Number of training iterations."""
        budget = self.iterations_without_kernel if self.iterations is None else self.iterations
        assert budget is not None
        return budget


@dataclass
class FinetuneConfig:
    """Fine-tuning at batch 1 (Section 5.1.3), from a pretrained model.

    ``rate`` or ``learning_rate`` is None, the one that does not apply (:func:`resolve`).
    """

    iterations: int = in_rows(minimum=0)
    evaluate_every: int | None = in_rows(minimum=1)
    rate: str | None = MISSING
    rates: dict[str, dict[str, float]] = field(default_factory=dict)
    learning_rate: float | None = at_least(0, above=True)
    weight_decay: float = at_least(0)
    equizero_steps: int | None = at_least(1)
    clip: float = at_least(0, above=True)
    teacher_forcing: float = between(0, 1)
    checkpoint_every: int = how(minimum=1)

    @property
    def steps(self) -> list[int]:
        """The iterations after which the model is stored and evaluated."""
        if self.evaluate_every is None:
            return [self.iterations]
        return sorted({*range(0, self.iterations, self.evaluate_every), self.iterations})


@dataclass
class ScanTask:
    """The options of ``task=scan``; ``conf/task/scan.yaml`` explains each value.

    An option that a run does not read is None (:func:`resolve`).
    """

    name: str = MISSING
    coupling: str | None = one_of("apart", "joint")
    selection: str | None = one_of("step", "prefix", "sequence")
    score: str | None = one_of("padded", "emitted")
    space: str | None = one_of("log_probabilities", "probabilities", "logits")
    validation: str | None = one_of("held_out", "unseeded")
    word_bias: str | None = one_of("tied", "free")
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    finetune: FinetuneConfig | None = field(default_factory=FinetuneConfig)
    max_commands: int | None = field(default=None, metadata={"minimum": 1})


@dataclass
class ScanModel:
    """A sequence-to-sequence model and, optionally, its weights.

    An equivariant model is built on a group: ``group``, or the data set's if that is None.
    """

    name: str = MISSING
    task: str = MISSING
    cell: str = one_of("LSTM", "GRU", "RNN")
    hidden: int = at_least(1)
    dropout: float = between(0, 1, below=True)
    max_steps: int = at_least(1)
    checkpoint: str | None = how(None)
    equivariant: bool = how(False)
    group: str | None = how(None)
    reduction: str | None = field(default=None, metadata={"choices": ("sum", "mean")})


@dataclass
class ScanDataset:
    """A split of the SCAN language and the groups that act on it.

    ``symmetry`` is the paper's group; ``built_in`` the equivariant models' group by protocol.
    """

    name: str = one_of("add_jump", "around_right")
    task: str = MISSING
    groups: list[str] = field(default=MISSING, metadata={"how": True})
    symmetry: str = MISSING
    built_in: dict[str, str] = MISSING


@dataclass
class ScanGroup(GroupConfig):
    """A group acting on words.

    It is either cyclic (every list is a cycle, all of the same length) or the product of other
    groups, which must act on different words.
    """

    words: list[list[str]] = field(default_factory=list)
    actions: list[list[str]] = field(default_factory=list)
    factors: list[str] = field(default_factory=list)


def load_group(name: str) -> ScanGroup:
    """Return a group by its name in ``conf/group``.

    Raises:
        UserError: If there is no such group.
    """
    path = CONF / f"group/{name}.yaml"
    if not path.is_file():
        raise unknown("group", name, sorted(file.stem for file in path.parent.glob("*.yaml")))
    schema = OmegaConf.structured(ScanGroup)
    group = OmegaConf.to_object(OmegaConf.merge(schema, OmegaConf.load(path)))
    assert isinstance(group, ScanGroup)
    return group


#: The configuration of a run of this task.
ScanConfig = RunConfig[ScanTask, ScanModel, ScanDataset, ScanGroup]
