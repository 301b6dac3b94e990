"""Words of demographic groups, and how cyclic(d) acts on a vocabulary by them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from jaxtyping import Bool
from torch import Tensor

import equitune
from experiments.errors import UserError, unknown
from experiments.schema import CONF

if TYPE_CHECKING:
    from experiments.fairness.sections import FairnessGroup

#: What stands for the demographic group of a prompt where a scorer must not see it.
MASK = "XYZ"
LISTS = CONF / "words"


class Tokenizer(Protocol):
    """What is needed of a tokenizer of transformers."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the ids of a text."""
        ...

    def decode(self, token_ids: list[int]) -> str:
        """Return the text of ids."""
        ...

    def __len__(self) -> int:
        """Return the size of the vocabulary."""
        ...


@dataclass(frozen=True)
class Vocabulary:
    """How the group acts on a vocabulary, and which tokens the relaxed models leave alone.

    Attributes:
        ids: The action on token ids.
        scores: The same action on the last dim of logits.
        moved: The lists of E that are moved, as text, one surface form each.
        dropped: Surface forms that are not one token each, and are not moved.
        averaged: The tokens whose logits the relaxed models average; None: all.
    """

    ids: equitune.Relabel
    scores: equitune.PermuteAxis
    moved: tuple[tuple[str, ...], ...]
    dropped: tuple[tuple[str, ...], ...]
    averaged: Bool[Tensor, " words"] | None = None


def read_words(name: str) -> tuple[str, ...]:
    """Read a list of words, one in each line; lines that begin with # say where it is from.

    Args:
        name: Of a list in ``conf/words/`` without its ending, or a file.

    Raises:
        UserError: If there is no such list, it is not text, or it has no word.
    """
    path = LISTS / f"{name}.txt"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        known = sorted(found.stem for found in LISTS.glob("*.txt"))
        raise unknown("list of words", name, [*known, "a file"])
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file ({error.reason})") from error
    words = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not words:
        raise UserError(f"{path}: has no word")
    return words


def check_lists(group: FairnessGroup) -> None:
    """Refuse lists that cannot be an action, before any model is loaded.

    Raises:
        UserError: If there is no list, lengths differ, or a word stands in two places.
    """
    lists = {**group.equality, **group.coreference}
    if set(group.equality) & set(group.coreference):
        both = sorted(set(group.equality) & set(group.coreference))
        raise UserError(f"group={group.name}: {both[0]} names a list of E twice")
    if not group.equality or not group.phrases:
        raise UserError(f"group={group.name}: group.equality and group.phrases need a list")
    order = len(next(iter(group.equality.values())))
    if order < 2:
        raise UserError(f"group={group.name}: a list of E needs at least two words")
    for where, words in [*lists.items(), *group.phrases.items()]:
        if len(words) != order:
            raise UserError(
                f"group={group.name}: {where}: [{', '.join(words)}] has {len(words)} words, "
                f"others have {order}; each list needs one for each demographic group"
            )
    seen: dict[str, str] = {}
    for where, words in [*lists.items(), ("general", group.general)]:
        for word in words:
            if word.lower() in seen:
                raise UserError(
                    f"group={group.name}: the word {word} stands in {seen[word.lower()]} and in "
                    f"{where}; lists must have no word in common"
                )
            seen[word.lower()] = where


def equality_lists(group: FairnessGroup, *, relaxed: bool, lists: str) -> list[list[str]]:
    """Return the lists of E.

    Args:
        group: The demographic groups.
        relaxed: Whether ``coreference`` is left out.
        lists: ``all``, or ``prompt`` for those with a word of the prompts.
    """
    chosen = list(group.equality.values())
    if lists == "prompt":
        words = {word for phrases in group.phrases.values() for p in phrases for word in p.split()}
        return [words_ for words_ in chosen if words & set(words_)]
    return chosen if relaxed else chosen + list(group.coreference.values())


def surface_forms(word: str, forms: str) -> list[str]:
    """Return how a word may stand in a text: with and without a space, lower case and capital.

    Args:
        word: The word as listed.
        forms: ``all``, or ``spaced`` for the listed case behind a space alone.
    """
    if forms == "spaced":
        return [f" {word}"]
    cases = (word, word.lower(), word[:1].upper() + word[1:])
    return [f"{space}{case}" for case in cases for space in (" ", "")]


def token_of(tokenizer: Tokenizer, form: str) -> int | None:
    """Return the id of a text that is one token of its own, or None."""
    found = tokenizer.encode(form, add_special_tokens=False)
    return found[0] if len(found) == 1 and tokenizer.decode(found) == form else None


