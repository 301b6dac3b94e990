"""CLIP: tables of all methods without fine-tuning, of single classes, and Table 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product
from typing import Any

from experiments.frame.methods import EQUITUNE, METHODS, PAPERS, Kind, own_group
from report.aggregate import Labels, Numbers
from report.artefacts.clip import common
from report.artefacts.clip.common import ACCURACY, ARM, FLIP_NOTE, IMAGES_NOTE, OURS_NOTE
from report.cells import (
    EN_DASH,
    MISSING,
    NOT_REPORTED,
    format_digits,
    format_estimate,
    format_mean,
    format_measure,
    format_number,
    format_summary,
    span,
)
from report.options import Options
from report.presets import axes
from report.results import Results, select
from report.spec import Column, Line, Spec, is_mean, shown
from report.tables import Table

NAME = "clip_zero_shot"
GROUPS = axes(NAME)["group"]
# Data sets without training images: nothing that lambda could be learned from.
TEST_ONLY = ("imagenet_v2",)
OVER, TOP5, HIGHEST = "over_equitune", "top5_accuracy", "lambda_highest_upright"
CALIBRATION, BROKEN = "calibration_error", "equivariance_error"
_BLOCK, _WAY = (*ARM, "variant"), ("transform", "shown", "method")
_MOST = 5
# Decimal fractions are inexact in binary: a mean this near to zero is even.
_SLACK = 1e-9
SECOND = "second encoder"
SECONDS, RATIO = "inference_seconds", "relative_seconds"
MEMORY, MORE = "peak_memory_mib", "relative_memory"


def zero_shot_table(results: Results, options: Options) -> Table:
    """Table of CLIP models that are not fine-tuned.

    There is one block per scale, protocol, data set, model and variant, and one row per transform,
    group and method.
    """
    rows = select(common.result_rows(results, options, trained=False), step="", view="")
    metrics = [f"{name}{end}" for name in (ACCURACY, OVER, TOP5, HIGHEST) for end in common.ENDS]
    rows = select(rows, metric=[*metrics, CALIBRATION, BROKEN])
    rows = rows.assign(variant=rows["departure"], shown=rows["group"])
    numbers = Numbers(rows, (*_BLOCK, *_WAY, "metric"), options.spread)
    found = numbers.labels(*_BLOCK, *_WAY, metric=ACCURACY)
    lines = _complete((each for each in found if each["transform"] != "none"), options)
    return _ZERO_SHOT.build(numbers, options, ({**each, "metric": ACCURACY} for each in lines))


def _complete(found: Iterable[Labels], options: Options) -> list[dict[str, str]]:
    """Lines in order: those with numbers, and what is missing beside them.

    All methods of the paper are missing on a transform that one of them has seen; the preset's
    block has all of its groups. Nobody but its author knows how to complete a variant.
    """
    lines = [dict(line) for line in found]
    (protocol,), (model,) = axes(NAME)["protocol"], axes(NAME)["model"]
    block = {"protocol": protocol, "model": model, "variant": ""}
    asked = [
        {**block, "scale": scale, "dataset": common.dataset(NAME, scale), "transform": group}
        for scale in options.scales
        for group in GROUPS
    ]
    asked += [line for line in lines if _is_own(line) and not line["variant"]]
    lines += [
        {**line, "shown": own_group(method, line["transform"]), "method": method}
        for line in asked
        for method in PAPERS
        if not METHODS[method].needs_net or line["dataset"] not in TEST_ONLY
    ]
    different = {tuple(line[name] for name in (*_BLOCK, *_WAY)): line for line in lines}
    return [
        # A command names the group of the transforms, for pretrained too.
        {**line, **common.seeds(NAME, line), "group": line["transform"]}
        for line in sorted(different.values(), key=partial(_rank, options))
    ]


def _is_own(line: Labels) -> bool:
    """Whether a method has the group of the transforms, and that is one of the preset's."""
    own = own_group(line["method"], line["transform"])
    return line["transform"] in GROUPS and line["shown"] == own


def _rank(options: Options, line: Labels) -> tuple[Any, ...]:
    place = (len(GROUPS), 0)
    if _is_own(line):
        place = (GROUPS.index(line["transform"]), [*METHODS].index(line["method"]))
    block = (line["protocol"], line["dataset"], common.rank(line["model"]), line["variant"])
    return options.scales.index(line["scale"]), *block, *place, *(line[name] for name in _WAY)


