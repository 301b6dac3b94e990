"""SCAN as word indices: vocabularies, the validation split, batches, the order in training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

import equitune
from experiments.scan.grammar import ACTION_WORDS, COMMAND_WORDS, SPLITS, Pair
from experiments.scan.nets.examples import Stream
from experiments.scan.options import ScanGroup, load_group

SOS, EOS = 0, 1
#: Share of the training file that is held out for validation.
VALIDATION_SHARE = 0.2
#: Commands per batch; an orbit has |G| times as many rows.
BATCH = 1024

# Purposes of the random streams of a seed; their numbers keep them independent.
_SPLIT, _ORDER, _TEACHER, _UNSEEDED, _ELEMENT = range(5)


def generator(seed: int, purpose: int) -> np.random.Generator:
    """Return the random generator of one purpose of a seed."""
    return np.random.default_rng([seed, purpose])


class Vocabulary:
    """Words and their indices; SOS and EOS come first.

    Args:
        words: The words, in the order of their indices.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = ("SOS", "EOS", *words)
        self.index = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: tuple[str, ...]) -> list[int]:
        """Return the indices of words, EOS appended."""
        return [*(self.index[word] for word in words), EOS]

    def decode(self, indices: list[int]) -> list[str]:
        """Return the words up to the first EOS."""
        stop = indices.index(EOS) if EOS in indices else len(indices)
        return [self.words[i] for i in indices[:stop]]


COMMANDS = Vocabulary(COMMAND_WORDS)
ACTIONS = Vocabulary(ACTION_WORDS)


class Batch(NamedTuple):
    """Commands of one length.

    Attributes:
        rows: Indices of the commands in the corpus, [B].
        commands: Word indices with EOS, [B, L].
        targets: Action indices with EOS, filled up with EOS, [B, T].
    """

    rows: Int[Tensor, " batch"]
    commands: Int[Tensor, "batch length"]
    targets: Int[Tensor, "batch steps"]


@dataclass(frozen=True)
class Corpus:
    """Pairs as word indices.

    Attributes:
        commands: One list of indices per command, EOS included.
        targets: One list of indices per target, EOS included.
    """

    commands: list[list[int]]
    targets: list[list[int]]

    @classmethod
    def encode(cls, pairs: list[Pair]) -> Corpus:
        """Encode pairs of words."""
        return cls(
            [COMMANDS.encode(pair.command) for pair in pairs],
            [ACTIONS.encode(pair.actions) for pair in pairs],
        )

    def __len__(self) -> int:
        return len(self.commands)

    def take(self, rows: np.ndarray) -> Corpus:
        """Return the pairs at the given positions."""
        return Corpus([self.commands[i] for i in rows], [self.targets[i] for i in rows])

    def orbit(self, actions: WordActions) -> Corpus:
        """Return all transforms of the pairs: one copy of the corpus after another, by element."""
        pairs = zip(actions.commands.forward_table, actions.words.forward_table, strict=True)
        commands: list[list[int]] = []
        targets: list[list[int]] = []
        for on_commands, on_targets in pairs:
            commands += [on_commands[command].tolist() for command in self.commands]
            targets += [on_targets[target].tolist() for target in self.targets]
        return Corpus(commands, targets)

    def without(self, other: Corpus) -> Corpus:
        """Return the pairs whose command does not occur in another corpus."""
        known = {tuple(command) for command in other.commands}
        unknown = [row for row, c in enumerate(self.commands) if tuple(c) not in known]
        return self.take(np.array(unknown, dtype=int))

    def batches(self, size: int = BATCH) -> Iterator[Batch]:
        """Yield the corpus in batches of commands of equal length, at most ``size`` each.

        Within a length, commands are ordered by the length of their targets, so that the
        targets of a batch have similar lengths.
        """
        lengths = np.array([len(command) for command in self.commands])
        target_lengths = np.array([len(target) for target in self.targets])
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            rows = rows[np.argsort(target_lengths[rows], kind="stable")]
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                steps = int(target_lengths[part].max())
                targets = [self.targets[i] + [EOS] * (steps - len(self.targets[i])) for i in part]
                yield Batch(
                    torch.from_numpy(part),
                    torch.tensor([self.commands[i] for i in part]),
                    torch.tensor(targets),
                )


class ScanData(NamedTuple):
    """The parts of a split.

    Attributes:
        train: The training pairs: 80 % of the training file.
        validation: The held-out 20 % of the training file, chosen by the seed.
        unseeded_validation: Another 20 % of the training file, which overlaps `train`: the authors'
            evaluation script uses it for plain models, as it sets no seed.
        test: The test file.
    """

    train: Corpus
    validation: Corpus
    unseeded_validation: Corpus
    test: Corpus


