"""CLIP: what its tables and figures share: models, which rows count, lines, the paper's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import pandas as pd

from experiments.frame.methods import LAMBDA_EQUITUNE, METHODS
from experiments.frame.rows import PROTOCOLS
from report.aggregate import Labels, Numbers
from report.cells import format_papers, span
from report.options import Options
from report.plots.words import plain_protocol
from report.presets import axes
from report.results import Results, departing, option, own_groups, select
from report.spec import Column, Line, Spec

ACCURACY = "top1_accuracy"
LAMBDA = LAMBDA_EQUITUNE
# The paper's models, in its order, and ours with its seeds; one seed is enough for the others.
MODELS = axes("figure8")["model"]
(OURS,), OUR_SEEDS = (axes("clip_zero_shot")[name] for name in ("model", "seed"))
# Of a metric with an interval.
ENDS = ("", "_low", "_high")
# The data set of a demo.
DRAWN = "symbols"
# Labels of a model in one protocol, and what commands for missing cells may name.
PLACE = ("scale", "protocol", "dataset")
ARM = (*PLACE, "model")
WORDS = (*ARM, "seed")
bars_spec = partial(Spec, block=PLACE, words=(*WORDS, "method"), together=(*PLACE, "seed"))
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


def of_data(rows: pd.DataFrame, preset: str) -> pd.DataFrame:
    """The rows of a preset's data set, and of a demo's."""
    return rows[rows["dataset"] == rows["scale"].map(partial(dataset, preset))]


def dataset(preset: str, scale: str) -> str:
    """The data set of a preset in a scale."""
    return axes(preset)["dataset"][0] if scale == "paper" else DRAWN


def seeds(preset: str, labels: Labels) -> dict[str, str]:
    """The label `seed` of a model: its seeds; a demo is content with the preset's."""
    own = OUR_SEEDS if labels["model"] == OURS else ("0",)
    return {"seed": ",".join(own if labels["scale"] == "paper" else axes(preset)["seed"])}


def rank(model: str) -> tuple[int, str]:
    """The place of a model in a table: the paper's, ours, then any other by name."""
    known = (*MODELS, OURS)
    return known.index(model) if model in known else len(known), model


def made_models(preset: str, scale: str, protocol: str) -> tuple[str, ...]:
    """The models of a preset, in its protocol; in place of the paper's ResNets a demo has ours."""
    models = axes(preset)["model"] if protocol in axes(preset)["protocol"] else ()
    return (OURS,) if scale == "demo" and MODELS[0] in models else models


def arms(numbers: Numbers, preset: str, options: Options) -> Iterator[dict[str, str]]:
    """The labels of models, in order: those with numbers, and those that a preset makes."""
    for scale in options.scales:
        for protocol in PROTOCOLS:
            own = {"scale": scale, "protocol": protocol, "dataset": dataset(preset, scale)}
            models = {found["model"] for found in numbers.labels("model", **own)}
            for model in sorted(models.union(made_models(preset, scale, protocol)), key=rank):
                arm = own | {"model": model}
                yield arm | seeds(preset, arm)


def methods_of(made: Iterable[str], found: Iterable[str]) -> list[str]:
    """Methods in order: those that a preset makes, and others with rows."""
    there = {*made, *found}
    return [method for method in METHODS if method in there]


def reported_rows(results: Results, artefact: str) -> pd.DataFrame:
    """The paper's rows of a figure with all its parts, with our names of groups and transforms."""
    rows = select(results.reported, task="clip")
    rows = rows[rows["artefact"].str.fullmatch(f"{artefact}[a-z]?")]
    return rows.assign(**{name: rows[name].replace(_TURNS) for name in ("group", "transform")})


def _reported(line: Line, **wanted: str) -> tuple[float, float] | None:
    """The paper's number beside a line; a demo is of another data set and has none."""
    own = {name: line.labels[name] for name in ("model", "method") if name in line.labels}
    return line.paper(**own | wanted) if line.labels["scale"] == "paper" else None


def paper(line: Line, **wanted: str) -> float | None:
    """The paper's number beside a line, without its spread."""
    found = _reported(line, **wanted)
    return found and found[0]


def papers(header: str, **wanted: str) -> Column:
    """A column with the paper's numbers."""
    return Column(header, lambda line: format_papers(_reported(line, **wanted)))


def least_most(*changed: Labels) -> Column:
    """A column with the least and the greatest number of seeds of other columns."""

    def show(line: Line) -> str:
        found = (line.find(**each) for each in changed)
        return span(number.seeds if number else 0 for number in found)

    return Column("n", show)


def in_picture(model: str) -> str:
    """The name of a model in a picture; below ours it says so."""
    return f"{model}\n(ours)" if model == OURS else model


def ours_note(models: Iterable[str]) -> str:
    """What a picture says of our model, if it is there."""
    return f"{OURS} (ours): trained by this suite" if OURS in models else ""


def place(scale: str, protocol: str, options: Options) -> str:
    """The protocol of a panel, and the scale where there are several."""
    return plain_protocol(protocol) + f", scale {scale}" * (len(options.scales) > 1)
