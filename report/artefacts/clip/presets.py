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
    """What a preset in `conf/experiment` runs.

    Attributes:
        models: Its models.
        dataset: Its data set; that of a demo is `DRAWN`.
        seeds: Its seeds.
    """

    models: tuple[str, ...]
    dataset: str = "cifar100"
    seeds: str = "0"

    def data(self, scale: str) -> str:
        """Name the data set of a scale.

        Args:
            scale: The scale.

        Returns:
            The data set, as rows name it.
        """
        return self.dataset if scale == "paper" else DRAWN


def of_data(rows: pd.DataFrame, preset: Preset) -> pd.DataFrame:
    """Select the rows of a preset's data set, and of a demo's.

    Args:
        rows: Our rows.
        preset: The preset.

    Returns:
        The rows.
    """
    return rows[rows["dataset"] == rows["scale"].map(preset.data)]


def protocols(rows: pd.DataFrame) -> list[str]:
    """List the protocols that are shown of one scale.

    Args:
        rows: Our rows of that scale.

    Returns:
        Those with rows, and the presets'.
    """
    found = {PROTOCOL, *rows["protocol"]}
    return [name for name in PROTOCOLS if name in found]


def expected_models(preset: Preset, scale: str, protocol: str) -> tuple[str, ...]:
    """List the models that are missing where they have no rows.

    Args:
        preset: The preset.
        scale: The scale.
        protocol: The protocol.

    Returns:
        The preset's in its protocol. Of a demo that has the paper's ResNets it is ours.
    """
    if protocol != PROTOCOL:
        return ()
    return (OURS,) if scale == "demo" and MODELS[0] in preset.models else preset.models


def arguments(
    preset: Preset, scale: str, protocol: str, dataset: str, models: Sequence[str]
) -> list[str]:
    """Write what a command has beside the preset, which is for the paper's scale.

    Args:
        preset: The preset.
        scale: The scale.
        protocol: The protocol.
        dataset: The data set.
        models: The models; ours is never among others, because it has three seeds.

    Returns:
        Words.
    """
    words = [f"scale={scale}"]
    words += [f"protocol={protocol}"] * (protocol != PROTOCOL)
    words += [f"dataset={dataset}"] * (dataset != preset.dataset)
    words += [f"model={','.join(models)}"] * (tuple(models) != preset.models)
    seeds = "0,1,2" if OURS in models else "0"
    # A demo is content with the preset's.
    return words + [f"seed={seeds}"] * (scale == "paper" and seeds != preset.seeds)


def apart(models: Iterable[str]) -> list[list[str]]:
    """Divide models among commands.

    Args:
        models: Names.

    Returns:
        The others' and ours, each if there is any.
    """
    ordered = in_order(models)
    parts = ([name for name in ordered if name != OURS], [name for name in ordered if name == OURS])
    return [part for part in parts if part]
