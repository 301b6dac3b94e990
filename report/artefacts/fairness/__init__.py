"""Tables and figures of task fairness."""

from __future__ import annotations

from functools import partial

from report.artefacts.entry import Entry
from report.artefacts.fairness.figures import STUDIES, shares_figure, shares_table
from report.artefacts.fairness.tables import (
    SAMPLES,
    gaps_table,
    lambda_table,
    regard_table,
    samples_table,
    scorers_table,
)

_OWN = ("smollm2",)
_ALL = ("gpt2_text", *_OWN)

TITLE = "Fairness in language generation"
ARTEFACTS: dict[str, Entry] = {
    **{name: Entry("fairness", partial(shares_figure, name), _ALL) for name in STUDIES},
    **{f"{name}_shares": Entry("fairness", partial(shares_table, name), _ALL) for name in STUDIES},
    **{name: Entry("fairness", partial(samples_table, name), _OWN) for name in SAMPLES},
    "fairness_regard": Entry("fairness", regard_table, _ALL),
    "fairness_gaps": Entry("fairness", gaps_table, _ALL),
    "fairness_lambda": Entry("fairness", lambda_table, _OWN),
    "fairness_scorers": Entry("fairness", scorers_table, _ALL),
}
