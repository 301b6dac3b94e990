"""The SCAN language (Lake and Baroni, 2018), generated from its grammar.

Every command is a sequence of words, every target the sequence of actions that it denotes. The two
splits of the paper are rules over the 20 910 commands, so no file has to be downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VERBS = ("walk", "look", "run", "jump")
DIRECTIONS = ("left", "right")
COMMAND_WORDS = (
    *VERBS,
    "turn",
    *DIRECTIONS,
    "opposite",
    "around",
    "twice",
    "thrice",
    "and",
    "after",
)
ACTION_WORDS = ("WALK", "LOOK", "RUN", "JUMP", "TURN_LEFT", "TURN_RIGHT")

#: The primitive's only training command is repeated so that it fills 10 % of the training file.
JUMP_COPIES = 1467


class Pair(NamedTuple):
    """A command and the actions that it denotes, as words."""

    command: tuple[str, ...]
    actions: tuple[str, ...]


class Split(NamedTuple):
    """The training and test pairs of one split, in generation order."""

    train: list[Pair]
    test: list[Pair]


def _directed() -> Iterator[tuple[tuple[str, ...], tuple[str, ...], str]]:
    """Yield (words, actions of the verb, turn) for every verb and direction."""
    for direction in DIRECTIONS:
        turn = f"TURN_{direction.upper()}"
        for verb in (*VERBS, "turn"):
            action = () if verb == "turn" else (verb.upper(),)
            yield (verb, direction), action, turn


def _phrases() -> Iterator[Pair]:
    """Yield the 34 phrases V of the grammar: verb, verb direction, opposite, around."""
    for verb in VERBS:
        yield Pair((verb,), (verb.upper(),))
    for (verb, direction), action, turn in _directed():
        yield Pair((verb, direction), (turn, *action))
        yield Pair((verb, "opposite", direction), (turn, turn, *action))
        yield Pair((verb, "around", direction), (turn, *action) * 4)


def _sentences() -> Iterator[Pair]:
    """Yield the 102 sentences S: a phrase once, twice or thrice."""
    for phrase in _phrases():
        yield phrase
        yield Pair((*phrase.command, "twice"), phrase.actions * 2)
        yield Pair((*phrase.command, "thrice"), phrase.actions * 3)


def all_pairs() -> list[Pair]:
    """Return all 20 910 pairs of the language.

    Returns:
        Single sentences first, then ``x and y`` (x, then y) and ``x after y`` (y, then x).
    """
    sentences = list(_sentences())
    pairs = list(sentences)
    for first in sentences:
        for second in sentences:
            pairs.append(
                Pair((*first.command, "and", *second.command), first.actions + second.actions)
            )
            pairs.append(
                Pair((*first.command, "after", *second.command), second.actions + first.actions)
            )
    return pairs


def _contains(command: tuple[str, ...], *phrase: str) -> bool:
    """Return whether the words of ``phrase`` are consecutive in the command."""
    size = len(phrase)
    return any(command[i : i + size] == phrase for i in range(len(command) - size + 1))


def add_jump() -> Split:
    """Return the split whose training commands have "jump" only on its own (Add Jump).

    Returns:
        14 670 training pairs, 1467 of them the pair jump -> JUMP, and 7706 test pairs.
    """
    primitive = ("jump",)
    pairs = all_pairs()
    train = [pair for pair in pairs if "jump" not in pair.command]
    copies = [pair for pair in pairs if pair.command == primitive] * JUMP_COPIES
    test = [pair for pair in pairs if "jump" in pair.command and pair.command != primitive]
    return Split(train + copies, test)


def around_right() -> Split:
    """Return the template split that withholds "around right" (Around Right; Loula et al., 2018).

    Commands with "turn around right" belong to neither part.

    Returns:
        15 225 training pairs and 4476 test pairs.
    """
    pairs = all_pairs()
    train = [pair for pair in pairs if not _contains(pair.command, "around", "right")]
    test = [
        pair
        for pair in pairs
        if _contains(pair.command, "around", "right")
        and not _contains(pair.command, "turn", "around", "right")
    ]
    return Split(train, test)


SPLITS = {"add_jump": add_jump, "around_right": around_right}
