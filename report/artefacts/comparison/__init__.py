"""Tables and figures of the further methods, and which one to use."""

from __future__ import annotations

from functools import partial

from report.artefacts.comparison.choice import choice_table
from report.artefacts.comparison.pareto import pareto_figure
from report.artefacts.comparison.tables import methods_table, overview_table
from report.artefacts.comparison.views import VIEWS
from report.artefacts.entry import Entry

_TASKS = tuple(dict.fromkeys(view.task for view in VIEWS.values()))
_OPTIONS = frozenset[str]().union(*(view.options for view in VIEWS.values()))
_FILES = tuple(sorted({name for view in VIEWS.values() for name in view.files}))

TITLE = "Methods compared"
ARTEFACTS: dict[str, Entry] = {
    "which_method": Entry("comparison", choice_table, _FILES, _TASKS, _OPTIONS),
    "methods": Entry("comparison", overview_table, _FILES, _TASKS, _OPTIONS),
    **{
        name: Entry(view.task, partial(build, view), view.files, knows=view.options)
        for view in VIEWS.values()
        for name, build in ((view.preset, methods_table), (f"pareto_{view.name}", pareto_figure))
    },
}