def _is_fixed(line: Line) -> bool:
    return not METHODS[line.labels["method"]].needs_net


_ZERO_SHOT = Spec(
    name=NAME,
    title="Zero-shot CLIP on transformed images",
    block=_BLOCK,
    stub=_WAY,
    columns={
        "top-1": (
            shown("upright", transform="none"),
            shown("transformed", format_measure),
            shown("over equitune", partial(format_measure, signed=True), is_mean, metric=OVER),
            common.least_most({"transform": "none"}, {}),
        ),
        "further": (
            shown("top-5", metric=TOP5),
            shown("calibration error", metric=CALIBRATION),
            shown("equivariance error", format_digits, metric=BROKEN),
            shown("lambda highest upright", format_summary, _is_fixed, metric=HIGHEST),
        ),
    },
    units="Accuracy in percent, mean (spread) [interval] over n seeds",
    titles={"shown": "group", "variant": "variant"},
    notes=(
        "transformed: test images after a transform of the group; upright: as they are",
        *(IMAGES_NOTE, FLIP_NOTE, common.INTERVAL_NOTE),
        "over equitune: difference in points on the same transformed images; pretrained, which has "
        "no group, is compared with equitune for the group of the transforms",
        "top-5, calibration error: of transformed images; the calibration error is the expected "
        "one, in percent, over 15 bins of confidence",
        "equivariance error: largest change of a class's score under an element of the group (for "
        "pretrained of the transforms), relative to the largest score",
        "lambda highest upright: percent of upright images of which lambda is highest for the view "
        "that is not transformed",
        f"n: seeds, least{EN_DASH}most where the columns differ",
        "variant: departs from the protocol, or has other weights",
        OURS_NOTE,
    ),
    words=(*common.WORDS, "group"),
    made=lambda line: _is_own(line) and not line["variant"],
)


def classes_table(results: Results, options: Options) -> Table:
    """Table of the classes that gain and lose most against equitune.

    There is one block per scale, protocol, data set and model, and one row per group and method.
    """
    rows = select(common.result_rows(results, options, trained=False), departure="", step="")
    rows = select(rows, metric="class_over_equitune", group=GROUPS)
    rows = rows[common.in_own_group(rows)]
    rows = rows.assign(variant="", shown=rows["group"], number=rows["view"].astype(int))
    numbers = Numbers(rows, (*_BLOCK, *_WAY, "number"), options.spread)
    lines = _complete(numbers.labels(*_BLOCK, *_WAY), options)
    return _CLASSES.build(numbers, options, filter(_is_compared, lines))


def _is_compared(line: Labels) -> bool:
    method = METHODS[line["method"]]
    return method.uses_group and method.kind is not Kind.MEAN


def _gains(line: Line, place: int) -> str:
    """One cell: how many classes gain, lose and are even, which do most, and the seeds."""
    points = line.numbers.along("number", **line.labels)
    if not points:
        return "0" if _GAINS[place] == "n" else MISSING
    # Of equals the first.
    rising = sorted((found.mean, number) for number, found in points.items())
    falling = sorted(rising, key=lambda each: -each[0])
    gain = [each for each in falling if each[0] > _SLACK]
    lose = [each for each in rising if each[0] < -_SLACK]
    most = (
        ", ".join(f"{number} ({format_number(mean, True)})" for mean, number in side[:_MOST])
        for side in (gain, lose)
    )
    counts = map(str, (len(gain), len(lose), len(points) - len(gain) - len(lose)))
    return (*counts, *most, span(found.seeds for found in points.values()))[place] or EN_DASH


_GAINS = ("gain", "lose", "even", "gain most", "lose most", "n")
_CLASSES = Spec(
    name="clip_classes",
    title="Zero-shot CLIP: what single classes gain over equitune",
    block=ARM,
    stub=("group", "method"),
    columns={
        "": [Column(header, partial(_gains, place=n)) for n, header in enumerate(_GAINS)],
    },
    units="Points of top-1 accuracy on transformed images of a class, mean over n seeds",
    with_spread=False,
    notes=(
        "gain, lose, even: how many classes have a mean over seeds above, below and at zero",
        f"gain most, lose most: the {_MOST} of them, or as many as there are: number of the class "
        "(points)",
        "the classes' names, in the order of their numbers from 0: facts.class_names in the record "
        "of a run's text stage",
        *(IMAGES_NOTE, FLIP_NOTE),
        f"n: seeds, least{EN_DASH}most where the classes differ",
        OURS_NOTE,
    ),
    preset=NAME,
    words=(*common.WORDS, "group"),
)


