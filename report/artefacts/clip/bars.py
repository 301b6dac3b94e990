"""The CLIP task: rows of Figures 4, 7 and 8 sorted into bars: methods, transforms, models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import EQUITUNE, EQUIZERO, PAPERS, PRETRAINED, own_group
from report.artefacts.clip.common import (
    ACCURACY,
    COLOURS,
    LAMBDA,
    MODELS,
    in_order,
    in_own_group,
    reported_rows,
    result_rows,
)
from report.artefacts.clip.presets import Preset, expected_models, of_data, protocols
from report.measures import Measure, measure
from report.options import Options
from report.plots.panels import PURPLE, VERMILION
from report.results import Results, select

# Transforms in the order of columns, and how a table names them.
TRANSFORMS = {"none": "upright", "rot180": "rot180", "rot90": "rot90"}
_METRICS = (ACCURACY, f"{ACCURACY}_low", f"{ACCURACY}_high")


class Way(NamedTuple):
    """A method, and the transform of the images."""

    method: str
    transform: str

    @property
    def group(self) -> str:
        """The group, as rows name it."""
        return own_group(self.method, self.transform)

    @property
    def label(self) -> str:
        """Its name in a legend: one for the same number in every panel."""
        if self.method == PRETRAINED:
            return f"{self.method}, {TRANSFORMS[self.transform]}"
        return f"{self.method} (ours)" if self.method == LAMBDA else self.method


_DROPS = tuple(Way(PRETRAINED, transform) for transform in TRANSFORMS)
BAR_COLOURS = {
    **dict(
        zip((way.label for way in _DROPS), (PURPLE, VERMILION, COLOURS[PRETRAINED]), strict=True)
    ),
    **{Way(method, "rot90").label: COLOURS[method] for method in PAPERS if method != PRETRAINED},
}


def _compared(transform: str, *methods: str) -> tuple[Way, ...]:
    return tuple(Way(method, transform) for method in (PRETRAINED, EQUITUNE, EQUIZERO, *methods))


class Study(NamedTuple):
    """One of the figures.

    Attributes:
        panels: Title of a panel to its bars.
    """

    title: str
    preset: Preset
    papers: tuple[str, ...]
    panels: Mapping[str, Sequence[Way]]

    @property
    def ways(self) -> list[Way]:
        """The bars of all panels, each once."""
        return [*dict.fromkeys(way for ways in self.panels.values() for way in ways)]

    @property
    def transforms(self) -> list[str]:
        """The transforms of all panels."""
        return [name for name in TRANSFORMS if name in {way.transform for way in self.ways}]


STUDIES = {
    "figure4": Study(
        "Figure 4: zero-shot CLIP on transformed ImageNet-V2",
        Preset(MODELS, "imagenet_v2"),
        ("figure4a", "figure4b", "figure4c"),
        {"a: pretrained": _DROPS, "b: rot90": _compared("rot90"), "c: rot180": _compared("rot180")},
    ),
    "figure7": Study(
        "Figure 7: zero-shot pretrained CLIP on transformed CIFAR-100",
        Preset(MODELS),
        ("figure7",),
        {PRETRAINED: _DROPS},
    ),
    "figure8": Study(
        "Figure 8: zero-shot CLIP on transformed CIFAR-100",
        Preset(MODELS),
        ("figure8a", "figure8b"),
        {"a: rot90": _compared("rot90", LAMBDA), "b: rot180": _compared("rot180", LAMBDA)},
    ),
}


class Arm(NamedTuple):
    """One model, evaluated in one protocol; bars without rows are absent.

    Attributes:
        paper: What the paper reports; nothing for other data sets than its own.
    """

    scale: str
    protocol: str
    dataset: str
    model: str
    bars: Mapping[Way, Measure]
    paper: Mapping[Way, float]

    @property
    def place(self) -> tuple[str, str, str]:
        """What it shares with the other models beside it."""
        return (self.scale, self.protocol, self.dataset)


def shown_rows(study: Study, results: Results, options: Options) -> pd.DataFrame:
    """Our rows of the figure's data set and bars, in the protocols as they are."""
    rows = result_rows(results, options, trained=False)
    rows = select(of_data(rows, study.preset), departure="", step="", view="", metric=_METRICS)
    ways = {tuple(way) for way in study.ways}
    shown = [way in ways for way in zip(rows["method"], rows["transform"], strict=True)]
    return rows[in_own_group(rows) & pd.Series(shown, rows.index, dtype=bool)]


def find_arms(study: Study, rows: pd.DataFrame, results: Results, options: Options) -> list[Arm]:
    """Arms by scale, protocol and model: those with rows, and of the preset those without."""
    return [*_arms(study, rows, _papers(study, results), options)]


def _papers(study: Study, results: Results) -> dict[str, dict[Way, float]]:
    """Find the paper's numbers: model to bar to value."""
    found: dict[str, dict[Way, float]] = {}
    rows = select(reported_rows(results, study.papers), metric=ACCURACY)
    columns = (rows[name] for name in ("model", "method", "transform", "value"))
    for model, method, transform, value in zip(*columns, strict=True):
        found.setdefault(model, {})[Way(method, transform)] = float(value)
    return found


def _arms(
    study: Study, rows: pd.DataFrame, paper: Mapping[str, Mapping[Way, float]], options: Options
) -> Iterator[Arm]:
    for scale in options.scales:
        inside = select(rows, scale=scale)
        for protocol in protocols(inside):
            part = select(inside, protocol=protocol)
            expected = expected_models(study.preset, scale, protocol)
            for model in in_order({*expected, *part["model"]}):
                reported = paper.get(model, {}) if scale == "paper" else {}
                bars = _bars(study, select(part, model=model), options)
                yield Arm(scale, protocol, study.preset.data(scale), model, bars, reported)


def _bars(study: Study, rows: pd.DataFrame, options: Options) -> dict[Way, Measure]:
    found = (
        (way, measure(select(rows, method=way.method, transform=way.transform), ACCURACY, options))
        for way in study.ways
    )
    return {way: number for way, number in found if number is not None}
