"""The fairness task: what is compared on what, what of it is missing, and the commands for that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.frame.rows import PROTOCOLS
from report.artefacts.fairness.common import (
    EXPERIMENTS,
    MODELS,
    PAIRS,
    PLAIN,
    REFERENCE,
    WAYS,
    Way,
    of_way,
)
from report.options import Options
from report.results import select

REFERENCE_COMMAND = f"python run.py experiment={REFERENCE} model.file=FILE task.regard_data=FOLDER"
# What tells how good the judge of the paper's model is.
COMPARE_COMMAND = (
    f"python run.py experiment={EXPERIMENTS['respect']} scale=paper task.regard_data=FOLDER "
    f"arm={PLAIN.arm}"
)
# The presets' protocol; the authors' code, which is the other, has no equizero.
PROTOCOL = "paper"
# The presets' model: without rows it is missing.
_EXPECTED = {"paper": "gpt2", "demo": "PlantedGPT2"}


class Place(NamedTuple):
    """What the ways are compared on; the demographic groups are `group`, as rows name them."""

    scale: str
    protocol: str
    dataset: str
    model: str
    group: str

    def rows(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Its rows."""
        return select(rows, **self._asdict())

    def ways(self, rows: pd.DataFrame) -> list[Way]:
        """All ways of the preset, with rows or without; beyond its protocol those with rows."""
        if self.protocol == PROTOCOL and self.model != REFERENCE:
            return [*WAYS]
        return [way for way in WAYS if len(of_way(rows, way))]


def find_places(rows: pd.DataFrame, options: Options, datasets: Iterable[str]) -> list[Place]:
    """Places with rows and, in the presets' protocol, those without.

    The latter are the paper's pairs for each model with rows and for the presets'.
    """
    blocks = ((scale, protocol) for scale in options.scales for protocol in PROTOCOLS)
    return [
        Place(scale, protocol, dataset, *own)
        for scale, protocol in blocks
        for dataset in datasets
        for own in _pairs(select(rows, scale=scale, protocol=protocol), dataset, scale, protocol)
    ]


def _pairs(
    rows: pd.DataFrame, dataset: str, scale: str, protocol: str
) -> Iterator[tuple[str, str]]:
    """List models with demographic groups, of one scale and protocol."""
    inside = select(rows, dataset=dataset)
    found = dict.fromkeys(zip(inside["model"], inside["group"], strict=True))
    complete = protocol == PROTOCOL
    models = {*rows["model"], *[_EXPECTED[scale]] * complete}
    for model in in_order(models):
        for group in dict.fromkeys([*PAIRS, *rows["group"]]):
            missing = complete and model != REFERENCE and group in PAIRS
            if missing or (model, group) in found:
                yield model, group


def in_order(models: Iterable[str]) -> list[str]:
    """Each model once: as in `MODELS`, any others before the reference."""
    known = [*MODELS]

    def rank(name: str) -> tuple[float, str]:
        base = name.partition(" ")[0]
        return (known.index(base) if base in known else len(known) - 1.5, name)

    return sorted(set(models), key=rank)


def commands(lacking: Iterable[tuple[Place, Way]]) -> tuple[str, ...]:
    """Shell commands for missing cells; those of one model that lack the same are one."""
    ways: dict[Place, list[Way]] = {}
    for place, way in lacking:
        ways.setdefault(place, []).append(way)
    groups: dict[tuple[Place, tuple[str, ...]], list[str]] = {}
    for place, missing in ways.items():
        arms = tuple(way.arm for way in WAYS if way in missing)
        groups.setdefault((place._replace(group=""), arms), []).append(place.group)
    return tuple(_command(place, arms, found) for (place, arms), found in groups.items())


def _command(place: Place, arms: Sequence[str], groups: Sequence[str]) -> str:
    words = [f"python run.py experiment={EXPERIMENTS[place.dataset]} scale={place.scale}"]
    words += [f"protocol={place.protocol}"] * (place.protocol != PROTOCOL)
    base, _, source = place.model.partition(" ")
    words += MODELS[base].words if base in MODELS else (f"model={base}",)
    words += [f"model.source={source}"] * bool(source)
    words += [f"group={','.join(groups)}"] * (tuple(groups) != PAIRS)
    words += [f"arm={','.join(arms)}"] * (len(arms) != len(WAYS))
    return " ".join(words)
