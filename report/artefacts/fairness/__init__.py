"""Tables and figures of task fairness."""

from __future__ import annotations

from functools import partial

from report.artefacts.entry import Entry
from report.artefacts.fairness import figures, samples
from report.artefacts.fairness.gaps import gaps_table
from report.artefacts.fairness.lambdas import lambda_table
from report.artefacts.fairness.scorers import scorers_table

_SENTENCES = ("gpt2_text", "smollm2")
_OWN_SENTENCES = ("smollm2",)


TITLE = "Fairness in language generation"
ARTEFACTS: dict[str, Entry] = {
    **{
        name: Entry("fairness", partial(figures.shares_figure, name), _SENTENCES)
        for name in figures.STUDIES
    },
    **{
        f"{name}{figures.TABLE}": Entry("fairness", partial(figures.shares_table, name), _SENTENCES)
        for name in figures.STUDIES
    },
    **{
        name: Entry("fairness", partial(samples.samples_table, name), _OWN_SENTENCES)
        for name in samples.STUDIES
    },
    "fairness_gaps": Entry("fairness", gaps_table, _SENTENCES),
    "fairness_lambda": Entry("fairness", lambda_table, _OWN_SENTENCES),
    "fairness_scorers": Entry("fairness", scorers_table, _SENTENCES),
}
