"""What the frame needs to know of SCAN: its configuration, its stages, their identities."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, OmegaConf

from experiments.errors import UserError, unknown
from experiments.files import sha256
from experiments.scan.grammar import ACTION_WORDS, COMMAND_WORDS
from experiments.schema import (
    CONF,
    GroupConfig,
    at_least,
    between,
    deciding,
    how,
    in_rows,
    one_of,
    variant,
)
from experiments.stages import Stage, Task

if TYPE_CHECKING:
    from experiments.schema import RunConfig


#: Words of the longest target, its end included.
LONGEST = 49
#: The options in which the text and the authors' code differ.
OPTIONS = ("coupling", "selection", "score", "space", "validation", "word_bias")


@dataclass
class PretrainConfig:
    """Pretraining at batch 1 (Section 5.1.3).

    Of the two budgets the one that does not apply is None (:func:`resolve`).
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
        """The iterations to train."""
        budget = self.iterations_without_kernel if self.iterations is None else self.iterations
        assert budget is not None
        return budget


@dataclass
class FinetuneConfig:
    """Fine-tuning at batch 1 (Section 5.1.3), from a pretrained model.

    Of ``rate`` and ``learning_rate`` the one that does not apply is None (:func:`resolve`).
    """

    iterations: int = in_rows(minimum=0)
    evaluate_every: int | None = in_rows(minimum=1)
    rate: str | None = MISSING
    rates: dict[str, dict[str, float]] = field(default_factory=dict, metadata={"how": True})
    learning_rate: float | None = at_least(0, above=True)
    weight_decay: float = at_least(0)
    equizero_steps: int | None = at_least(1)
    clip: float = at_least(0, above=True)
    teacher_forcing: float = between(0, 1)
    checkpoint_every: int = how(minimum=1)

    @property
    def steps(self) -> list[int]:
        """The iterations after which the model is kept and evaluated."""
        if self.evaluate_every is None:
            return [self.iterations]
        return sorted({*range(0, self.iterations, self.evaluate_every), self.iterations})


@dataclass
class ScanTask:
    """The options of ``task=scan``; ``conf/task/scan.yaml`` says what each value means.

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

    An equivariant model is built on a group: ``group``, or the data set's where that is None.
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

    ``symmetry`` is the paper's group, ``built_in`` that of the equivariant models by protocol.
    """

    name: str = one_of("add_jump", "around_right")
    task: str = MISSING
    groups: list[str] = MISSING
    symmetry: str = MISSING
    built_in: dict[str, str] = MISSING


@dataclass
class ScanGroup(GroupConfig):
    """A group acting on words.

    Either cyclic: every list is a cycle, all of the same length. Or the product of other groups,
    which must act on different words.
    """

    words: list[list[str]] = field(default_factory=list)
    actions: list[list[str]] = field(default_factory=list)
    factors: list[str] = field(default_factory=list)


def resolve(config: RunConfig) -> None:
    """Complete the configuration and refuse what makes no sense, before anything is loaded.

    Options that the method does not read become None, the back end and the group what they are.

    Raises:
        UserError: For options that exclude each other, a missing checkpoint, a budget or a model
            that cannot work, or cycles of words that are none.
    """
    _check_options(config.task)
    _check_pretraining(config)
    if config.model.equivariant:
        config.group = _built_in_group(config)
    elif config.method.name == "pretrained":
        config.group = ScanGroup(name="trivial")
    _check_group(config.group)
    _check_finetuning(config)
    _drop_unread(config)


def _check_finetuning(config: RunConfig) -> None:
    """Check and complete the settings of fine-tuning; None where there is none."""
    settings, method = config.task.finetune, config.method.name
    if config.stage == "lambda" and method != "lambda_equitune":
        raise UserError(f"stage=lambda needs method=lambda_equitune, not {method}")
    if settings.iterations == 0:
        if config.stage == "finetune":
            raise UserError("stage=finetune needs task.finetune.iterations above 0")
        config.task.finetune = None
        return
    if method == "pretrained":
        raise UserError(
            "task.finetune.iterations: method=pretrained is not fine-tuned; choose "
            "method=equitune, equizero or lambda_equitune"
        )
    if method == "equizero" and config.task.selection != "sequence":
        raise UserError(
            f"task.selection={config.task.selection} cannot be fine-tuned; "
            "choose task.selection=sequence"
        )
    if method != "equizero":
        settings.equizero_steps = None
    if settings.learning_rate is not None:
        settings.rate = None
    elif settings.rate not in settings.rates:
        raise unknown("task.finetune.rate", str(settings.rate), settings.rates)


def _built_in_group(config: RunConfig) -> ScanGroup:
    """Return the group that an equivariant model is built on."""
    model = config.model
    if config.method.name != "pretrained":
        raise UserError(
            f"model={model.name} is equivariant by itself and cannot be averaged by "
            f"method={config.method.name}; choose method=pretrained"
        )
    name = model.group or config.dataset.built_in[config.protocol.name]
    if name not in config.dataset.groups:
        raise unknown("model.group", name, config.dataset.groups)
    return load_group(name)


