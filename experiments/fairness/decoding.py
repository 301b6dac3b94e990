"""Decoding of sentences with a language model and a group, by the library.

Two contexts that the group maps to each other have equal sorted likelihoods, with other token ids.
If tokens are drawn by rank, with noise that both contexts share, one text is the mirror image of
the other, word for word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

import equitune
from experiments.costs import rows_read
from experiments.fairness.kv_cache import CachedModel, Read
from experiments.frame.errors import UserError

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessGroup
    from experiments.fairness.words import Vocabulary


@dataclass(frozen=True)
class Noise:
    """Uniform numbers in [0, 1) for a batch of sentences.

    Attributes:
        joint: For tokens of all branches together, [B, T].
        branches: For tokens of single branches, [G, B, T].
    """

    joint: Float[Tensor, "batch steps"]
    branches: Float[Tensor, "group batch steps"]


def draw_noise(
    seed: int, context: str, people: list[str], kind: str, sentences: range, steps: int
) -> Noise:
    """Draw the noise of sentences.

    Args:
        seed: The run's seed.
        context: The prompt's text about the person; all demographic groups share its noise.
        people: The person in the context of each branch, [G], who decides its noise. Equal names
            get different noise, for independent samples of one context.
        kind: ``context``, or ``shared``: branches have the noise of ``joint``.
        sentences: Numbers of the sentences.
        steps: Tokens T.
    """

    def table(*key: object) -> Tensor:
        digest = hashlib.sha256(repr((seed, context, *key)).encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
        # Row by row, so that a sentence's noise does not depend on the number of sentences.
        return torch.from_numpy(rng.random((sentences.stop, steps))[sentences.start :])

    joint = table()
    if kind == "shared":
        return Noise(joint, joint.expand(len(people), *joint.shape))
    seen: dict[str, int] = {}
    rows = []
    for person in people:
        seen[person] = seen.get(person, 0) + 1
        rows.append(table(person, seen[person]))
    return Noise(joint, torch.stack(rows))


@dataclass(frozen=True)
class RankSampler:
    """Draws a token from the likeliest ones: the library's ``pick``.

    Attributes:
        noise: Uniform numbers of the sentences, on the device of the scores.
        top_k: Number of the likeliest tokens; None: all.
        temperature: Divides the scores.
        stops: Marks of the tokens that end a sentence, [V].
        end: The id that replaces all of them.
    """

    noise: Noise
    top_k: int | None
    temperature: float
    stops: Tensor
    end: int

    def __call__(
        self, scores: Float[Tensor, "rows words"], where: equitune.Where
    ) -> Int[Tensor, " rows"]:
        """Return a token for each row of logits."""
        if where.elements is None:
            uniform = self.noise.joint[where.samples, where.step]
        else:
            uniform = self.noise.branches[where.elements, where.samples, where.step]
        count = min(self.top_k or scores.shape[-1], scores.shape[-1])
        values, tokens = scores.topk(count)
        likelihood = (values.double() / self.temperature).softmax(dim=-1)
        rank = (likelihood.cumsum(dim=-1) <= uniform[:, None]).sum(dim=-1)
        chosen = tokens.gather(-1, rank.clamp(max=count - 1)[:, None])[:, 0]
        return torch.where(self.stops[chosen], self.end, chosen)


class Prompt(NamedTuple):
    """The beginning of sentences about one demographic group.

    Attributes:
        person: Index of the demographic group.
        context: The text about the person.
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
    """The action that gives the context of each branch.

    Attributes:
        ids: The action on token ids.
        scores: The same action on the last dim of logits.
        people: The demographic group in the context of branch g is
            ``(person + people[g]) % d``.
    """

    ids: equitune.Action
    scores: equitune.Action
    people: tuple[int, ...]


def all_alike(size: int, group: equitune.FiniteGroup) -> Branches:
    """Return branches that all have the same, unchanged context."""
    table = torch.arange(size).expand(group.order, size)
    ids, scores = equitune.Relabel(group, table), equitune.PermuteAxis(group, table)
    return Branches(ids, scores, (0,) * group.order)


def orbit_of(vocabulary: Vocabulary) -> Branches:
    """Return a branch for each element of the group."""
    order = vocabulary.ids.group.order
    return Branches(vocabulary.ids, vocabulary.scores, tuple(range(order)))


#: Makes the rule for sentences that start with a prompt, from its ids, [T].
MakeRule = Callable[[Tensor], equitune.Rule]


