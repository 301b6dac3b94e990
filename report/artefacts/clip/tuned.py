"""The CLIP task: rows of Figures 5a and 11a sorted into arms, a model fine-tuned in one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import PAPERS, PRETRAINED
from report.artefacts.clip.common import (
    ACCURACY,
    MODELS,
    OURS,
    in_order,
    reported_rows,
    result_rows,
)
from report.artefacts.clip.presets import Preset, expected_models, of_data, protocols
from report.cells import Summary, over_seeds
from report.options import Options
from report.results import Results, departing, select, step_numbers

TUNED = tuple(method for method in PAPERS if method != PRETRAINED)
DIVERGED = "diverged_step"
_CHOSEN = "selected_step"
# Departures that a figure shows, in panels of their own.
_RECIPE = "finetune."


class Study(NamedTuple):
    """One of the two figures; `models` are shown where they have rows."""

    title: str
    preset: Preset
    models: tuple[str, ...]


STUDIES = {
    "figure5a": Study("Figure 5a: CLIP's ResNets", Preset(MODELS[:2]), (*MODELS[:2], OURS)),
    "figure11a": Study("Figure 11a: CLIP's vision transformers", Preset(MODELS[2:]), MODELS[2:]),
}

# Method to step to accuracy.
Points = Mapping[str, Mapping[int, float]]


class Arm(NamedTuple):
    """One model, fine-tuned in one way; methods without rows are absent.

    Attributes:
        recipe: What its fine-tuning has beside the protocol's; empty for nothing.
        selected: Method to the accuracy at the steps that the runs report.
        steps: Method to these steps, one per seed, in order.
    """

    scale: str
    protocol: str
    model: str
    recipe: str
    curves: Mapping[str, Mapping[int, Summary]]
    selected: Mapping[str, Summary]
    steps: Mapping[str, Sequence[int]]

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its block in a table."""
        names = ("scale", "protocol", "model", "variant")
        return dict(zip(names, (*self[:3], self.recipe or "none"), strict=True))


def shown_rows(study: Study, results: Results, options: Options) -> pd.DataFrame:
    """Our rows of the figure's models, fine-tuned as the protocol says or with another recipe."""
    rows = of_data(result_rows(results, options, trained=True), study.preset)
    rows = select(rows, model=study.models, group="rot90", method=TUNED, view="")
    known = {name for found in rows["departures"] for name in found if name.startswith(_RECIPE)}
    rows = rows[departing(rows, "training", *known) == ""]
    accurate = (rows["metric"] == ACCURACY) & (rows["transform"] == "rot90")
    return rows[accurate | rows["metric"].isin([_CHOSEN, DIVERGED])]


def papers_curves(name: str, results: Results) -> dict[str, Points]:
    """The paper's curves: model to method to step to accuracy."""
    reported = reported_rows(results, name)
    curves: dict[str, dict[str, dict[int, float]]] = {}
    columns = (reported[name] for name in ("model", "method", "step", "value"))
    for model, method, step, value in zip(*columns, strict=True):
        curves.setdefault(model, {}).setdefault(method, {})[int(step)] = float(value)
    return {**curves}


def find_arms(study: Study, rows: pd.DataFrame, options: Options) -> list[Arm]:
    """Arms by scale, protocol, model and recipe: those with rows, of the preset also without."""
    return [*_arms(study, rows, options)]


def _arms(study: Study, rows: pd.DataFrame, options: Options) -> Iterator[Arm]:
    for scale in options.scales:
        inside = select(rows, scale=scale)
        for protocol in protocols(inside):
            part = select(inside, protocol=protocol)
            expected = expected_models(study.preset, scale, protocol)
            for model in in_order({*expected, *part["model"]}):
                own = select(part, model=model)
                recipes = {*own["departure"], *([""] if model in expected else [])}
                for recipe in sorted(recipes):
                    key = (scale, protocol, model, recipe)
                    yield _arm(key, select(own, departure=recipe), options)


def _arm(key: tuple[str, str, str, str], rows: pd.DataFrame, options: Options) -> Arm:
    accuracies, chosen = select(rows, metric=ACCURACY), select(rows, metric=_CHOSEN)
    ends = accuracies["step"] == ""
    during = accuracies[~ends]
    during = during.assign(number=step_numbers(during))
    curves: dict[str, dict[int, Summary]] = {}
    selected: dict[str, Summary] = {}
    for method in TUNED:
        for step, cell in select(during, method=method).groupby("number"):
            summary = over_seeds(cell, options.spread)
            assert summary is not None
            curves.setdefault(method, {})[step] = summary
        summary = over_seeds(select(accuracies[ends], method=method), options.spread)
        if summary is not None:
            selected[method] = summary
    steps = {name: sorted(map(int, select(chosen, method=name)["value"])) for name in TUNED}
    return Arm(*key, curves, selected, steps)
