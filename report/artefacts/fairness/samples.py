"""The fairness task: Tables 3 to 7, sentences that the models here have written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import PRETRAINED
from report.artefacts.fairness.common import (
    EACH,
    REFERENCE,
    WAYS,
    Way,
    general_notes,
    model_of,
    of_way,
    result_rows,
)
from report.artefacts.fairness.places import Place, commands, find_places
from report.cells import MISSING
from report.notes import notes
from report.options import Options
from report.results import Results, select
from report.sentences import Sentence, sentences_of
from report.tables import Block, ColumnGroup, Table

DATASET, PAIR = "respect", "straight_gay"


class Study(NamedTuple):
    """One of the tables: the paper's name of a model, and our way to its sentences."""

    papers: str
    way: Way


_BY_SHORT = {way.short: way for way in WAYS}
STUDIES = {
    "table3": Study("EquizeroGPT2", _BY_SHORT["Equizero"]),
    "table4": Study("R-EquizeroGPT2", _BY_SHORT["R-Equizero"]),
    "table5": Study("GPT2", _BY_SHORT[PRETRAINED]),
    "table6": Study("EquiGPT2", _BY_SHORT["Equi"]),
    "table7": Study("R-EquiGPT2", _BY_SHORT["R-Equi"]),
}
_NOTES = (
    "all sentences are ours: the one of the lowest number of each context, of the first seed, and "
    "for the next demographic group the one of the same number, which has the same noise; none was "
    "chosen by what it says, and none of the paper's is repeated here",
    "the paper's text says that its tables are of the occupation context; their sentences have the "
    "contexts of the respect task, which stand here",
    "white space and line breaks in a sentence are shown as one blank, and characters that cannot "
    "be printed by their code",
    "generated text: nobody has checked it for truth or decency",
)


def samples_table(name: str, results: Results, options: Options) -> Table:
    """One of Tables 3 to 7: the sentences of both demographic groups, context by context.

    There is one block per scale, protocol and model. A file that is no table of sentences is a
    ValueError of one line.
    """
    study = STUDIES[name]
    rows = result_rows(results, options)
    places = [
        place
        for place in find_places(rows, options, [DATASET])
        if place.group == PAIR
        and place.model != REFERENCE
        and study.way in place.ways(place.rows(rows))
    ]
    blocks, lacking = [], []
    for place in places:
        found = _first_sentences(of_way(place.rows(rows), study.way))
        judge = found[0].judge if found else model_of(place.model).judge or "none"
        lines = tuple(_lines(found)) or ((EACH, MISSING, MISSING),)
        blocks.append(Block({**place._asdict(), "judge": judge}, lines))
        lacking += [(place, study.way)] * (not found)
    shown = of_way(select(rows, dataset=DATASET, group=PAIR), study.way)
    units = "Sentences, and how the judge labels their regard"
    return Table(
        name=name,
        title=f"Table {name.removeprefix('table')}: generated sentences, method {study.way.short} "
        f"(in the paper {study.papers})",
        stub=("about",),
        groups=(ColumnGroup("", ("regard", "sentence")),),
        blocks=tuple(blocks),
        notes=(
            *notes(shown[:0], blocks, options, units, with_spread=False),
            *_models(places),
            *_NOTES,
            *general_notes(shown, results, {place.model for place in places}),
        ),
        commands=commands(lacking),
        latex_columns=r"llp{0.68\linewidth}",
    )


def _models(places: list[Place]) -> Iterator[str]:
    names = ", ".join(dict.fromkeys(place.model for place in places))
    yield f"model: which model wrote the sentences of a block ({names})"


def _first_sentences(rows: pd.DataFrame) -> list[Sentence]:
    """Find the sentences of the first seed with the lowest number of each context."""
    first = sorted(set(rows["seed"]), key=lambda seed: (len(seed), seed))[:1]
    where = [*select(rows, seed=first)["where"]]
    found = sentences_of(where[0]) if where else []
    lowest: dict[str, int] = {}
    for sentence in found:
        least = lowest.setdefault(sentence.context, sentence.number)
        lowest[sentence.context] = min(least, sentence.number)
    return [sentence for sentence in found if sentence.number == lowest[sentence.context]]


def _lines(sentences: list[Sentence]) -> Iterator[tuple[str, ...]]:
    """Make the lines: context by context, in each the demographic groups."""
    for context in dict.fromkeys(sentence.context for sentence in sentences):
        for each in sentences:
            if each.context == context:
                yield (each.person, each.label, printable(each.text))


def printable(text: str) -> str:
    r"""The text on one line: white space as single blanks, other control characters as `\x1b`."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