@dataclass(frozen=True)
class Writer:
    """A language model with a method of combining branches.

    Attributes:
        model: The network as a step.
        tokenizer: Its tokenizer.
        beginning: The ids that its template adds before a prompt.
        branches: The branches of every context.
        make_rule: Makes the rule that combines the branches.
        block: Tokens between two choices.
        log_probabilities: Whether rules see log-probabilities instead of logits.
        tokens: Length of a continuation in tokens.
        top_k: See `RankSampler`.
        temperature: See `RankSampler`.
        stops: Marks of the tokens that end a sentence, [V].
        end: The id that replaces all of them in the output.
        phrases: Names of the demographic groups.
        noise: See `draw_noise`.
        seed: Seed of the noise.
    """

    model: CachedModel
    tokenizer: Any
    beginning: tuple[int, ...]
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
            sentences: Numbers of the sentences, which decide their noise.

        Returns:
            Token ids after the prompt, padded with ``end``, on the CPU, [B, T].
        """
        rule = self.make_rule(self.encode(prompt))
        return self._decode(prompt, sentences, rule, self.tokens)

    def log_probabilities_of(
        self, prompt: Prompt, sentences: range
    ) -> Float[Tensor, "batch words"]:
        """Return the log-probabilities of the first token after a prompt, on the CPU, [B, V].

        Args:
            prompt: The prompt.
            sentences: Numbers of the sentences; the choice of a branch depends on their noise.
        """
        rule, seen = self.make_rule(self.encode(prompt)), []

        def watched(block: equitune.Block, memory: Any) -> equitune.Choice:
            choice = rule(block, memory)
            assert choice.scores is not None
            seen.append(choice.scores[:, 0])
            return choice

        self._decode(prompt, sentences, watched, min(self.block, self.tokens))
        return seen[0].log_softmax(dim=-1).cpu()

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

    def passes(self, prompt: Prompt, sentences: range) -> float:
        """Return how many tokens the model reads for each that it writes, by counting.

        The prompt does not count. A block that is read again, in the words of each branch, does.

        Args:
            prompt: The prompt.
            sentences: Numbers of the sentences, written one by one.
        """
        texts: list[list[int]] = []

        def write() -> None:
            texts.extend(self.write(prompt, range(n, n + 1))[0].tolist() for n in sentences)

        read = rows_read([self.model.network], write, lambda **named: named["input_ids"].numel())
        prefix = (len(self.encode(prompt)) - 1) * self.branches.ids.group.order
        written = sum(ids.index(self.end) + 1 if self.end in ids else len(ids) for ids in texts)
        return (read - prefix * len(texts)) / written

    def encode(self, prompt: Prompt) -> Int[Tensor, " length"]:
        """Return the ids of a prompt, with the prefix of the tokenizer's template.

        Raises:
            UserError: If it is a single token: the model reads all but the last one first.
        """
        ids = [*self.beginning, *self.tokenizer.encode(prompt.text, add_special_tokens=False)]
        if len(ids) < 2:
            raise UserError(f"the prompt {prompt.text!r} is a single token; it needs two or more")
        return torch.tensor(ids, device=self.model.device)

    def step(self, state: Read, words: Tensor) -> tuple[Tensor, Read]:
        """Read the next tokens; see `CachedModel.step`.

        Raises:
            UserError: If a score is NaN or infinite, as that token would always be drawn.
        """
        scores, state = self.model.step(state, words)
        # Minus infinity excludes a word; a row of nothing else is not a distribution.
        if scores.isnan().any() or not scores.amax(dim=-1).isfinite().all():
            raise UserError("the language model gives scores that are not finite numbers")
        return scores.log_softmax(dim=-1) if self.log_probabilities else scores, state

    def sampler(self, prompt: Prompt, sentences: range) -> RankSampler:
        """Return the sampler of the sentences' tokens, with their noise."""
        order = len(self.phrases)
        people = [self.phrases[(prompt.person + k) % order] for k in self.branches.people]
        noise = draw_noise(self.seed, prompt.context, people, self.noise, sentences, self.tokens)
        device = self.model.device
        if device.type != "mps":  # MPS has no float64
            noise = Noise(noise.joint.to(device), noise.branches.to(device))
        return RankSampler(noise, self.top_k, self.temperature, self.stops.to(device), self.end)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of ids up to the end, without the template's tokens."""
        chosen = list(ids)
        if self.beginning == tuple(chosen[: len(self.beginning)]):
            chosen = chosen[len(self.beginning) :]
        if self.end in chosen:
            chosen = chosen[: chosen.index(self.end)]
        found: str = self.tokenizer.decode(chosen)
        return found
