"""The CLIP task: what the presets run, and the commands for what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.frame.rows import PROTOCOLS
from report.artefacts.clip.common import MODELS, OURS, in_order

# The protocol of all presets, and the data set of a demo.
PROTOCOL = "paper"
DRAWN = "symbols"


class Preset(NamedTuple):
    """Models, data set (of a demo it is `DRAWN`) and seeds of a preset in `conf/experiment`."""

    models: tuple[str, ...]
    dataset: str = "cifar100"
    seeds: str = "0"

    def data(self, scale: str) -> str:
        """The data set of a scale."""
        return self.dataset if scale == "paper" else DRAWN


def of_data(rows: pd.DataFrame, preset: Preset) -> pd.DataFrame:
    """The rows of a preset's data set, and of a demo's."""
    return rows[rows["dataset"] == rows["scale"].map(preset.data)]


def protocols(rows: pd.DataFrame) -> list[str]:
    """The protocols of one scale that are shown: those with rows, and the presets'."""
    found = {PROTOCOL, *rows["protocol"]}
    return [name for name in PROTOCOLS if name in found]


def expected_models(preset: Preset, scale: str, protocol: str) -> tuple[str, ...]:
    """The models that are missing where they have no rows: the preset's in its protocol.

    Of a demo that has the paper's ResNets it is ours.
    """
    if protocol != PROTOCOL:
        return ()
    return (OURS,) if scale == "demo" and MODELS[0] in preset.models else preset.models


def arguments(
    preset: Preset, scale: str, protocol: str, dataset: str, models: Sequence[str]
) -> list[str]:
    """What a command has beside the preset, which is for the paper's scale.

    Our model is never among others, because it has three seeds.
    """
    words = [f"scale={scale}"]
    words += [f"protocol={protocol}"] * (protocol != PROTOCOL)
    words += [f"dataset={dataset}"] * (dataset != preset.dataset)
    words += [f"model={','.join(models)}"] * (tuple(models) != preset.models)
    seeds = "0,1,2" if OURS in models else "0"
    # A demo is content with the preset's.
    return words + [f"seed={seeds}"] * (scale == "paper" and seeds != preset.seeds)


def apart(models: Iterable[str]) -> list[list[str]]:
    """The others' models and ours, each if there is any: they need separate commands."""
    ordered = in_order(models)
    parts = ([name for name in ordered if name != OURS], [name for name in ordered if name == OURS])
    return [part for part in parts if part]
