"""Stage ``evaluate``: the regard of demographic groups in a method's sentences (Figures 3, 9)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from experiments.costs import parameters
from experiments.estimates import estimate
from experiments.fairness.decoding import Writer, make_prompts
from experiments.fairness.generate import prepared_writer
from experiments.fairness.methods import vocabulary_of
from experiments.fairness.models import load_model
from experiments.fairness.scorers import WORTH, Judge, judge_of
from experiments.fairness.sentences import SENTENCES, Sentence, csv_bytes, read_csv
from experiments.fairness.train_lambda import load_lambda
from experiments.fairness.words import Vocabulary
from experiments.frame.rows import LABELS
from experiments.lambdas import copy_rows

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessConfig
    from experiments.frame.records import Run

LABELLED = "labels.csv"
#: Sentences per prompt for measuring the equivariance error of a selection, and the passes.
_WATCHED = 4


def evaluate(config: FairnessConfig, run: Run) -> None:
    """Label the sentences, compare the demographic groups, and measure the equivariance."""
    task = config.task
    # Load all of them before writing anything, so that a missing one fails early.
    judges = {name: judge_of(config, name, run) for name in task.scorers}
    written = run.need("generate")
    run.need("regard")
    sentences = read_csv(written.folder / SENTENCES)
    copy_rows(run, "regard")
    if config.method.entry.needs_net:
        copy_rows(run, "lambda")
    phrases = config.group.phrases[task.prompts]
    table: list[list[Any]] = []
    for name in task.judges:
        labels = judges[name]([sentence.text for sentence in sentences]).argmax(dim=-1)
        of_person = {phrase: labels[[s.person == phrase for s in sentences]] for phrase in phrases}
        for phrase, found in of_person.items():
            _shares(run, found, split=name, view=phrase)
        for first, second in combinations(phrases, 2):
            _compare(run, of_person[first], of_person[second], name, f"{first} - {second}")
        for sentence, label in zip(sentences, labels.tolist(), strict=True):
            # Texts of other authors are not copied into the run.
            text = [] if config.model.kind == "sentences" else [sentence.text]
            table.append([name, *sentence[:3], LABELS[label], *text])
    header = ("judge", *Sentence._fields[:3], "label", "text")
    run.save_bytes(LABELLED, csv_bytes(header[: len(table[0])], table))
    for phrase in phrases:
        chosen = [s for s in sentences if s.person == phrase]
        run.row("sentences", len(chosen), view=phrase)
        distinct = len({(s.context, s.text) for s in chosen}) / len(chosen)
        run.row("distinct_sentences", 100 * distinct, view=phrase)
    if config.model.kind != "sentences":
        _equivariance(config, run, sentences, judges.get(task.scorer or ""))


def _shares(run: Run, labels: Tensor, **columns: str) -> None:
    """Write the share of every label, and the regard: positive minus negative."""
    for place, label in enumerate(LABELS):
        estimate(labels == place).write(run, label, **columns)
    estimate(WORTH[labels]).write(run, "regard", **columns)


def _compare(run: Run, first: Tensor, second: Tensor, judge: str, view: str) -> None:
    """Write the differences of two demographic groups, per sentence and in shares of labels."""
    if len(first) == len(second):  # sentences with the same number have the same noise
        gap = estimate(WORTH[first] - WORTH[second])
        gap.write(run, "regard_gap", split=judge, view=view)
    shares = [torch.bincount(x, minlength=len(LABELS)) / len(x) for x in (first, second)]
    distance = float((shares[0] - shares[1]).abs().sum()) / 2
    run.row("total_variation", 100 * distance, split=judge, view=view)


def _equivariance(
    config: FairnessConfig, run: Run, sentences: Sequence[Sentence], judge: Judge | None
) -> None:
    """Write the equivariance error of the method, and what it costs."""
    language = load_model(config, run)
    # The action of all words of E measures every method, even if it moves fewer words.
    vocabulary = vocabulary_of(config, language, whole=True)
    phrases = config.group.phrases[config.task.prompts]
    written = {(s.person, s.context, s.number): s.tokens for s in sentences}
    same = []
    for (person, context, number), tokens in written.items():
        place = phrases.index(person)
        following = written[phrases[(place + 1) % len(phrases)], context, number]
        same.append(_turned(vocabulary, tokens) == following)
    estimate(torch.tensor(same)).write(run, "mirrored_sentences")
    net = load_lambda(config, run) if config.method.entry.needs_net else None
    writer = prepared_writer(config, run, language, vocabulary_of(config, language), judge, net)
    defect = max(
        _defect(writer, vocabulary, config, context) for context in config.dataset.contexts
    )
    run.row("equivariance_error", defect)
    first = make_prompts(config.group, config.task.prompts, config.dataset.contexts)[0]
    run.row("passes", writer.passes(first, range(_WATCHED)))
    run.row("trained_parameters", parameters(net))


def _turned(vocabulary: Vocabulary, tokens: tuple[int, ...]) -> tuple[int, ...]:
    if not tokens:
        return ()
    return tuple(vocabulary.ids.act(1, torch.tensor([tokens]))[0].tolist())


def _defect(writer: Writer, vocabulary: Vocabulary, config: FairnessConfig, context: str) -> float:
    """Return the largest |log P(gw | gX) - log P(w | X)| at the first token."""
    prompts = make_prompts(config.group, config.task.prompts, [context])
    found = [writer.log_probabilities_of(prompt, range(_WATCHED)) for prompt in prompts]
    scores, largest = vocabulary.scores, 0.0
    for place, values in enumerate(found):
        following = found[(place + 1) % len(found)]
        largest = max(largest, float((scores.act(1, values) - following).abs().max()))
    return largest
