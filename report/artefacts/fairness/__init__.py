"""Tables and figures of task fairness."""

from __future__ import annotations

from functools import partial

from report.artefacts.entry import Entry
from report.artefacts.fairness import figures, tables

_OWN = ("smollm2",)
_ALL = ("gpt2_text", *_OWN)


TITLE = "Fairness in language generation"
ARTEFACTS: dict[str, Entry] = {
    name: Entry("fairness", build, files)
    for name, build, files in (
        *((name, partial(figures.shares_figure, name), _ALL) for name in figures.STUDIES),
        *(
            (f"{name}_shares", partial(figures.shares_table, name), _ALL)
            for name in figures.STUDIES
        ),
        *((name, partial(tables.samples_table, name), _OWN) for name in tables.SAMPLES),
        ("fairness_gaps", tables.gaps_table, _ALL),
        ("fairness_lambda", tables.lambda_table, _OWN),
        ("fairness_scorers", tables.scorers_table, _ALL),
    )
}
