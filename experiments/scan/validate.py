"""Completes and validates the configuration of SCAN, before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.frame.errors import UserError, unknown
from experiments.frame.fields import given
from experiments.frame.methods import PRETRAINED, Kind
from experiments.frame.tasks import load_task
from experiments.scan.backends import why_no_kernel
from experiments.scan.fingerprint import OPTIONS, TUNED
from experiments.scan.grammar import ACTION_WORDS, COMMAND_WORDS
from experiments.scan.options import ScanGroup, ScanTask, load_group

if TYPE_CHECKING:
    from experiments.scan.options import ScanConfig

#: Number of words of the longest target, EOS included.
LONGEST = 49


def resolve(config: ScanConfig) -> None:
    """Complete and validate the configuration, before anything is loaded.

    Options that the method does not read become None; back end and group are filled in.

    Raises:
        UserError: For options that exclude each other, an invalid budget or model, or invalid
            cycles of words.
    """
    _check_options(config.task)
    _check_pretraining(config)
    if config.method.entry.augments:
        _check_augmented(config)
    if config.model.equivariant:
        config.group = _built_in_group(config)
    elif not config.method.entry.uses_group:
        config.group = ScanGroup(name="trivial")
    _check_group(config.group)
    _check_finetuning(config)
    _drop_unread(config)


def _check_augmented(config: ScanConfig) -> None:
    """Check the model and the group of a training on transformed pairs."""
    name, model, group = config.method.name, config.model, config.group.name
    if model.equivariant:
        raise UserError(
            f"model={model.name} is equivariant by itself: transformed pairs teach it nothing; "
            f"choose method={PRETRAINED}"
        )
    if model.checkpoint is not None:
        raise UserError(f"method={name} trains the model itself: it takes no model.checkpoint")
    symmetry = config.dataset.symmetry
    if not config.method.entry.uses_group and group not in ("trivial", symmetry):
        raise UserError(
            f"method={name} is trained on transforms by dataset.symmetry={symmetry}, not by "
            f"group={group}; give dataset.symmetry={group}"
        )


def _check_finetuning(config: ScanConfig) -> None:
    """Check and complete the settings of fine-tuning; None if there is no fine-tuning."""
    settings, method = given(config.task.finetune), config.method.entry
    if config.method.lambda_net is not None:
        config.method.lambda_net.budget()
    if method.kind is Kind.SOFT_CHOICE and config.task.selection != "sequence":
        raise UserError(
            f"task.selection={config.task.selection}: method={method.name} weighs a view once, by "
            "its finished sequence, as the words so far are not of gx alone; choose "
            "task.selection=sequence"
        )
    if settings.iterations == 0:
        if config.stage == "finetune":
            raise UserError("stage=finetune needs task.finetune.iterations above 0")
        config.task.finetune = None
        return
    if method.kind not in TUNED:
        raise UserError(
            f"task.finetune.iterations: method={method.name} is not fine-tuned; choose from "
            f"method={load_task('scan').methods(lambda known: known.kind in TUNED)}"
        )
    if method.needs_loss and config.task.selection != "sequence":
        raise UserError(
            f"task.selection={config.task.selection} cannot be fine-tuned; "
            "choose task.selection=sequence"
        )
    if not method.needs_loss:
        settings.equizero_steps = None
    if settings.learning_rate is not None:
        settings.rate = None
    elif settings.rate is None or settings.rate not in settings.rates:
        raise unknown("task.finetune.rate", str(settings.rate), settings.rates)
    elif config.dataset.name not in settings.rates[settings.rate]:
        raise UserError(
            f"task.finetune.rates.{settings.rate} has no learning rate for "
            f"dataset={config.dataset.name}; it has: {', '.join(settings.rates[settings.rate])}"
        )


def _built_in_group(config: ScanConfig) -> ScanGroup:
    """Return the group of an equivariant model."""
    model = config.model
    if config.method.entry.uses_group:
        raise UserError(
            f"model={model.name} is equivariant by itself and cannot be averaged by "
            f"method={config.method.name}; choose method={PRETRAINED}"
        )
    if model.dropout:
        raise UserError(f"model={model.name} has no dropout; set model.dropout=0")
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
            if factor.factors or not factor.words:
                raise UserError(
                    f"group.factors: {factor.name} has no words of its own that it cycles"
                )
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


def _check_pretraining(config: ScanConfig) -> None:
    """Check and complete the settings of pretraining; the other back end's budget is None."""
    settings, model = config.task.pretrain, config.model
    missing = why_no_kernel()
    if settings.backend == "numba" and missing:
        raise UserError(f"task.pretrain.backend=numba: {missing}; choose: auto, torch")
    settings.backend = "torch" if missing or settings.backend == "torch" else "numba"
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


def _check_cycles(name: str, cycles: list[list[str]], words: tuple[str, ...]) -> None:
    found = [word for cycle in cycles for word in cycle]
    for word in found:
        if word not in words:
            raise unknown(name, word, words)
    if len(set(found)) != len(found):
        raise UserError(f"{name}: a word stands in more than one place of {cycles}")


def _drop_unread(config: ScanConfig) -> None:
    """Set options that the method does not read to None; they are then not part of run names."""
    task, method = config.task, config.method.entry
    if not method.uses_group:
        reads = {"validation"}
    elif method.kind is Kind.SOFT_CHOICE:
        reads = {"score", "space"}
    else:
        reads = {"selection", "score"} if method.needs_loss else {"coupling", "space"}
    if method.kind is Kind.CHOICE and task.selection != "sequence":
        reads.add("coupling")
    if task.finetune is not None:
        reads.add("space")
    if config.model.equivariant:
        reads.add("word_bias")
    for name in set(OPTIONS) - reads:
        setattr(task, name, None)