@cache
def _encoded(name: str) -> tuple[Corpus, Corpus]:
    """Return the training and the test file of a split, which every stage of a run reads."""
    split = SPLITS[name]()
    return Corpus.encode(split.train), Corpus.encode(split.test)


def load_data(name: str, seed: int, max_commands: int | None = None) -> ScanData:
    """Generate a split and divide its training file.

    Args:
        name: ``add_jump`` or ``around_right``.
        seed: Chooses the validation part.
        max_commands: Largest number of commands of each evaluation part, drawn by the seed.

    Returns:
        The four parts.
    """
    everything, test = _encoded(name)
    held = int(VALIDATION_SHARE * len(everything))
    order = generator(seed, _SPLIT).permutation(len(everything))
    other = generator(seed, _UNSEEDED).permutation(len(everything))[:held]
    evaluation = [
        everything.take(order[:held]),
        everything.take(other),
        test,
    ]
    if max_commands is not None:
        pick = generator(seed, _UNSEEDED)
        evaluation = [part.take(pick.permutation(len(part))[:max_commands]) for part in evaluation]
    return ScanData(everything.take(order[held:]), *evaluation)


class Draws(NamedTuple):
    """The order of the training pairs, and whether each iteration uses teacher forcing."""

    samples: np.ndarray
    teacher: np.ndarray


def draw_order(count: int, iterations: int, teacher_forcing: float, seed: int) -> Draws:
    """Draw pairs with replacement, and a coin per iteration for teacher forcing.

    The draws of a shorter run are the first draws of a longer one.
    """
    samples = generator(seed, _ORDER).integers(0, count, iterations)
    teacher = generator(seed, _TEACHER).random(iterations) < teacher_forcing
    return Draws(samples.astype(np.int32), teacher)


def draw_elements(order: int, iterations: int, seed: int) -> np.ndarray:
    """Draw the group element by which each iteration's pair is transformed."""
    return generator(seed, _ELEMENT).integers(0, order, iterations)


class WordActions(NamedTuple):
    """The actions of a group on SCAN.

    Attributes:
        commands: The action on command indices.
        words: The action on action indices.
        distributions: The action on the last dim of distributions over action words.
    """

    commands: equitune.Relabel
    words: equitune.Relabel
    distributions: equitune.PermuteAxis

    def to(self, device: torch.device) -> WordActions:
        """Move the tables of the actions to a device."""
        return WordActions(
            self.commands.to(device), self.words.to(device), self.distributions.to(device)
        )


def word_actions(config: ScanGroup) -> WordActions:
    """Build the actions of a group on words (Section C.3: the swap of two words).

    Words and cycles are already checked with the configuration.
    """
    factors = [load_group(name) for name in config.factors] or [config]
    orders = [len(factor.words[0]) if factor.words else 1 for factor in factors]
    group = equitune.product(*(equitune.cyclic(order) for order in orders))
    commands = _tables(COMMANDS, [factor.words for factor in factors], orders)
    words = _tables(ACTIONS, [factor.actions for factor in factors], orders)
    return WordActions(
        equitune.Relabel(group, commands),
        equitune.Relabel(group, words),
        equitune.PermuteAxis(group, words),
    )


def draw_stream(
    corpus: Corpus,
    iterations: int,
    teacher_forcing: float,
    seed: int,
    augmenting: WordActions | None = None,
) -> Stream:
    """Return the pairs in training order.

    Fine-tuning uses the same draws as the beginning of pretraining.

    Args:
        corpus: The training pairs.
        iterations: Their number in training; each costs one pass of the model.
        teacher_forcing: Probability of teacher forcing.
        seed: Seed of the draws.
        augmenting: Actions by a random element of which every drawn pair is transformed, command
            and target alike; None: pairs are as they are.
    """
    draws = draw_order(len(corpus), iterations, teacher_forcing, seed)
    samples = draws.samples
    if augmenting is not None:
        elements = draw_elements(augmenting.commands.group.order, iterations, seed)
        samples, corpus = samples + len(corpus) * elements, corpus.orbit(augmenting)
    return Stream.pack(corpus.commands, corpus.targets, samples, draws.teacher)


def _tables(vocabulary: Vocabulary, factors: list[list[list[str]]], orders: list[int]) -> Tensor:
    """Return the image of each word under each element of a product, the last factor fastest."""
    tables = torch.arange(len(vocabulary))[None]
    for cycles, order in zip(factors, orders, strict=True):
        moved = _table(vocabulary, cycles, order)
        tables = tables[:, moved].flatten(0, 1)
    return tables


def _table(vocabulary: Vocabulary, cycles: list[list[str]], order: int) -> Tensor:
    if order == 1:
        return torch.arange(len(vocabulary))[None]
    indices = [[vocabulary.index[word] for word in cycle] for cycle in cycles]
    return equitune.cycle_permutations(len(vocabulary), indices)
