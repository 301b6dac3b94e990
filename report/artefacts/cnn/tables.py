"""The CNN task: which rows count, and tables of accuracy without training and further studies."""

from __future__ import annotations

from functools import partial

import pandas as pd

from experiments.frame.methods import METHODS
from report.aggregate import Numbers
from report.cells import (
    EN_DASH,
    Number,
    format_digits,
    format_estimate,
    format_mean,
    format_measure,
    span,
)
from report.options import Options
from report.presets import arms, axes
from report.results import Results, departing, option, own_groups, select
from report.spec import Column, Line, Spec, is_mean, shown
from report.tables import Table

ACCURACY = "top1_accuracy"
GROUP = "rot90"
# By protocol: equizero's loss where a row names none, and the images that are evaluated.
LOSSES = {"paper": "max_probability", "reference": "reversed_max_probability"}
IMAGES = {"paper": "test images", "reference": "training images"}
IMAGES_NOTE = f"protocol paper: {IMAGES['paper']}; protocol reference: {IMAGES['reference']}"
LOSS_NOTE = (
    "reversed: max probability with the sign of the authors' code, which takes the least confident "
    "view"
)
LOSS_ORDER = ("", "max_probability", "entropy", "reversed_max_probability")
_ZERO_SHOT = "cnn_zero_shot"
# By scale, the data set that networks are trained on.
SOURCES = {"paper": axes(_ZERO_SHOT)["dataset"][0], "demo": "letters"}
_BLOCK = ("scale", "protocol", "dataset", "model")
_UPRIGHT = {"metric": ACCURACY, "transform": "none", "view": ""}
_TURNED = {"metric": ACCURACY, "transform": "rot90", "view": ""}
_ERROR = {**_UPRIGHT, "metric": "equivariance_error"}
_GAIN = {**_TURNED, "metric": "over_equitune"}
_INTERVAL_NOTES = (
    "[interval]: 95 % over images",
    "over equitune: difference in points on the same images",
)


def result_rows(results: Results, options: Options, *, trained: bool) -> pd.DataFrame:
    """Rows of the CNN task and the paper's groups, with the last layers trained or as they are.

    Further columns are `loss`, the proxy loss of a method that has one, and `departure`, what
    `variant` says beyond loss and training: empty for what the protocol defines.
    """
    rows = select(results.ours, task="cnn", scale=options.scales)
    untrained = option(rows, "training") == "none"
    rows = rows[(rows["group"] == own_groups(rows, GROUP)) & (untrained != trained)]
    loss = option(rows, "loss").fillna(rows["protocol"].map(LOSSES))
    choosing = [name for name, method in METHODS.items() if method.needs_loss]
    departure = departing(rows, "loss", *(["training"] * (not trained)))
    return rows.assign(loss=loss.where(rows["method"].isin(choosing), ""), departure=departure)


def short_loss(loss: str) -> str:
    """A loss as tables print it, which have less room than a legend."""
    return "reversed" if loss == "reversed_max_probability" else loss.replace("_", " ")


def wanted(preset: str) -> list[dict[str, str]]:
    """The methods of a preset, with their losses."""
    return [{"method": "", "loss": "", **arm} for arm in arms(preset)]


