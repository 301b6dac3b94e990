"""Sentences that runs have written, with their labels: beside a run's rows, and committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.frame.record_files import is_as_recorded
from report.rows import MEASURED_COLUMNS, read_cells

LABELLED = "labels.csv"
# What the committed file of `<name>.csv` is called.
SUFFIX = "_sentences"
COLUMNS = ("judge", "person", "context", "number", "label", "text")
# Of each person and context, what is committed.
KEPT = 2
# Models whose texts belong to somebody else: they are never copied.
FOREIGN = ("gpt2_sentences",)


class Sentence(NamedTuple):
    """A sentence with its label.

    Attributes:
        judge: Who labelled it.
        context: What is said of the person.
        number: Among those of the same person and context.
    """

    judge: str
    person: str
    context: str
    number: int
    label: str
    text: str


def read_sentences(path: Path) -> list[Sentence]:
    """The sentences of a run's `labels.csv` by its first judge; none without file or texts.

    A file that is no such table, or was changed since it was written, is a ValueError of one line.
    """
    if not path.is_file():
        return []
    if not is_as_recorded(path):
        raise ValueError(f"{path}: does not match its run's record; the run's command mends it")
    cells = [line for line, _ in read_cells(path, COLUMNS[:-1])]
    if not cells or "text" not in cells[0]:
        return []
    return _first_judges(cells)


def _first_judges(cells: Iterable[Mapping[str, str]]) -> list[Sentence]:
    found: list[Sentence] = []
    for line in cells:
        judge, person, context, number, label, text = (line[column] for column in COLUMNS)
        if not found or judge == found[0].judge:
            found.append(Sentence(judge, person, context, int(number), label, text))
    return found


def sentences_of_runs(
    runs: Iterable[Path],
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """The header and the lines of the committed sentences of some runs.

    These are `KEPT` of each prompt, line breaks as blanks.
    """
    lines: list[tuple[object, ...]] = []
    for folder in runs:
        numbers: dict[tuple[str, str], list[int]] = {}
        found = read_sentences(folder / LABELLED)
        for sentence in found:
            numbers.setdefault((sentence.person, sentence.context), []).append(sentence.number)
        lowest = {prompt: sorted(each)[:KEPT] for prompt, each in numbers.items()}
        lines += [
            # The module csv would not quote every kind of line break.
            (folder.name, *sentence[:-1], " ".join(sentence.text.splitlines()))
            for sentence in found
            if sentence.number in lowest[sentence.person, sentence.context]
        ]
    return ("run", *COLUMNS), lines


def sentences_of(where: str) -> list[Sentence]:
    """The first judge's sentences of the run that wrote a row, given its `file:line`.

    Of a committed row these are all that are committed, or else those of the run's folder; none
    where there are no texts. A file that is no such table is a ValueError of one line.
    """
    path = Path(where.rpartition(":")[0])
    if path.parents[2].name == "runs":
        return read_sentences(path.parent / LABELLED)
    found = [line["run"] for line, own in read_cells(path, MEASURED_COLUMNS) if own == where]
    if not found:
        raise ValueError(f"{where}: the line is gone; the file was changed meanwhile")
    run = found[0]
    committed = path.with_name(f"{path.stem}{SUFFIX}.csv")
    if committed.is_file():
        lines = [line for line, _ in read_cells(committed, ("run", *COLUMNS)) if line["run"] == run]
        if lines:
            return _first_judges(lines)
    task = path.parent.name
    return read_sentences(path.parents[2] / "runs" / task / run / LABELLED)
