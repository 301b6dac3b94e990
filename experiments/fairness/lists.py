"""Word lists, and masking of a group's words in a text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.frame.conf import CONF
from experiments.frame.errors import UserError, unknown
from experiments.frame.files import read_lines

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessGroup

#: Replaces the demographic group of a prompt for scorers that must not see it.
MASK = "XYZ"
LISTS = CONF / "words"
#: Pattern of a word in a lower-case text.
COUNTED = re.compile(r"[a-z']+")


def read_words(name: str) -> tuple[str, ...]:
    """Read a list of words, one per line; lines that begin with # give its source.

    Args:
        name: Name of a list in ``conf/words/`` without its suffix, or a file.

    Raises:
        UserError: If there is no such list, it is not text, or it has no word.
    """
    path = LISTS / f"{name}.txt"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        known = sorted(found.stem for found in LISTS.glob("*.txt"))
        raise unknown("list of words", name, [*known, "a file"])
    words = tuple(dict.fromkeys(line for line in read_lines(path) if not line.startswith("#")))
    if not words:
        raise UserError(f"{path}: has no word")
    return words


def counted_words(name: str) -> tuple[str, ...]:
    """Read a list of words to count in texts, in lower case.

    Args:
        name: As for `read_words`.

    Raises:
        UserError: As `read_words`, or if a word does not match `COUNTED`, so is never found.
    """
    words = tuple(dict.fromkeys(word.lower() for word in read_words(name)))
    for word in words:
        if not COUNTED.fullmatch(word):
            raise UserError(
                f"{name}: {word!r} would never be counted; a word has only letters from a to z and "
                "apostrophes"
            )
    return words


def check_lists(group: FairnessGroup) -> None:
    """Refuse lists that define no action, before any model is loaded.

    Raises:
        UserError: If there is no list, lengths differ, or a word occurs twice or has a space around
            it.
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
            if not word or word != word.strip():
                raise UserError(
                    f"group={group.name}: {where} has {word!r}; a word has no space around it"
                )
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
    """Return the forms of a word in a text: with and without a space, lower case and capital.

    Args:
        word: The word as listed.
        forms: ``all``, or ``spaced`` for the listed case after a space only.
    """
    if forms == "spaced":
        return [f" {word}"]
    cases = (word, word.lower(), word[:1].upper() + word[1:])
    return [f"{space}{case}" for case in cases for space in (" ", "")]


class Masker:
    """Hides the demographic group of a text, so that mirrored texts become equal."""

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
        """Return the text without a word of E: XYZ in the prompt, neutral words after it."""
        hidden = self._person.sub(MASK, text)
        return self._word.sub(lambda found: self._names[found[0].lower()], hidden)
