"""Stage ``generate``: sentences about every demographic group, written by a method."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import equitune
from experiments.fairness.decoding import Prompt, Writer, make_prompts
from experiments.fairness.methods import make_writer, relaxed_lists, vocabulary_of
from experiments.fairness.models import LanguageModel, load_model
from experiments.fairness.scorers import Judge, judge_of
from experiments.fairness.sentences import SENTENCES, Sentence, read_written, to_csv
from experiments.fairness.train_lambda import load_lambda
from experiments.fairness.words import Vocabulary, words_without_token
from experiments.frame.errors import UserError
from experiments.frame.fields import given
from experiments.frame.methods import Kind
from experiments.frame.progress import progress

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessConfig
    from experiments.frame.records import Run

log = logging.getLogger(__name__)


def generate(config: FairnessConfig, run: Run) -> None:
    """Generate the sentences, or read them from a file, and store them."""
    prompts = make_prompts(config.group, config.task.prompts, config.dataset.contexts)
    each = config.task.sentences // len(config.dataset.contexts)
    if config.model.kind == "sentences":
        sentences = _from_file(config, prompts, each)
    else:
        sentences = _written(config, run, prompts, each)
    run.save_bytes(SENTENCES, to_csv(sentences))
    run.row("sentences", len(sentences))


def _from_file(config: FairnessConfig, prompts: list[Prompt], each: int) -> list[Sentence]:
    phrases = config.group.phrases[config.task.prompts]
    named = [(phrases[prompt.person], prompt.context) for prompt in prompts]
    found = read_written(Path(given(config.model.file)), named, each)
    missing = {(s.person, s.context) for s in found} ^ set(named)
    if missing:
        person, context = sorted(missing)[0]
        raise UserError(
            f"{config.model.file}: no sentence begins with 'The {person} {context}'; "
            "task.prompts= says how prompts name people: paper, sheng"
        )
    return found


def _written(config: FairnessConfig, run: Run, prompts: list[Prompt], each: int) -> list[Sentence]:
    language = load_model(config, run)
    vocabulary = vocabulary_of(config, language)
    run.fact("moved", [" ".join(map(repr, words)) for words in vocabulary.moved])
    run.fact("dropped", [" ".join(map(repr, words)) for words in vocabulary.dropped])
    if config.task.relaxed and config.method.entry.kind is Kind.MEAN:
        _note_words_without_token(config, run, language)
    writer = prepared_writer(config, run, language, vocabulary)
    kept, facts = run.resume() or ({}, {"done": 0})
    done: dict[str, Tensor] = dict(kept)
    phrases = config.group.phrases[config.task.prompts]
    shorter = "task.sentences and task.tokens make it shorter"
    label = f"generate {run.folder.name}"
    with progress(label, len(prompts), facts["done"], shorter) as bar:
        for place, prompt in enumerate(prompts):
            if place >= facts["done"]:
                batches = range(0, each, config.task.batch)
                parts = [
                    writer.write(prompt, range(first, min(first + config.task.batch, each)))
                    for first in batches
                ]
                done[str(place)] = torch.cat(parts)
                run.checkpoint(done, {"done": place + 1})
                bar.update(place + 1)
    found = []
    for place, prompt in enumerate(prompts):
        given = writer.encode(prompt).tolist()
        for number, row in enumerate(done[str(place)].tolist()):
            ids = row[: row.index(writer.end)] if writer.end in row else row
            text = writer.text([*given, *ids])
            found.append(Sentence(phrases[prompt.person], prompt.context, number, text, tuple(ids)))
    return found


def _note_words_without_token(config: FairnessConfig, run: Run, language: LanguageModel) -> None:
    """Record the words of lists G and N without effect; refuse a list N in which none has any.

    Raises:
        UserError: If no word of ``dataset.neutral`` is one token of the model.
    """
    general, neutral = relaxed_lists(config)
    idle = words_without_token(language.tokenizer, [*general, *(neutral or ())])
    run.fact("words_without_token", idle)
    if neutral is not None and set(neutral) <= set(idle):
        raise UserError(
            f"dataset.neutral={config.dataset.neutral}: no word of it is one token of this model"
        )
    if idle:
        some = ", ".join(idle[:5]) + (" ..." if len(idle) > 5 else "")
        log.info(
            "%d words of group.general and dataset.neutral are not one token of this model and "
            "have no effect: %s",
            len(idle),
            some,
        )


def prepared_writer(
    config: FairnessConfig,
    run: Run,
    language: LanguageModel,
    vocabulary: Vocabulary,
    judge: Judge | None = None,
    net: equitune.LambdaNet | None = None,
) -> Writer:
    """Return the writer of the run's method, with its trained lambda or its judge.

    Args:
        config: The run's configuration.
        run: The run in progress, which needs the run that trained lambda.
        language: The model.
        vocabulary: The action on its tokens.
        judge: The judge of equizero, if already loaded.
        net: The network of lambda, if already loaded.
    """
    options: dict[str, Any] = {}
    if config.method.entry.needs_loss:
        options["judge"] = judge or judge_of(config, given(config.task.scorer), run)
    elif config.method.entry.needs_net:
        options["net"] = load_lambda(config, run) if net is None else net
    return make_writer(config, language, vocabulary, **options)
