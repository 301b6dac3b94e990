"""Builds a writer from a configuration: moved words, rule, ends of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import equitune
from experiments.fairness.decoding import Branches, Writer, all_alike, make_prompts, orbit_of
from experiments.fairness.kv_cache import CachedModel
from experiments.fairness.lists import equality_lists, read_words
from experiments.fairness.token_rules import (
    ByRegard,
    learned_rule,
    relaxed_rule,
    relaxed_weights,
    uniform_rule,
)
from experiments.fairness.words import (
    Vocabulary,
    averaged_tokens,
    beginning_of,
    check_prompts,
    check_words,
    find_vocabulary,
)
from experiments.frame.errors import UserError
from experiments.frame.fields import given
from experiments.frame.methods import Kind, find_method

if TYPE_CHECKING:
    from experiments.fairness.models import LanguageModel
    from experiments.fairness.options import FairnessConfig, FairnessTask
    from experiments.fairness.scorers import Judge


#: Names of the number of positions in transformers configurations.
_POSITIONS = (
    *("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length"),
)


def vocabulary_of(
    config: FairnessConfig, language: LanguageModel, *, whole: bool = False
) -> Vocabulary:
    """Return the action of the run's group on the model's vocabulary.

    Args:
        config: The run's configuration.
        language: The model.
        whole: Whether to move all words of the group's lists, even if the run moves fewer.

    Raises:
        UserError: If the prompts use a word that is not one token, words clash, or the model has
            too few positions.
    """
    task, group, tokenizer = config.task, config.group, language.tokenizer
    relaxed, lists, forms = bool(task.relaxed), task.lists or "all", task.forms or "all"
    if whole:
        relaxed, lists, forms = False, "all", "all"
    words = equality_lists(group, relaxed=relaxed, lists=lists)
    used = {word for phrase in group.phrases[task.prompts] for word in phrase.split()}
    check_words(tokenizer, [word for listed in words for word in listed if word in used])
    vocabulary = find_vocabulary(tokenizer, language.size, words, forms)
    prompts = make_prompts(group, task.prompts, config.dataset.contexts)
    for context in config.dataset.contexts:
        check_prompts(tokenizer, vocabulary, [p.text for p in prompts if p.context == context])
    _check_positions(language, [prompt.text for prompt in prompts], task.tokens)
    return vocabulary


def _check_positions(language: LanguageModel, prompts: Sequence[str], tokens: int) -> None:
    """Check that a model has positions for prompts and continuations, except the last token.

    Raises:
        UserError: If not; the message gives the possible number of tokens.
    """
    found = (getattr(language.network.config, name, None) for name in _POSITIONS)
    most = next((number for number in found if number is not None), None)
    tokenizer = language.tokenizer
    size, prompt = max((len(tokenizer.encode(t, add_special_tokens=False)), t) for t in prompts)
    taken = len(beginning_of(tokenizer)) + size
    if most is not None and taken + tokens - 1 > most:
        raise UserError(
            f"task.tokens={tokens}: the model has {most} positions, and the prompt {prompt!r} "
            f"takes {taken}; choose at most {most - taken + 1}"
        )


def make_writer(
    config: FairnessConfig,
    language: LanguageModel,
    vocabulary: Vocabulary,
    *,
    method: str | None = None,
    judge: Judge | None = None,
    net: equitune.LambdaNet | None = None,
) -> Writer:
    """Return the writer of a method.

    Args:
        config: The run's configuration.
        language: The model.
        vocabulary: The action on its tokens.
        method: Name of a method, instead of the run's.
        judge: The judge of equizero.
        net: The network of lambda_equitune.
    """
    task, kind = config.task, find_method(method or config.method.name).kind
    branches = _branches(task, kind, language, vocabulary)
    stops, end = _stops(task, language)
    writer = Writer(
        model=CachedModel(language.network, with_hidden=net is not None),
        tokenizer=language.tokenizer,
        beginning=tuple(beginning_of(language.tokenizer)),
        branches=branches,
        make_rule=uniform_rule(task.space or "logits"),
        block=given(task.block) if kind is Kind.CHOICE else 1,
        log_probabilities=task.space == "probabilities",
        tokens=task.tokens,
        top_k=task.top_k,
        temperature=task.temperature,
        stops=stops,
        end=end,
        phrases=tuple(config.group.phrases[task.prompts]),
        noise=task.noise or "context",
        seed=config.seed,
    )
    if kind is Kind.MEAN and task.relaxed:
        marks = relaxed_tokens(config, language, vocabulary)
        weights = relaxed_weights(marks, vocabulary.ids.group).to(language.network.device)
        return replace(writer, make_rule=relaxed_rule(weights, given(task.space)))
    if kind is Kind.LEARNED_MEAN:
        assert net is not None
        found = net.to(language.network.device).eval()
        return replace(writer, make_rule=learned_rule(found, given(task.space)))
    if kind is Kind.CHOICE:
        assert judge is not None
        by_regard = partial(ByRegard, judge, given(task.score), branches.ids, writer.text, end)
        return replace(writer, make_rule=by_regard)
    if kind is Kind.OTHER:
        raise ValueError(f"method={method} needs all views at once, and decoding has one word")
    return writer


def _branches(
    task: FairnessTask, kind: Kind, language: LanguageModel, vocabulary: Vocabulary
) -> Branches:
    """Return the branches of a method, on the model's device."""
    if kind is Kind.OWN_VIEW:
        branches = all_alike(language.size, equitune.trivial())
    elif kind is Kind.CHOICE and task.branches == "samples":
        branches = all_alike(language.size, vocabulary.ids.group)
    else:
        branches = orbit_of(vocabulary)
    branches.ids.to(language.network.device)
    branches.scores.to(language.network.device)
    return branches


def relaxed_tokens(
    config: FairnessConfig, language: LanguageModel, vocabulary: Vocabulary
) -> Tensor:
    """Return the marks of the tokens that R-equitune averages, [V]."""
    general, neutral = relaxed_lists(config)
    equality = config.task.averaged == "equality_and_neutral"
    return averaged_tokens(language.tokenizer, vocabulary, general, neutral, equality=equality)


def relaxed_lists(config: FairnessConfig) -> tuple[list[str], list[str] | None]:
    """Return the words of G and of N; None for N if it has all other words."""
    left_alone = [word for words in config.group.coreference.values() for word in words]
    listed = config.task.neutral == "listed"
    neutral = list(read_words(config.dataset.neutral)) if listed else None
    return [*config.group.general, *left_alone], neutral


def _stops(task: FairnessTask, language: LanguageModel) -> tuple[Tensor, int]:
    """Return the marks of the tokens that end a sentence, and the id that replaces them.

    Raises:
        UserError: If there is none.
    """
    tokenizer = language.tokenizer
    marks = torch.zeros(language.size, dtype=torch.bool)
    if task.stop:
        texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        found = [place for place, text in enumerate(texts) if any(s in text for s in task.stop)]
        marks[found] = True
    end = tokenizer.eos_token_id
    if end is None:
        if not marks.any():
            raise UserError("the model has no token for the end of a text; task.stop= needs one")
        end = int(marks.nonzero()[0])
    marks[end] = True
    return marks, int(end)
