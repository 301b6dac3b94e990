"""Writing sentences with a method, in the terms of the library (Sections 5.1.2 and C.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

import equitune
from experiments.errors import UserError
from experiments.fairness.cached import CachedModel, Read
from experiments.fairness.sampling import Noise, RankSampler, draw_noise
from experiments.fairness.scorers import worth
from experiments.fairness.words import (
    Vocabulary,
    averaged_tokens,
    check_prompts,
    check_words,
    equality_lists,
    find_vocabulary,
    read_words,
)

if TYPE_CHECKING:
    from experiments.fairness.models import LanguageModel
    from experiments.fairness.scorers import Judge
    from experiments.fairness.sections import FairnessGroup, FairnessTask
    from experiments.schema import RunConfig


class Prompt(NamedTuple):
    """The beginning of sentences about one demographic group.

    Attributes:
        person: Number of the demographic group.
        context: What is said of the person.
        text: ``The <person> <context>``.
    """

    person: int
    context: str
    text: str


def make_prompts(group: FairnessGroup, kind: str, contexts: Sequence[str]) -> list[Prompt]:
    """Return the prompts, context by context."""
    return [
        Prompt(person, context, f"The {phrase} {context}")
        for context in contexts
        for person, phrase in enumerate(group.phrases[kind])
    ]


class Branches(NamedTuple):
    """How contexts are turned into those of the branches.

    Attributes:
        ids: The action on token ids.
        scores: The same on the last dim of logits.
        people: The demographic group that stands in the context of branch g is
            ``(person + people[g]) % d``.
    """

    ids: equitune.Action
    scores: equitune.Action
    people: tuple[int, ...]


def all_alike(size: int, group: equitune.FiniteGroup) -> Branches:
    """Return branches that all have the context itself."""
    table = torch.arange(size).expand(group.order, size)
    ids, scores = equitune.Relabel(group, table), equitune.PermuteAxis(group, table)
    return Branches(ids, scores, (0,) * group.order)


def orbit_of(vocabulary: Vocabulary) -> Branches:
    """Return a branch for each element of the group."""
    order = vocabulary.ids.group.order
    return Branches(vocabulary.ids, vocabulary.scores, tuple(range(order)))


#: Makes the rule for sentences that begin with the ids of a prompt, [T].
MakeRule = Callable[[Tensor], equitune.Rule]


@dataclass(frozen=True)
class Writer:
    """A language model with a method of writing.

    Attributes:
        model: The network as a step.
        tokenizer: Its tokenizer.
        branches: What it writes with.
        make_rule: How the branches become one.
        block: Tokens between two choices.
        log_probabilities: Whether rules see log-probabilities instead of logits.
        tokens: Length of a continuation.
        top_k: See `RankSampler`.
        temperature: See `RankSampler`.
        stops: Marks of the tokens that end a sentence, [V].
        end: Stands for all of them in what is written.
        phrases: Names of the demographic groups.
        noise: See `draw_noise`.
        seed: Of the noise.
    """

    model: CachedModel
    tokenizer: Any
    branches: Branches
    make_rule: MakeRule
    block: int
    log_probabilities: bool
    tokens: int
    top_k: int | None
    temperature: float
    stops: Tensor
    end: int
    phrases: tuple[str, ...]
    noise: str
    seed: int

    def write(self, prompt: Prompt, sentences: range) -> Int[Tensor, "batch steps"]:
        """Write sentences that begin with a prompt.

        Args:
            prompt: The prompt.
            sentences: Their numbers, which decide their noise.

        Returns:
            Token ids without the prompt's, ``end`` behind the end, on the CPU, [B, T].
        """
        rule = self.make_rule(self.encode(prompt))
        return self._decode(prompt, sentences, rule, self.tokens)

    def log_probabilities_of(
        self, prompt: Prompt, sentences: range
    ) -> Float[Tensor, "batch words"]:
        """Return the log-probabilities of the first token behind a prompt, [B, V].

        Args:
            prompt: The prompt.
            sentences: Numbers of sentences; where a branch is chosen, it depends on their noise.
        """
        rule, seen = self.make_rule(self.encode(prompt)), []

        def watched(block: equitune.Block, memory: Any) -> equitune.Choice:
            choice = rule(block, memory)
            assert choice.scores is not None
            seen.append(choice.scores[:, 0])
            return choice

        self._decode(prompt, sentences, watched, self.block)
        return seen[0].log_softmax(dim=-1)

    def _decode(self, prompt: Prompt, sentences: range, rule: equitune.Rule, steps: int) -> Tensor:
        given, count = self.encode(prompt), len(sentences)
        # Each branch reads all but the last token of its prompt once, for all sentences.
        read = self.model.start(self.branches.ids.orbit(given[None, :-1]).flatten(0, 1))
        order = self.branches.ids.group.order
        rows = torch.arange(order, device=given.device).repeat_interleave(count)
        state = Read(
            tuple((keys[rows], values[rows]) for keys, values in read.cache),
            None if read.hidden is None else read.hidden[rows],
        )
        found = equitune.decode(
            self.step,
            state,
            given[-1].expand(count),
            self.branches.ids,
            self.branches.scores,
            rule,
            max_steps=steps,
            block=self.block,
            end=self.end,
            pick=self.sampler(prompt, sentences),
        )
        return found.words.cpu()

    def encode(self, prompt: Prompt) -> Int[Tensor, " length"]:
        """Return the ids of a prompt.

        Raises:
            UserError: If it is a single token: the model reads all but the last one first.
        """
        ids = self.tokenizer.encode(prompt.text, add_special_tokens=False)
        if len(ids) < 2:
            raise UserError(f"the prompt {prompt.text!r} is a single token; it needs two or more")
        return torch.tensor(ids, device=self.model.device)

    def step(self, state: Read, words: Tensor) -> tuple[Tensor, Read]:
        """Read on; see `CachedModel.step`."""
        scores, state = self.model.step(state, words)
        return scores.log_softmax(dim=-1) if self.log_probabilities else scores, state

    def sampler(self, prompt: Prompt, sentences: range) -> RankSampler:
        """Return what draws the tokens of sentences with their noise."""
        order = len(self.phrases)
        people = [self.phrases[(prompt.person + k) % order] for k in self.branches.people]
        noise = draw_noise(self.seed, prompt.context, people, self.noise, sentences, self.tokens)
        device = self.model.device
        if device.type != "mps":  # which has no float64
            noise = Noise(noise.joint.to(device), noise.branches.to(device))
        return RankSampler(noise, self.top_k, self.temperature, self.stops.to(device), self.end)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of ids up to the end."""
        chosen = list(ids)
        if self.end in chosen:
            chosen = chosen[: chosen.index(self.end)]
        found: str = self.tokenizer.decode(chosen)
        return found


