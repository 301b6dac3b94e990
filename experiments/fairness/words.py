"""The action of cyclic(d) on a vocabulary by the words of demographic groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool
from torch import Tensor

import equitune
from experiments.fairness.lists import surface_forms
from experiments.frame.errors import UserError


class Tokenizer(Protocol):
    """The required interface of a transformers tokenizer."""

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
    """The action of the group on a vocabulary.

    Attributes:
        ids: The action on token ids.
        scores: The same action on the last dim of logits.
        moved: The lists of E that are moved, as text, one surface form each.
        dropped: Surface forms that are not one token each, and are not moved.
    """

    ids: equitune.Relabel
    scores: equitune.PermuteAxis
    moved: tuple[tuple[str, ...], ...]
    dropped: tuple[tuple[str, ...], ...]


#: Text before a word with a space, for tokenising the word in place.
_BEFORE = "The"


def token_of(tokenizer: Tokenizer, form: str) -> int | None:
    """Return the id of a text that is a single token, or None.

    SentencePiece adds a space before every text: a word after a space is therefore tokenised after
    another word, as in a prompt.
    """
    found = tokenizer.encode(form, add_special_tokens=False)
    if len(found) == 1 and tokenizer.decode(found) == form:
        return found[0]
    pieces = pieces_of(tokenizer, form)
    if len(pieces) != 1 or not form.startswith(" "):
        return None
    before = tokenizer.encode(_BEFORE, add_special_tokens=False)
    return pieces[0] if tokenizer.decode([*before, *pieces]) == _BEFORE + form else None


def pieces_of(tokenizer: Tokenizer, form: str) -> list[int]:
    """Return the ids of a text after another word."""
    before = tokenizer.encode(_BEFORE, add_special_tokens=False)
    whole = tokenizer.encode(_BEFORE + form, add_special_tokens=False)
    return whole[len(before) :] if whole[: len(before)] == before else whole


def beginning_of(tokenizer: Tokenizer) -> list[int]:
    """Return the ids that the tokenizer's template adds before every text.

    Llama, Mistral and Gemma were trained with such a token and write nonsense without it.

    Raises:
        UserError: If the template's result for a text does not contain the ids of the text.
    """
    plain = tokenizer.encode(_BEFORE, add_special_tokens=False)
    whole = tokenizer.encode(_BEFORE, add_special_tokens=True)
    for place in range(len(whole) - len(plain) + 1):
        if whole[place : place + len(plain)] == plain:
            return whole[:place]
    raise UserError(
        f"the template of the model's tokenizer makes {whole} of {_BEFORE!r}, whose own tokens are "
        f"{plain}; choose another model"
    )


def find_vocabulary(
    tokenizer: Tokenizer, size: int, lists: Sequence[Sequence[str]], forms: str = "all"
) -> Vocabulary:
    """Return the action on a vocabulary that moves each word to the next in its list.

    A surface form is moved if it is one token for every word of its list.

    Args:
        tokenizer: The model's tokenizer.
        size: Number of the model's logits, at least the number of the tokenizer's tokens.
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
    seen: dict[int, str] = {}
    for ids, texts in cycles.items():
        for token, text in zip(ids, texts, strict=True):
            if token in seen:
                raise UserError(
                    f"the words {seen[token]!r} and {text!r} are one token of this model, which "
                    "can stand in one list only"
                )
            seen[token] = text
    table = equitune.cycle_permutations(size, list(cycles))
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
        UserError: If a word is several tokens; names the word and its pieces.
    """
    for word in words:
        if token_of(tokenizer, f" {word}") is None:
            pieces = pieces_of(tokenizer, f" {word}")
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
    unknown = getattr(tokenizer, "unk_token_id", None)
    for prompt, row in zip(prompts, rows, strict=True):
        if unknown in row:
            raise UserError(f"the model has no tokens for a word of the prompt {prompt!r}")
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
        general: Words in G.
        neutral: The words of N; all others outside E are in G. None: all words outside G. A word
            that is also in E or ``general`` belongs to that list.
        equality: Whether the words of E are averaged.

    Returns:
        The marks of the tokens, [V].
    """

    def tokens(words: Iterable[str]) -> list[int]:
        return [token for word in words for token in _tokens_of(tokenizer, word)]

    marks = torch.ones(vocabulary.scores.size, dtype=torch.bool)
    if neutral is not None:
        marks[:] = False
        marks[tokens(neutral)] = True
    marks[tokens(general)] = False
    marks[vocabulary.scores.moved] = equality
    return marks


def words_without_token(tokenizer: Tokenizer, words: Iterable[str]) -> list[str]:
    """Return the words without a surface form that is a single token."""
    return [word for word in words if not _tokens_of(tokenizer, word)]


def _tokens_of(tokenizer: Tokenizer, word: str) -> list[int]:
    found = (token_of(tokenizer, form) for form in surface_forms(word, "all"))
    return [token for token in found if token is not None]
