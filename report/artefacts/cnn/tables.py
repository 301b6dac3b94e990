"""The CNN task: the numbers of Figures 5b and 11b, and accuracy without training, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from experiments.frame.methods import METHODS, Kind
from report.artefacts.cnn.common import (
    ACCURACY,
    DATASETS,
    IMAGES_NOTE,
    LOSS_NOTE,
    STUDIES,
    WAYS,
    Arm,
    Way,
    of_way,
    result_rows,
)
from report.captions import commands
from report.cells import (
    EN_DASH,
    MISSING,
    NOT_REPORTED,
    Interval,
    format_interval,
    format_number,
    format_reported,
    format_summary,
    span,
)
from report.notes import notes
from report.options import Options
from report.results import Results, select
from report.tables import Block, ColumnGroup, Table

EPOCHS, PAPERS_EPOCHS = (1, 5, 10), (1, 10)
_PROBING_GROUPS = (
    ColumnGroup("ours", (*(f"epoch {epoch}" for epoch in EPOCHS), "selected", "which epoch", "n")),
    ColumnGroup("paper reports", tuple(f"epoch {epoch}" for epoch in PAPERS_EPOCHS)),
)
_PROBING_NOTES = (
    "every image is evaluated in all four turns",
    *(IMAGES_NOTE, LOSS_NOTE),
    "epoch: passes over the training images that were done; the paper counts its epochs 1 to 10 "
    "from 0 to 9",
    "selected: at the epoch that a run reports; protocol paper: the best on held-out training "
    "images; protocol reference: the best on the images that the accuracy is of",
    "band: mean \N{PLUS-MINUS SIGN} spread",
    f"n: seeds, least{EN_DASH}most where the columns differ",
    "how many training images the last layers learned from: facts.images in the record of a run's "
    "probe, which facts.probed_by names",
)

# Without training: the networks, the protocol, and by scale the data set that they were trained on.
MODELS = tuple(study.models[0] for study in STUDIES.values())
PROTOCOL = "paper"
SOURCES = {"paper": "cifar100", "demo": "letters"}
# Without training there is no lambda; what the others are compared with stands first.
UNTRAINED = (WAYS[-1], *WAYS[1:-1])
_KEY = ("scale", "protocol", "dataset", "model", "departure")
# View of the rows, and how the table names it.
_TURNS = {"1": "by 90", "2": "by 180", "3": "by 270"}
_ZERO_SHOT_HEADERS = (
    *("upright", *_TURNS.values(), "mean over turns"),
    *("over equitune", "equivariance error"),
)
_ZERO_SHOT_NOTES = (
    *(IMAGES_NOTE, LOSS_NOTE),
    "by 90, 180, 270: images turned by so many degrees; mean over turns: these and upright",
    "[interval]: 95 % over images",
    "over equitune: difference in points on the same images",
    "equivariance error: largest change of a logit under a turn of the image, relative to the "
    "largest logit",
    "nothing is learned or drawn, so one seed stands for all",
    "variant: other weights than the model's own, or another recipe of theirs",
)


def probing_digest(
    name: str,
    arms: Sequence[Arm],
    paper: Mapping[Way, Mapping[int, float]],
    rows: pd.DataFrame,
    reported: pd.DataFrame,
    options: Options,
) -> Table:
    """Table of a figure's numbers: one block per arm, one row per method and loss."""
    blocks, incomplete = [], []
    for arm in arms:
        labels = {"scale": arm.scale, "protocol": arm.protocol, "model": arm.model}
        lines = tuple(_probing_line(arm, way, paper.get(way, {})) for way in WAYS)
        blocks.append(Block(labels, lines))
        if any(MISSING in line for line in lines):
            incomplete.append(_probing_arguments(name, arm))
    return Table(
        name=name,
        title=f"{STUDIES[name].title}, accuracy on turned images against epochs of probing",
        stub=("method", "loss"),
        groups=_PROBING_GROUPS,
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options), *_PROBING_NOTES, *_papers_notes(name, reported)),
        commands=commands(name, incomplete),
    )


def _probing_arguments(name: str, arm: Arm) -> str:
    """Write what an arm's command has beside the preset, which is for the paper's scale."""
    data, model = DATASETS[arm.scale], arm.model
    words = [f"protocol={arm.protocol}", f"scale={arm.scale}"]
    words += [f"dataset={data}"] * (data != DATASETS["paper"])
    words += [f"model={model}"] * (model != STUDIES[name].models[0])
    return " ".join(words)


def _probing_line(arm: Arm, way: Way, paper: Mapping[int, float]) -> tuple[str, ...]:
    points, chosen = arm.curves.get(way, {}), arm.selected.get(way)
    found = [*points.values(), *([chosen] if chosen else [])]
    return (
        *way.cells,
        *(format_summary(points.get(epoch)) for epoch in EPOCHS),
        format_summary(chosen),
        span(arm.epochs.get(way) or ()) or MISSING,
        span(summary.seeds for summary in found) or "0",
        *(
            format_reported(paper[epoch], float("nan")) if epoch in paper else NOT_REPORTED
            for epoch in PAPERS_EPOCHS
        ),
    )