class ByRegard:
    """The rule of equizero (Section C.2): the branch whose text so far is judged best writes on."""

    def __init__(
        self,
        judge: Judge,
        score: str,
        action: equitune.Action,
        text: Callable[[Sequence[int]], str],
        prompt: Int[Tensor, " length"],
        end: int,
    ) -> None:
        """Keep what is needed to judge a text.

        Args:
            judge: Labels texts.
            score: ``discrete`` or ``soft``, see `worth`.
            action: On token ids; texts are judged as the branches wrote them.
            text: Returns the text of ids.
            prompt: The ids of the prompt.
            end: Stands for the tokens that end a sentence.
        """
        self._judge, self._score, self._action = judge, score, action
        self._text, self._prompt, self._end = text, prompt, end

    def __call__(self, block: equitune.Block, memory: Tensor | None) -> equitune.Choice:
        """Choose among the blocks; the memory is what was chosen before, [B, t]."""
        if memory is None:  # the first block has all sentences
            memory = block.words.new_zeros(block.words.shape[1], 0)
        order, count, size = block.words.shape
        before = torch.cat((self._prompt.expand(count, -1), memory[block.rows]), dim=1)
        whole = torch.cat((before.expand(order, -1, -1), block.words), dim=-1)
        own = torch.stack([self._action.act(g, ids) for g, ids in enumerate(whole)])
        texts = [self._text(ids) for ids in own.flatten(0, 1).tolist()]
        values = worth(self._judge(texts), self._score).to(own.device).reshape(order, count)
        loss = -values - self._tie_break(block, own[..., -size:])
        chosen, scores = equitune.select((block.words, block.undone), loss).value
        longer = memory.new_full((len(memory), memory.shape[1] + size), self._end)
        longer[:, : memory.shape[1]] = memory
        longer[block.rows, memory.shape[1] :] = chosen
        return equitune.Choice(longer, words=chosen, scores=scores)

    def _tie_break(self, block: equitune.Block, own: Tensor) -> Float[Tensor, "group batch"]:
        """Return a value for the sum of the probabilities of a block's tokens, that decides ties.

        It is less than half a label, and next to nothing where values are no whole numbers.
        """
        likelihood = (
            block.outputs.gather(-1, own[..., None])[..., 0] - block.outputs.logsumexp(dim=-1)
        ).exp()
        written = block.emitted & (own != self._end)
        total = (likelihood * written).double().sum(dim=-1)
        return total * (0.5 / (1 + own.shape[-1]) if self._score == "discrete" else 1e-9)


