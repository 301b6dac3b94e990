"""Tables and figures of task dqn."""

from __future__ import annotations

from report.artefacts.dqn.figures import figure2, figure2_training
from report.artefacts.dqn.tables import scores_table
from report.artefacts.entry import Entry

_FIGURE_2 = ("figure2", "figure2_lambda", "methods")


TITLE = "Deep Q-learning"
ARTEFACTS: dict[str, Entry] = {
    "figure2": Entry("dqn", figure2, _FIGURE_2),
    "figure2_training": Entry("dqn", figure2_training, _FIGURE_2),
    "dqn_scores": Entry("dqn", scores_table, ("figure2", "figure2_raw", "methods")),
}
