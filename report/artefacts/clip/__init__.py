"""Tables and figures of task clip."""

from __future__ import annotations

from functools import partial

from report.artefacts.clip import figures, training
from report.artefacts.clip.figures import zero_shot_figure
from report.artefacts.clip.lambdas import lambda_figure
from report.artefacts.clip.tables import classes_table, table1, zero_shot_table
from report.artefacts.clip.training import training_figure
from report.artefacts.entry import Entry

_ZERO_SHOT = ("methods", "zero_shot")


TITLE = "CLIP: zero-shot classification"
ARTEFACTS: dict[str, Entry] = {
    **{name: Entry("clip", partial(zero_shot_figure, name), _ZERO_SHOT) for name in figures.TITLES},
    **{name: Entry("clip", partial(training_figure, name), (name,)) for name in training.TITLES},
    "figure12": Entry("clip", lambda_figure, _ZERO_SHOT),
    "table1": Entry("clip", table1, ("table1",)),
    "clip_zero_shot": Entry("clip", zero_shot_table, ("variants", *_ZERO_SHOT)),
    "clip_classes": Entry("clip", classes_table, _ZERO_SHOT),
}
