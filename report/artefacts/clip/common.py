"""The CLIP task: what its tables and figures share: models, which rows count, presets, commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.frame.methods import LAMBDA_EQUITUNE, METHODS, PAPERS
from experiments.frame.rows import PROTOCOLS
from report.cells import NOT_REPORTED, NUMBER_HEADERS, format_reported
from report.options import Options
from report.results import Results, departing, option, own_groups, select

ACCURACY = "top1_accuracy"
LAMBDA = LAMBDA_EQUITUNE
# The paper's models, in its order, and ours.
MODELS = ("RN50", "RN101", "ViT-B-32", "ViT-B-16")
OURS = "SmallCLIP"
# The paper's name for a group, and what the authors' code does.
_TURNS = {"flip": "rot180"}
FLIP_NOTE = (
    'rot180: the "flip" of the paper; the authors\' code reverses both axes of the image, which is '
    "a turn by 180 degrees and no mirror image"
)
IMAGES_NOTE = (
    "protocol paper: the mean over all transforms of every test image; protocol reference: one "
    "random transform for each batch of 32"
)
INTERVAL_NOTE = "[interval]: 95 % over images; with several seeds the mean of theirs"
SOURCE_NOTE = (
    "the paper's numbers: those in the authors' plotting script, of one seed and without spread"
)
OURS_NOTE = (
    f"{OURS} is no model of the paper: this suite trains it on captions of the data set's own "
    "training images"
)
# Of the methods; pretrained bars have further ones.
COLOURS = {name: METHODS[name].colour for name in PAPERS}
# The protocol of all presets, and the data set of a demo.
PROTOCOL = "paper"
DRAWN = "symbols"


def result_rows(results: Results, options: Options, *, trained: bool) -> pd.DataFrame:
    """Rows of the CLIP task, with the image encoder fine-tuned or as it is.

    The column `departure` says what `variant` names beyond that training: empty for what the
    protocol defines.
    """
    rows = select(results.ours, task="clip", scale=options.scales)
    rows = rows[(option(rows, "training") == "image_encoder") == trained]
    return rows.assign(departure=departing(rows, *(["training"] * trained)))


def in_own_group(rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether each row's `group` is the `transform` of its images, or `trivial` for pretrained."""
    return rows["group"] == own_groups(rows, rows["transform"])


def reported_rows(results: Results, artefacts: str | Sequence[str]) -> pd.DataFrame:
    """The paper's rows of these figures, with our names of groups and transforms."""
    rows = select(results.reported, task="clip", artefact=artefacts)
    return rows.assign(**{name: rows[name].replace(_TURNS) for name in ("group", "transform")})


def reported_cells(number: float) -> tuple[str, ...]:
    """The cells `NUMBER_HEADERS` of a number of the paper, which has no spread and no interval."""
    return (repr(number), *[""] * (len(NUMBER_HEADERS) - 1))


def format_papers(number: float | None) -> str:
    """The text of a cell; a dash where the paper gives no number."""
    return NOT_REPORTED if number is None else format_reported(number, float("nan"))


def in_order(models: Iterable[str]) -> list[str]:
    """Each model once: the paper's, ours, then any other by name."""
    known = (*MODELS, OURS)
    return sorted(
        set(models), key=lambda name: (known.index(name) if name in known else len(known), name)
    )


def label(model: str) -> str:
    """The name of a model in a picture; below ours it says so."""
    return f"{model}\n(ours)" if model == OURS else model


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