def uniform_rule(space: str) -> MakeRule:
    """Return the rule of equitune."""
    return lambda prompt: equitune.by_average(space=space)


def relaxed_rule(averaged: Tensor, space: str) -> MakeRule:
    """Return the rule of R-equitune: the identity's own scores where ``averaged`` [V] is False."""

    def weights(block: equitune.Block) -> Tensor:
        shares = averaged.to(block.undone).expand(len(block.undone), -1).clone()
        shares[0] = 1.0  # the identity of cyclic(d)
        return shares[:, None, None, :]

    return lambda prompt: equitune.by_average(weights, space=space)


def learned_rule(net: equitune.LambdaNet, space: str) -> MakeRule:
    """Return the rule of lambda_equitune: a weight for every context at every token."""

    def weights(block: equitune.Block) -> Tensor:
        found: Tensor = net(block.context.hidden)
        return found.reshape(block.outputs.shape[:2])

    return lambda prompt: equitune.by_average(weights, space=space)


def vocabulary_of(config: RunConfig, language: LanguageModel, *, whole: bool = False) -> Vocabulary:
    """Return how the run's group acts on the model's vocabulary.

    Args:
        config: The run's.
        language: The model.
        whole: By all words of the group's lists, even where the run moves fewer.

    Raises:
        UserError: If the prompts use a word that is not one token, or words clash.
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
    return vocabulary


def make_writer(
    config: RunConfig,
    language: LanguageModel,
    vocabulary: Vocabulary,
    *,
    method: str | None = None,
    judge: Judge | None = None,
    net: equitune.LambdaNet | None = None,
) -> Writer:
    """Return the writer of a method.

    Args:
        config: The run's.
        language: The model.
        vocabulary: How the group acts on it.
        method: Instead of the run's.
        judge: Of equizero.
        net: Of lambda_equitune.
    """
    task, method = config.task, method or config.method.name
    device = language.network.device
    space = task.space or "logits"
    branches, block = orbit_of(vocabulary), 1
    if method == "pretrained":
        branches = all_alike(language.size, equitune.trivial())
    elif method == "equizero":
        block = task.block
        if task.branches == "samples":
            branches = all_alike(language.size, vocabulary.ids.group)
    branches.ids.to(device)
    branches.scores.to(device)
    stops, end = _stops(task, language)
    make_rule = uniform_rule(space)
    if method == "equitune" and task.relaxed:
        marks = relaxed_tokens(config, language, vocabulary)
        make_rule = relaxed_rule(marks.to(device), space)
    elif method == "lambda_equitune":
        assert net is not None
        make_rule = learned_rule(net.to(device).eval(), space)
    writer = Writer(
        CachedModel(language.network, with_hidden=net is not None),
        language.tokenizer,
        branches,
        make_rule,
        block,
        space == "probabilities",
        task.tokens,
        task.top_k,
        task.temperature,
        stops,
        end,
        tuple(config.group.phrases[task.prompts]),
        task.noise or "context",
        config.seed,
    )
    if method != "equizero":
        return writer
    assert judge is not None
    found = judge

    def by_regard(prompt: Tensor) -> equitune.Rule:
        return ByRegard(found, task.score, branches.ids, writer.text, prompt, end)

    return Writer(**{**vars(writer), "make_rule": by_regard})


def relaxed_tokens(config: RunConfig, language: LanguageModel, vocabulary: Vocabulary) -> Tensor:
    """Return the marks of the tokens that R-equitune averages, [V]."""
    task, group = config.task, config.group
    left_alone = [word for words in group.coreference.values() for word in words]
    return averaged_tokens(
        language.tokenizer,
        vocabulary,
        [*group.general, *left_alone],
        read_words(config.dataset.neutral) if task.neutral == "listed" else None,
        equality=task.averaged == "equality_and_neutral",
    )


def _stops(task: FairnessTask, language: LanguageModel) -> tuple[Tensor, int]:
    """Return the marks of the tokens that end a sentence, and the one that stands for them.

    Raises:
        UserError: If there is none at all.
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
