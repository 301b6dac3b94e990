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
    _cnn_studies,
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
        sources: The committed files under `results/measured/<task>` that it shows rows of, or would
            if they had any.
    """

    task: str
    build: Callable[[Results, Options], Artefact]
    sources: tuple[str, ...] = ()


_ZERO_SHOT = ("zero_shot",)
_WITH_LENGTHS = ("lengths", "zero_shot")
_SENTENCES = ("gpt2_text", "smollm2")
_OWN_SENTENCES = ("smollm2",)


ARTEFACTS: dict[str, Entry] = {
    **{
        name: Entry("scan", partial(_scan_tables.zero_shot_table, name), files)
        for name, files in zip(
            _scan_tables.ZERO_SHOT_MODELS, (_ZERO_SHOT, _WITH_LENGTHS, _WITH_LENGTHS), strict=True
        )
    },
    **{
        name: Entry(
            "scan",
            partial(_scan_tables.finetuned_table, name),
            ("finetuned", "group_models", "zero_shot"),
        )
        for name in _scan_tables.FINETUNED_MODELS
    },
    "figure10": Entry("scan", _scan_figures.figure10, ("few_shot",)),
    "scan_variants": Entry("scan", _scan_studies.variants_table, _WITH_LENGTHS),
    "scan_groups": Entry("scan", _scan_studies.groups_table, ("groups", "zero_shot")),
    "scan_lengths": Entry("scan", _scan_studies.lengths_table, _WITH_LENGTHS),
    "scan_rates": Entry("scan", _scan_studies.rates_table, ("finetuned", "rates")),
    "figure2": Entry("dqn", _dqn_figures.figure2, ("figure2", "figure2_lambda")),
    "figure2_training": Entry("dqn", _dqn_training.figure2_training, ("figure2", "figure2_lambda")),
    "dqn_scores": Entry("dqn", _dqn_studies.scores_table, ("figure2", "figure2_raw")),
    **{
        name: Entry("cnn", partial(_cnn_figures.probing_figure, name), (name,))
        for name in _cnn.STUDIES
    },
    "cnn_zero_shot": Entry("cnn", _cnn_tables.zero_shot_table, _ZERO_SHOT),
    "cnn_studies": Entry("cnn", _cnn_studies.studies_table, ("groups", "reduced")),
    **{
        name: Entry("clip", partial(_clip_figures.zero_shot_figure, name), _ZERO_SHOT)
        for name in _clip_bars.STUDIES
    },
    **{
        name: Entry("clip", partial(_clip_training.training_figure, name), (name,))
        for name in _clip_tuned.STUDIES
    },
    "figure12": Entry("clip", _clip_lambda.lambda_figure, _ZERO_SHOT),
    "table1": Entry("clip", _clip_timing.table1, ("table1",)),
    "clip_zero_shot": Entry("clip", _clip_tables.zero_shot_table, ("variants", "zero_shot")),
    "clip_classes": Entry("clip", _clip_classes.classes_table, _ZERO_SHOT),
    **{
        name: Entry("fairness", partial(_fairness_figures.shares_figure, name), _SENTENCES)
        for name in _fairness_figures.STUDIES
    },
    **{
        f"{name}{_fairness_figures.TABLE}": Entry(
            "fairness", partial(_fairness_figures.shares_table, name), _SENTENCES
        )
        for name in _fairness_figures.STUDIES
    },
    **{
        name: Entry("fairness", partial(_fairness_samples.samples_table, name), _OWN_SENTENCES)
        for name in _fairness_samples.STUDIES
    },
    "fairness_gaps": Entry("fairness", _fairness_gaps.gaps_table, _SENTENCES),
    "fairness_lambda": Entry("fairness", _fairness_lambda.lambda_table, _OWN_SENTENCES),
    "fairness_scorers": Entry("fairness", _fairness_scorers.scorers_table, _SENTENCES),
}