def zero_shot_table(results: Results, options: Options) -> Table:
    """Table of networks as they are, without training on the data set."""
    spec = Spec(
        name=_ZERO_SHOT,
        title="Pretrained image classifiers on turned images, without training",
        block=(*_BLOCK, "departure"),
        stub=("method", "loss"),
        columns={
            "": (
                shown("upright", format_mean, **_UPRIGHT),
                *(
                    shown(f"by {90 * k}", format_mean, **{**_TURNED, "view": str(k)})
                    for k in (1, 2, 3)
                ),
                shown("mean over turns", format_estimate, **_TURNED),
                shown("over equitune", partial(format_estimate, signed=True), is_mean, **_GAIN),
                shown("equivariance error", format_digits, **_ERROR),
            )
        },
        units="Top-1 accuracy in percent",
        orders={"scale": options.scales, "loss": LOSS_ORDER},
        texts={"loss": short_loss},
        notes=(
            *(IMAGES_NOTE, LOSS_NOTE),
            "by 90, 180, 270: images turned by so many degrees; mean over turns: these and upright",
            *_INTERVAL_NOTES,
            "equivariance error: largest change of a logit under a turn of the image, relative to "
            "the largest logit",
            "nothing is learned or drawn, so one seed stands for all; methods_cnn has what learns",
            "variant: other weights than the model's own, or another recipe of theirs",
        ),
        words=_BLOCK,
        with_spread=False,
    )
    by = (*_BLOCK, "departure", "method", "loss", "metric", "transform", "view")
    unfitted = tuple(name for name, method in METHODS.items() if not method.is_fitted)
    untrained = result_rows(results, options, trained=False)
    rows = _of_first_seeds(select(untrained, step="", method=unfitted), by)
    numbers = Numbers(rows, by, options.spread)
    preset = axes(_ZERO_SHOT)
    blocks = numbers.labels(*spec.block, departure="")
    blocks += [
        dict(zip(spec.block, (scale, *preset["protocol"], SOURCES[scale], model, ""), strict=True))
        for scale in options.scales
        for model in preset["model"]
        if not numbers.labels("model", scale=scale, model=model)
    ]
    lines = [block | way for block in blocks for way in wanted(_ZERO_SHOT)]
    found = numbers.labels(*spec.block, "method", "loss")
    return spec.build(numbers, options, spec.sorted([*lines, *found]))


def _of_first_seeds(rows: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    """Of rows that agree in some columns, those of the first seed: 2 is before 10."""
    ordered = rows.assign(length=rows["seed"].str.len()).sort_values(["length", "seed"])
    return ordered.drop_duplicates([*by])


# Shown elsewhere.
_GROUPS = ("trivial", "rot90")
_RUN = "python run.py -m task=cnn scale=paper dataset=cifar10"
_COMMANDS = {
    "groups": f"{_RUN} task.training=none method=equitune,equizero group=mirror,dihedral",
    "reduced": f"{_RUN} task.max_images=2000 task.probe.epochs=2 task.probe.learning_rate=1e-2 "
    "task.batch_norm=frozen,train method=equitune,equizero task.loss=entropy",
}


def _dashed(number: Number | None, signed: bool = False) -> str:
    return format_measure(number, signed) if number else EN_DASH


def _seeds(line: Line) -> str:
    found = (line.find(**labels) for labels in (_UPRIGHT, _TURNED, _GAIN))
    return span(number.seeds for number in found if number) or EN_DASH


def studies_table(results: Results, options: Options) -> Table:
    """Table of rows that no figure of the paper asks for: larger groups, and short runs."""
    ours = select(results.ours, task="cnn", scale=options.scales, step="", view="")
    reduced, larger = option(ours, "max_images").notna(), ~ours["group"].isin(_GROUPS)
    there = {"groups": larger.any(), "reduced": reduced.any()}
    absent = [text for name, text in _COMMANDS.items() if not there[name]]
    spec = Spec(
        name="cnn_studies",
        title="Pretrained image classifiers: larger groups, and short runs with one choice changed",
        block=_BLOCK,
        stub=("group", "method", "variant"),
        columns={
            "": (
                shown("upright", _dashed, **_UPRIGHT),
                shown("mean over turns", _dashed, **_TURNED),
                shown("over equitune", partial(_dashed, signed=True), **_GAIN),
                Column("n", _seeds),
            )
        },
        units="Top-1 accuracy in percent",
        notes=(
            *(IMAGES_NOTE, *_INTERVAL_NOTES),
            "a variant with max_images is a short run on so many images, to be compared with "
            "another such run alone",
            f"n: seeds, least{EN_DASH}most where the columns differ",
        ),
        commands=lambda missing: absent if "paper" in options.scales else (),
    )
    by = (*spec.block, *spec.stub, "metric", "transform", "view")
    return spec.build(Numbers(ours[reduced | larger], by, options.spread), options)