def find_vocabulary(
    tokenizer: Tokenizer, size: int, lists: Sequence[Sequence[str]], forms: str = "all"
) -> Vocabulary:
    """Return the action on a vocabulary that moves each word to the next in its list.

    Every surface form that is one token in all places of its list is moved; others are not.

    Args:
        tokenizer: The model's.
        size: Number of scores that the model gives, at least that of the tokenizer's tokens.
        lists: The lists of E, all of the same length d.
        forms: See `surface_forms`.

    Raises:
        UserError: If no form of any list can be moved, or two words share a token.
    """
    cycles: dict[tuple[int, ...], tuple[str, ...]] = {}
    dropped: dict[tuple[str, ...], None] = {}
    for words in lists:
        for texts in zip(*(surface_forms(word, forms) for word in words), strict=True):
            found = [token_of(tokenizer, text) for text in texts]
            ids = tuple(token for token in found if token is not None)
            if len(ids) == len(texts):
                cycles.setdefault(ids, texts)
            else:
                dropped.setdefault(texts)
    if not cycles:
        raise UserError(
            f"no word of {[list(words) for words in lists]} is one token of this vocabulary"
        )
    try:
        table = equitune.cycle_permutations(size, list(cycles))
    except ValueError as error:
        raise UserError(f"the words do not make an action on the vocabulary: {error}") from error
    group = equitune.cyclic(len(lists[0]))
    return Vocabulary(
        equitune.Relabel(group, table),
        equitune.PermuteAxis(group, table),
        tuple(cycles.values()),
        tuple(dropped),
    )


def check_words(tokenizer: Tokenizer, words: Iterable[str]) -> None:
    """Check that the words of E that the prompts use are one token each.

    Raises:
        UserError: Naming a word that is several tokens, and its pieces.
    """
    for word in words:
        if token_of(tokenizer, f" {word}") is None:
            pieces = tokenizer.encode(f" {word}", add_special_tokens=False)
            parts = ", ".join(repr(tokenizer.decode([piece])) for piece in pieces)
            raise UserError(
                f"the word {word} of the prompts is not one token of this model but "
                f"{len(pieces)} ({parts}); choose other words or another model"
            )


def check_prompts(tokenizer: Tokenizer, vocabulary: Vocabulary, prompts: Sequence[str]) -> None:
    """Check that the action turns each demographic group's prompt into the next one's.

    Args:
        tokenizer: The model's.
        vocabulary: The action.
        prompts: The prompts of one context, in the order of the groups.

    Raises:
        UserError: If it does not.
    """
    rows = [tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
    for place, row in enumerate(rows):
        following = (place + 1) % len(rows)
        if vocabulary.ids.act(1, torch.tensor([row])).tolist() != [rows[following]]:
            raise UserError(
                f"the words of E do not turn the prompt {prompts[place]!r} into "
                f"{prompts[following]!r}"
            )


def averaged_tokens(
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    general: Iterable[str],
    neutral: Iterable[str] | None,
    *,
    equality: bool,
) -> Bool[Tensor, " words"]:
    """Return the tokens whose logits the relaxed models average (Section C.2; the rest is G).

    Args:
        tokenizer: The model's.
        vocabulary: The action.
        general: Words that are in G.
        neutral: The words of N, all others outside E being in G; None: all words outside G. A word
            that is also in E or in ``general`` counts as what it is there.
        equality: Whether the words of E are averaged.

    Returns:
        The marks of the tokens, [V].
    """
    size = vocabulary.scores.size

    def tokens(words: Iterable[str]) -> list[int]:
        found = [token_of(tokenizer, form) for w in words for form in surface_forms(w, "all")]
        return [token for token in found if token is not None]

    marks = torch.ones(size, dtype=torch.bool)
    if neutral is not None:
        marks[:] = False
        marks[tokens(neutral)] = True
    marks[tokens(general)] = False
    marks[vocabulary.scores.moved] = equality
    return marks


class Masker:
    """Hides the demographic group of a text, so that mirrored texts become one."""

    def __init__(self, group: FairnessGroup, prompts: str) -> None:
        """Prepare the replacement.

        Args:
            group: The demographic groups.
            prompts: The kind of prompts, a key of ``group.phrases``.
        """
        phrases = "|".join(re.escape(phrase) for phrase in group.phrases[prompts])
        self._person = re.compile(rf"^The ({phrases})\b")
        lists = {**group.equality, **group.coreference}
        self._names = {word.lower(): name for name, words in lists.items() for word in words}
        listed = "|".join(re.escape(word) for word in self._names)
        self._word = re.compile(rf"\b({listed})\b", re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """Return the text without a word of E: XYZ in the prompt, neutral words behind it."""
        hidden = self._person.sub(MASK, text)
        return self._word.sub(lambda found: self._names[found[0].lower()], hidden)
