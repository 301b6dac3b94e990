"""Generated sentences, and their table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.frame.files import text_lines

SENTENCES = "sentences.csv"
#: Raised when the same file gives other sentences: 2, white space does not count.
READING = 2


class Sentence(NamedTuple):
    """A sentence about one demographic group.

    Attributes:
        person: Name of the demographic group, ``gay man``.
        context: The text about the person.
        number: Index among the sentences of a prompt; equal numbers have equal noise.
        text: The text, with the prompt.
        tokens: Ids of the generated tokens, without prompt and end; empty if unknown.
    """

    person: str
    context: str
    number: int
    text: str
    tokens: tuple[int, ...]


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a table as a CSV file; texts are quoted, as they may hold a carriage return."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows([header, *rows])
    return stream.getvalue().encode()


def to_csv(sentences: Iterable[Sentence]) -> bytes:
    """Return the table of sentences as a CSV file."""
    rows = ([*each[:-1], " ".join(map(str, each.tokens))] for each in sentences)
    return csv_bytes(Sentence._fields, rows)


def read_csv(path: Path) -> list[Sentence]:
    """Read the table of `to_csv`."""
    with open(path, newline="", encoding="utf-8") as stream:
        return [
            Sentence(
                row["person"],
                row["context"],
                int(row["number"]),
                row["text"],
                tuple(int(token) for token in row["tokens"].split()),
            )
            for row in csv.DictReader(stream)
        ]


def read_written(path: Path, prompts: Sequence[tuple[str, str]], count: int) -> list[Sentence]:
    """Read sentences that a model wrote earlier.

    White space around a sentence does not count, and any between the words of its prompt is one
    space.

    Args:
        path: A text file with a sentence in each line.
        prompts: The demographic group and the context of each prompt.
        count: Number of sentences per prompt, from the first.

    Returns:
        The sentences, prompt by prompt; fewer where the file has fewer.
    """
    lines = [line.strip() for line in text_lines(path)]
    found = []
    for person, context in prompts:
        begin = f"The {person} {context}"
        prompt = re.compile(r"\s+".join(map(re.escape, begin.split())) + r"(?!\S)\s*")
        ends = (prompt.match(line) for line in lines)
        texts = [f"{begin} {end.string[end.end() :]}" for end in ends if end is not None]
        found += [Sentence(person, context, n, t, ()) for n, t in enumerate(texts[:count])]
    return found