def _check_group(group: ScanGroup) -> None:
    if group.factors:
        if group.words or group.actions:
            raise UserError("group: give either factors or words and actions, not both")
        factors = [load_group(name) for name in group.factors]
        for factor in factors:
            _check_group(factor)
        words = [cycle for factor in factors for cycle in factor.words]
        actions = [cycle for factor in factors for cycle in factor.actions]
        _check_cycles("group.factors", words, COMMAND_WORDS)
        _check_cycles("group.factors", actions, ACTION_WORDS)
        return
    _check_cycles("group.words", group.words, COMMAND_WORDS)
    _check_cycles("group.actions", group.actions, ACTION_WORDS)
    orders = {len(cycle) for cycle in group.words + group.actions}
    if len(orders) > 1 or bool(group.words) != bool(group.actions):
        raise UserError("group.words and group.actions must have cycles of one and the same length")


def _check_options(task: ScanTask) -> None:
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


def _check_pretraining(config: RunConfig) -> None:
    """Check and complete the settings of pretraining; None is the budget of the other back end."""
    settings, model = config.task.pretrain, config.model
    compiled = importlib.util.find_spec("numba") is not None
    if settings.backend == "numba" and not compiled:
        raise UserError("task.pretrain.backend=numba: numba is not installed; choose: auto, torch")
    settings.backend = "numba" if compiled and settings.backend != "torch" else "torch"
    full, short = settings.iterations, settings.iterations_without_kernel
    assert full is not None and short is not None
    if settings.backend == "torch" and short < full:
        settings.iterations = None
    else:
        settings.iterations_without_kernel = None
    if settings.evaluations > settings.budget:
        raise UserError(
            f"task.pretrain.evaluations={settings.evaluations} is more than the "
            f"{settings.budget} iterations of pretraining"
        )
    if model.max_steps < LONGEST:
        raise UserError(
            f"model.max_steps={model.max_steps} is too short; the longest target has {LONGEST}"
        )
    if model.checkpoint is None:
        return
    if config.stage == "pretrain":
        raise UserError("stage=pretrain makes no use of model.checkpoint; give one of the two")
    if not Path(model.checkpoint).is_file():
        raise UserError(
            f"model.checkpoint={model.checkpoint}: no such file; give a .safetensors file"
        )


def _check_cycles(name: str, cycles: list[list[str]], words: tuple[str, ...]) -> None:
    found = [word for cycle in cycles for word in cycle]
    for word in found:
        if word not in words:
            raise unknown(name, word, words)
    if len(set(found)) != len(found):
        raise UserError(f"{name}: a word stands in more than one place of {cycles}")


def _drop_unread(config: RunConfig) -> None:
    """Set the options that the method does not read to None, so that they name no run."""
    task, method = config.task, config.method.name
    reads = {
        "pretrained": {"validation"},
        "equitune": {"coupling", "space"},
        "lambda_equitune": {"coupling", "space"},
        "equizero": {"selection", "score"},
    }[method]
    if method == "equizero" and task.selection != "sequence":
        reads.add("coupling")
    if task.finetune is not None:
        reads.add("space")
    if config.model.equivariant:
        reads.add("word_bias")
    for name in set(OPTIONS) - reads:
        setattr(task, name, None)


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


def _pretrain_label(config: RunConfig) -> str:
    return f"{config.dataset.name}-{config.model.name}-seed{config.seed}"


def _evaluate_label(config: RunConfig) -> str:
    group, method = config.group.name, config.method.name
    return f"{config.dataset.name}-{config.model.name}-{group}-{method}-seed{config.seed}"


_MODEL_ONLY = ("protocol", "scale", "variant")

TASK = Task(
    name="scan",
    sections={"task": ScanTask, "model": ScanModel, "dataset": ScanDataset, "group": ScanGroup},
    stages={
        stage.name: stage
        for stage in (
            Stage(
                "pretrain",
                1,
                pretrain_identity,
                _pretrain_label,
                "experiments.scan.pretrain:pretrain",
                blank=("method", "group", *_MODEL_ONLY),
            ),
            Stage(
                "lambda",
                1,
                lambda_identity,
                _evaluate_label,
                "experiments.scan.weighting:weigh",
                blank=_MODEL_ONLY,
            ),
            Stage(
                "finetune",
                1,
                finetune_identity,
                _evaluate_label,
                "experiments.scan.finetune:finetune",
                blank=_MODEL_ONLY,
            ),
            Stage(
                "evaluate",
                2,
                evaluate_identity,
                _evaluate_label,
                "experiments.scan.evaluate:evaluate",
            ),
        )
    },
    resolve=resolve,
)
