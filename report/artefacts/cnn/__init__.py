"""Tables and figures of task cnn."""

from __future__ import annotations

from functools import partial

from report.artefacts.cnn.figures import TITLES, probing_figure
from report.artefacts.cnn.tables import studies_table, zero_shot_table
from report.artefacts.entry import Entry

TITLE = "CNNs on turned images"
ARTEFACTS: dict[str, Entry] = {
    **{
        name: Entry("cnn", partial(probing_figure, name), (name, "methods_probe"))
        for name in TITLES
    },
    "cnn_zero_shot": Entry("cnn", zero_shot_table, ("zero_shot", "methods")),
    "cnn_studies": Entry("cnn", studies_table, ("groups", "reduced")),
}