def table1(results: Results, options: Options) -> Table:
    """Table 1: one block per machine, one row per model and method."""
    by = ("view", "model", "method", "variant", "metric")
    ratios = [f"{name}{end}" for name in (RATIO, MORE) for end in ("", "_low", "_high")]
    metrics = (SECONDS, *ratios, MEMORY, "images")
    rows = select(results.ours, task="clip", scale=options.scales, metric=metrics)
    rows = select(rows, group="rot90", dataset="cifar100").drop_duplicates([*by], keep="last")
    numbers = Numbers(rows, by, options.spread)
    reported = common.reported_rows(results, "table1")
    # The authors' lambda runs a second encoder.
    variants = [SECOND if METHODS[method].needs_net else "" for method in reported["method"]]
    lines = _timed(numbers, options)
    return _TABLE1.build(numbers, options, lines, reported.assign(variant=variants))


def _timed(numbers: Numbers, options: Options) -> Iterator[dict[str, str]]:
    found = numbers.labels("view", "model", "method", "variant")
    for machine in sorted({line["view"] for line in found}) or [""]:
        models = {*axes("table1")["model"], *(e["model"] for e in found if e["view"] == machine)}
        for model, method, variant in product(
            sorted(models, key=common.rank), METHODS, ("", SECOND)
        ):
            line = {"view": machine, "model": model, "method": method, "variant": variant}
            known, made = METHODS[method], method in PAPERS
            if line in found or (made and (known.needs_net if variant else known.uses_group)):
                yield line | {"scale": options.scales[0]}


def _papers(line: Line, metric: str, decimals: int, over: str = "") -> str:
    """The paper's number, or its ratio to that of another method."""
    labels = {name: line.labels[name] for name in ("model", "method", "variant")}
    found = line.paper(**labels, metric=f"{metric}_a100_batch32")
    base = line.paper(**labels | {"method": over, "variant": ""}, metric=f"{metric}_a100_batch32")
    if found is None or (over and base is None):
        return NOT_REPORTED
    return format_number(found[0] / (base[0] if base else 1.0), decimals=decimals)


_ratio = partial(format_estimate, decimals=3)
_TABLE1 = Spec(
    name="table1",
    title="Table 1: time and memory of the methods with four views",
    block=("view",),
    stub=("model", "method", "variant"),
    columns={
        "ours": (
            shown("images", partial(format_mean, decimals=0), metric="images"),
            shown("seconds", partial(format_mean, decimals=2), metric=SECONDS),
            shown("over equitune", _ratio, metric=RATIO),
            shown("memory", partial(format_mean, decimals=0), metric=MEMORY),
            shown("memory over equitune", _ratio, metric=MORE),
        ),
        "paper reports": (
            Column("seconds", partial(_papers, metric=SECONDS, decimals=2)),
            Column("over equitune", partial(_papers, metric=SECONDS, decimals=3, over=EQUITUNE)),
            Column("memory", partial(_papers, metric="gpu_memory_mb", decimals=0)),
            Column(
                "memory over equitune",
                partial(_papers, metric="gpu_memory_mb", decimals=3, over=EQUITUNE),
            ),
        ),
    },
    units="Seconds for so many images, and memory in MiB",
    with_spread=False,
    titles={"view": "machine"},
    texts={"variant": lambda text: text or EN_DASH},
    notes=(
        "over equitune: median of the rounds' ratios, and their least and greatest; the methods "
        "take turns in one process",
        "second encoder: lambda reads a second, frozen copy of the encoder, as in the authors' "
        "code; their lambda_equitune is this one",
        "memory: on a GPU the most that PyTorch had allocated, on a CPU the most of the whole "
        "process, over equitune round by round, too",
        "the paper: 10000 images in batches of 32 on one A100; its memory in MB",
        "weights are drawn at random: they do not change how long anything takes",
    ),
    words=("model",),
)
