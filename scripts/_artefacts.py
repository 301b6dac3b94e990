"""The list of artefacts: the name of each table or figure, whose rows it reads, what builds it.

A new figure is one builder in a module of its own and one line in `ARTEFACTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from rich.console import Console

from scripts import (
    _clip_bars,
    _clip_classes,
    _clip_figures,
    _clip_lambda,
    _clip_tables,
    _clip_timing,
    _clip_training,
    _clip_tuned,
    _cnn,
    _cnn_figures,
    _cnn_tables,
    _dqn_figures,
    _dqn_studies,
    _dqn_training,
    _fairness_figures,
    _fairness_gaps,
    _fairness_lambda,
    _fairness_samples,
    _fairness_scorers,
    _scan_figures,
    _scan_studies,
    _scan_tables,
)
from scripts._options import Options
from scripts._results import Results


class Artefact(Protocol):
    """What a builder returns: something that can be shown on a terminal and written to files."""

    def show(self, console: Console) -> None:
        """Print it.

        Args:
            console: Where to print.
        """

    def write(self, folder: Path) -> list[Path]:
        """Write its files.

        Args:
            folder: Where to; made if absent.

        Returns:
            The files written.
        """


class Entry(NamedTuple):
    """One line of the list.

    Attributes:
        task: The task whose rows are loaded.
        build: Makes the artefact from the rows.
    """

    task: str
    build: Callable[[Results, Options], Artefact]


ARTEFACTS: dict[str, Entry] = {
    **{
        name: Entry("scan", partial(_scan_tables.zero_shot_table, name))
        for name in _scan_tables.ZERO_SHOT_MODELS
    },
    **{
        name: Entry("scan", partial(_scan_tables.finetuned_table, name))
        for name in _scan_tables.FINETUNED_MODELS
    },
    "figure10": Entry("scan", _scan_figures.figure10),
    "scan_variants": Entry("scan", _scan_studies.variants_table),
    "scan_groups": Entry("scan", _scan_studies.groups_table),
    "scan_lengths": Entry("scan", _scan_studies.lengths_table),
    "scan_rates": Entry("scan", _scan_studies.rates_table),
    "figure2": Entry("dqn", _dqn_figures.figure2),
    "figure2_training": Entry("dqn", _dqn_training.figure2_training),
    "dqn_scores": Entry("dqn", _dqn_studies.scores_table),
    **{name: Entry("cnn", partial(_cnn_figures.probing_figure, name)) for name in _cnn.STUDIES},
    "cnn_zero_shot": Entry("cnn", _cnn_tables.zero_shot_table),
    **{
        name: Entry("clip", partial(_clip_figures.zero_shot_figure, name))
        for name in _clip_bars.STUDIES
    },
    **{
        name: Entry("clip", partial(_clip_training.training_figure, name))
        for name in _clip_tuned.STUDIES
    },
    "figure12": Entry("clip", _clip_lambda.lambda_figure),
    "table1": Entry("clip", _clip_timing.table1),
    "clip_zero_shot": Entry("clip", _clip_tables.zero_shot_table),
    "clip_classes": Entry("clip", _clip_classes.classes_table),
    **{
        name: Entry("fairness", partial(_fairness_figures.shares_figure, name))
        for name in _fairness_figures.STUDIES
    },
    **{
        f"{name}{_fairness_figures.TABLE}": Entry(
            "fairness", partial(_fairness_figures.shares_table, name)
        )
        for name in _fairness_figures.STUDIES
    },
    **{
        name: Entry("fairness", partial(_fairness_samples.samples_table, name))
        for name in _fairness_samples.STUDIES
    },
    "fairness_gaps": Entry("fairness", _fairness_gaps.gaps_table),
    "fairness_lambda": Entry("fairness", _fairness_lambda.lambda_table),
    "fairness_scorers": Entry("fairness", _fairness_scorers.scorers_table),
}
