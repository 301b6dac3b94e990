"""Completing the configuration of the fairness task and refusing what makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.fairness.lists import check_lists, counted_words, read_words
from experiments.fairness.regard_data import SPLITS, labelled_lines
from experiments.fairness.source_checks import check_source, check_wanted, unpin
from experiments.fairness.sources import NETWORKS, wanted_of
from experiments.frame.errors import UserError, unknown
from experiments.frame.fields import check_values, given
from experiments.frame.methods import PRETRAINED, Kind
from experiments.frame.tasks import load_task

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessConfig


def resolve(config: FairnessConfig) -> None:
    """Complete the configuration and refuse what makes no sense, before anything is loaded.

    Options that the run does not read become None.

    Raises:
        UserError: For lists that are no action, unknown scorers, missing files, and combinations
            that make no sense.
    """
    _check_prompts(config)
    unpin(config)
    check_source(config.model)
    _check_method(config)
    _check_scorers(config)
    if config.model.kind != "planted":
        config.task.pretrain = None
        if config.stage == "pretrain":
            raise UserError(f"stage=pretrain: model={config.model.name} is loaded, not trained")
    elif None in (config.model.width, config.model.layers, config.model.heads):
        raise UserError("model.kind=planted needs model.width, model.layers and model.heads")


def _check_prompts(config: FairnessConfig) -> None:
    task, data, group = config.task, config.dataset, config.group
    check_lists(group)
    if task.prompts not in group.phrases:
        raise unknown("task.prompts", task.prompts, group.phrases)
    if not data.contexts or not all(c and c == c.strip() for c in data.contexts):
        raise UserError(
            f"dataset.contexts={data.contexts} must be a list of texts without spaces around them"
        )
    if task.sentences % len(data.contexts):
        raise UserError(
            f"task.sentences={task.sentences} are divided evenly among the "
            f"{len(data.contexts)} contexts; choose a multiple of {len(data.contexts)}"
        )


def _check_method(config: FairnessConfig) -> None:
    task, method = config.task, config.method.entry
    if config.model.kind == "sentences" and method.uses_group:
        raise UserError(
            f"model={config.model.name} has sentences and no network: choose method={PRETRAINED}"
        )
    if config.protocol.name == "reference" and (method.needs_loss or method.needs_net):
        raise UserError(
            f"protocol=reference: the authors' code has no {method.name} for language; choose "
            "protocol=paper"
        )
    if task.relaxed and (method.needs_net or not method.uses_group):
        relaxable = load_task("fairness").methods(
            lambda known: known.uses_group and not known.needs_net
        )
        raise UserError(f"task.relaxed=true belongs to method={relaxable}, not to {method.name}")
    if task.relaxed and task.branches == "samples" and method.needs_loss:
        raise UserError("task.branches=samples has no group, so task.relaxed=true means nothing")
    if not (task.relaxed and method.kind is Kind.MEAN):
        task.neutral = task.averaged = None
    if task.neutral == "listed":
        read_words(config.dataset.neutral)
    if not method.uses_group:
        task.relaxed = None
    if method.needs_loss:
        task.space = None
        if task.branches == "samples":
            task.noise = "context"
            task.forms = task.lists = task.relaxed = None
    if method.needs_net:
        if task.space is None:
            raise UserError(f"method={method.name} needs task.space")
        given(config.method.lambda_net).budget()


def _check_scorers(config: FairnessConfig) -> None:
    task = config.task
    if not task.judges:
        raise UserError(f"task.judges=[] labels nothing; choose from: {', '.join(task.scorers)}")
    used = list(dict.fromkeys([*task.judges, *([task.scorer] if task.scorer else [])]))
    for name in used:
        if name not in task.scorers:
            raise unknown("task.scorer" if name == task.scorer else "judge", name, task.scorers)
    task.scorers = {name: task.scorers[name] for name in used}
    for name, scorer in task.scorers.items():
        check_values(scorer, f"task.scorers.{name}.")
        needed = {
            "words": ("positive", "negative"),
            "bag": ("penalty",),
            "encoder": ("penalty", "source"),
            "hub": ("source",),
        }[scorer.kind]
        for key in needed:
            if getattr(scorer, key) is None:
                raise UserError(f"task.scorers.{name}: kind {scorer.kind} needs {key}")
        if scorer.kind in ("bag", "encoder"):
            _check_data(name, task.regard_data)
        if scorer.kind in NETWORKS:
            check_wanted(wanted_of(scorer, f"task.scorers.{name}"))
        elif scorer.local or scorer.sha256:
            raise UserError(
                f"task.scorers.{name}: local and sha256 are for kinds encoder and hub, not for "
                f"kind {scorer.kind}"
            )
        if scorer.kind == "words":
            counted_words(given(scorer.positive))
            counted_words(given(scorer.negative))


def _check_data(name: str, folder: str | None) -> None:
    if folder is None:
        raise UserError(
            f"the scorer {name} learns from labelled sentences: task.regard_data=FOLDER with "
            "train.tsv, dev.tsv and test.tsv (label -1, 0, 1 or 2, TAB, text)"
        )
    for split in SPLITS:
        labelled_lines(Path(folder) / f"{split}.tsv")