def _papers_notes(name: str, reported: pd.DataFrame) -> Iterator[str]:
    """Say what the paper's curves are."""
    errors = sorted({float(text) for text in reported["read_error"] if text})
    within = f", to within {errors[-1]:g} points" if errors else ""
    yield f"the paper's numbers: read off its picture{within}, without its spread"
    yield (
        'the two equizero labels of the paper\'s figure are swapped: its curve "entropy" is max '
        'probability reversed and stands beside ours of that name; its curve "max probability" is '
        "the entropy with the right sign and stands beside our entropy; max probability with the "
        "right sign was never run"
    )
    batch = ", after probing with batch statistics in the batch norms"
    yield (
        "the paper's curves: in the authors' code of images of the training split"
        f"{batch if STUDIES[name].normalised else ''}, on a backbone with ImageNet weights"
    )


def zero_shot_table(results: Results, options: Options) -> Table:
    """Table of networks as they are, without training on the data set.

    There is one block per scale, protocol, data set, model and variant, and one row per method and
    loss.
    """
    rows = select(result_rows(results, options, trained=False), step="")
    found = {tuple(map(str, key)): part for key, part in rows.groupby([*_KEY])}
    blocks, incomplete = [], []
    for key in _keys(found, options):
        labels = dict(zip((*_KEY[:-1], "variant"), (*key[:-1], key[-1] or "none"), strict=True))
        part = found.get(key, rows[:0])
        # Nobody but its author knows how to complete a variant.
        ways = [way for way in UNTRAINED if not key[-1] or len(of_way(part, way))]
        lines = tuple(_zero_shot_line(way, of_way(part, way)) for way in ways)
        blocks.append(Block(labels, lines))
        if not key[-1] and any(MISSING in line for line in lines):
            incomplete.append(_arguments(labels))
    units = "Top-1 accuracy in percent"
    return Table(
        name="cnn_zero_shot",
        title="Pretrained image classifiers on turned images, without training",
        stub=("method", "loss"),
        groups=(ColumnGroup("", _ZERO_SHOT_HEADERS),),
        blocks=tuple(blocks),
        notes=(*notes(rows, blocks, options, units, with_spread=False), *_ZERO_SHOT_NOTES),
        commands=commands("cnn_zero_shot", incomplete),
    )


def _keys(found: Iterable[tuple[str, ...]], options: Options) -> Iterator[tuple[str, ...]]:
    """Order the blocks; a network of the preset without any rows is missing."""
    for scale in options.scales:
        inside = sorted(key for key in found if key[0] == scale)
        models = {key[3] for key in inside}
        yield from inside
        yield from (
            (scale, PROTOCOL, SOURCES[scale], model, "") for model in MODELS if model not in models
        )


def _arguments(labels: Mapping[str, str]) -> str:
    """Write what a block's command has beside the preset, which is for the paper's scale."""
    preset = {"protocol": PROTOCOL, "dataset": SOURCES["paper"], "variant": "none"}
    return " ".join(f"{name}={text}" for name, text in labels.items() if preset.get(name) != text)


def _zero_shot_line(way: Way, rows: pd.DataFrame) -> tuple[str, ...]:
    first = sorted(set(rows["seed"]), key=lambda seed: (len(seed), seed))[:1]
    columns = (select(rows, seed=first)[name] for name in ("metric", "transform", "view", "value"))
    numbers = {tuple(key): float(value) for *key, value in zip(*columns, strict=True)}
    error = numbers.get(("equivariance_error", "none", ""))
    return (
        *way.cells,
        _number(numbers.get((ACCURACY, "none", ""))),
        *(_number(numbers.get((ACCURACY, "rot90", view))) for view in _TURNS),
        _estimate(numbers, ACCURACY),
        EN_DASH
        if METHODS[way.method].kind is Kind.MEAN
        else _estimate(numbers, "over_equitune", signed=True),
        MISSING if error is None else f"{error:.2g}",
    )


def _number(number: float | None) -> str:
    return MISSING if number is None else format_number(number)


def _estimate(numbers: Mapping[tuple[str, ...], float], metric: str, signed: bool = False) -> str:
    """Print a number over all turns with its interval."""
    names = (metric, f"{metric}_low", f"{metric}_high")
    mean, low, high = (numbers.get((name, "rot90", "")) for name in names)
    if mean is None:
        return MISSING
    interval = None if low is None or high is None else Interval(low, high)
    return f"{format_number(mean, signed)} {format_interval(interval, 1, signed)}"
