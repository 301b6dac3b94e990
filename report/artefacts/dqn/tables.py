"""Deep Q-learning: which rows count, columns of returns over seeds, and the table of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from experiments.frame.methods import EQUITUNE, EQUIZERO, PRETRAINED
from report.aggregate import Numbers
from report.cells import EN_DASH, MISSING, format_interval, format_number, format_summary
from report.options import Options
from report.presets import axes
from report.results import Results, departing, option, own_groups, select, step_numbers
from report.spec import Column, Line, Spec
from report.statistics import (
    COVERAGE,
    DRAWN_SUBSETS,
    ENUMERATED_SEEDS,
    RESAMPLES,
    bootstrap_interval,
    count_outcomes,
    interquartile_mean,
    order_share,
    paired_differences,
)
from report.tables import Table

_PRESET = axes("figure2")
# The methods of the paper, from the worst to the best in its order.
PAPERS_METHODS = _PRESET["method"]
# Scale to the regimes of training that are wanted; rows of the first carry no label.
REGIMES = {"paper": _PRESET["task.regime"], "demo": ("demo",)}
_ORDER = (*REGIMES["paper"], "tuned", *REGIMES["demo"])
# What of a row's label tells equizero's score, and how the table of scores names it.
SCORES = {"": "softmax", "score=raw": "raw"}


class Dataset(NamedTuple):
    """One environment.

    Attributes:
        steps: The paper's budget of training steps.
        tolerance: Largest distance of two returns that is a tie.
        decimals: Of a printed return.
    """

    group: str
    steps: int
    metric: str
    tolerance: float
    decimals: int


# Group and steps are tested against conf/dataset.
DATASETS = {
    "gridworld": Dataset("rot90", 100_000, "expected_return", 1e-6, 4),
    "cartpole": Dataset("mirror", 100_000, "return", 0.5, 1),
    "acrobot": Dataset("mirror", 70_000, "return", 0.5, 1),
}
# Seed to return.
Values = Mapping[str, float]
ARM = ("scale", "regime", "dataset")
_PAIRS = ((EQUITUNE, PRETRAINED), (EQUIZERO, EQUITUNE), (EQUIZERO, PRETRAINED))
# Lines that compare methods, or scores, to these from the best to the worst.
METHOD_LINES: dict[str, tuple[str, ...]] = {
    **{f"{first} - {second}": (first, second) for first, second in _PAIRS},
    "the paper's order": PAPERS_METHODS[::-1],
}
_COMPARED = {**METHOD_LINES, "raw - softmax": ("raw", "softmax")}
# The paper has five seeds, without saying which.
SUBSET = 5
REGIME_NOTE = (
    "regime: how the networks were trained; reference: learning begins after 50000 steps, the "
    "default of stable-baselines3 when the paper was written; modern: after 100, today's"
)
STEP_NOTE = (
    "step: the paper's budget of training steps; in other regimes than "
    f"{' and '.join(REGIMES['paper'])}, whose training may be shorter or longer, the last step "
    "found within that budget; of a demo, the last step found"
)
INTERVAL_NOTE = (
    f"interval: of the mean, {COVERAGE} percentile bootstrap over seeds with {RESAMPLES} "
    f"resamples; {EN_DASH} where n = 1"
)
_LINE_NOTES = (
    INTERVAL_NOTE,
    "IQM: interquartile mean, without the floor(n/4) lowest and highest seeds",
    "differences: seed by seed, over the seeds that have both; a tie is a distance of at most "
    + ", ".join(f"{data.tolerance:g} ({name})" for name, data in DATASETS.items()),
    f"order in {SUBSET} seeds: share of the subsets of {SUBSET} of the n seeds whose means are in "
    f"the order of the line (of a difference: first above second), apart by more than a tie; all "
    f"subsets up to n = {ENUMERATED_SEEDS}, else {DRAWN_SUBSETS} random ones",
    f"seeds 0{EN_DASH}{SUBSET - 1}: the same with as many seeds as the paper has; empty unless all "
    f"are there",
)


def result_numbers(results: Results, options: Options, *, scores: bool = False) -> Numbers:
    """Returns in the paper's environments and groups, by method, or by equizero's score.

    A column `name` has the method or the score. A step that is no whole number is a ValueError.
    """
    common = {"task": "dqn", "model": "DQN", "protocol": "paper", "split": "test", "view": ""}
    rows = select(results.ours, **common, scale=options.scales, dataset=(*DATASETS,))
    groups, metrics = (
        rows["dataset"].map({key: getattr(data, name) for key, data in DATASETS.items()})
        for name in ("group", "metric")
    )
    departure, methods = departing(rows, "regime"), rows["method"]
    chosen = departure.map(SCORES).where(methods == EQUIZERO)
    name = chosen if scores else methods.where(departure == "")
    unnamed = rows["scale"].map({scale: names[0] for scale, names in REGIMES.items()})
    rows = rows.assign(name=name, regime=option(rows, "regime").fillna(unnamed))
    own = (rows["group"] == own_groups(rows, groups)) & (rows["metric"] == metrics)
    rows = rows[own & name.notna()]
    step_numbers(rows)
    return Numbers(rows, (*ARM, "name", "step"), options.spread)


def find_blocks(numbers: Numbers, options: Options) -> list[dict[str, str]]:
    """Scale, regime and data set of the wanted regimes and others with rows, and the step shown."""
    found: dict[tuple[str, ...], list[int]] = {}
    for each in numbers.labels(*ARM, "step"):
        found.setdefault(tuple(each[name] for name in ARM), []).append(int(each["step"]))
    others = sorted({regime for _, regime, _ in found} - {*_ORDER})
    return [
        dict(zip((*ARM, "step"), (*arm, _shown_step(*arm, found.get(arm, []))), strict=True))
        for scale in options.scales
        for regime in (*_ORDER, *others)
        for dataset in DATASETS
        if (arm := (scale, regime, dataset)) in found or regime in REGIMES[scale]
    ]


def _shown_step(scale: str, regime: str, dataset: str, steps: Sequence[int]) -> str:
    """The paper's budget of steps; a regime of another budget, and a demo, has its last step."""
    budget = DATASETS[dataset].steps
    if scale == "paper":
        if regime in REGIMES[scale]:
            return str(budget)
        steps = [step for step in steps if step <= budget]
    return str(max(steps)) if steps else MISSING


def lacks_seeds(line: Line) -> bool:
    """Whether a line lacks seeds: a wanted regime needs those of the experiment, others any one."""
    whole = line.labels["scale"] == "paper" and line.labels["regime"] in REGIMES["paper"]
    return len(line.numbers.values(**line.labels)) < (len(_PRESET["seed"]) if whole else 1)


def returns_table(name: str, title: str, stub: str, notes: tuple[str, ...]) -> Spec:
    """A table with lines of methods, of their differences, and of their order."""
    return Spec(
        name=name,
        title=title,
        block=(*ARM, "step"),
        stub=("name",),
        columns={
            "": (
                Column("mean (spread)", partial(_number, _mean)),
                Column("IQM", partial(_number, _iqm)),
                Column(f"{COVERAGE} interval", partial(_number, _interval)),
                Column("n", lambda line: str(len(set.intersection(*map(set, _compared(line)))))),
                Column("wins / ties / losses", _outcomes),
                Column(f"order in {SUBSET} seeds", _order),
                Column(f"seeds 0{EN_DASH}{SUBSET - 1}", _first),
            )
        },
        units="Return: on gridworld the expectation, computed exactly (expected_return); else the "
        "mean over episodes whose initial states all methods of a seed share. Mean (spread) over n "
        "seeds",
        titles={"name": stub},
        notes=(*_LINE_NOTES, *notes),
        words=("method", "task.regime", "scale", "dataset"),
        together=("preset", "scale", "regime"),
        made=lambda labels: labels["name"] in (*PAPERS_METHODS, *SCORES.values()),
        lacks=lacks_seeds,
    )


def _compared(line: Line) -> list[dict[str, float]]:
    name = line.labels["name"]
    found = _COMPARED.get(name, (name,))
    return [line.numbers.values(**{**line.labels, "name": each}) for each in found]


def _style(line: Line) -> tuple[bool, int]:
    return line.labels["name"] in _COMPARED, DATASETS[line.labels["dataset"]].decimals


def _number(form: Callable[[Line, Values], str], line: Line) -> str:
    """A number of a method's values or of a difference; an order has none."""
    compared = _compared(line)
    if len(compared) > 2:
        return ""
    values = paired_differences(*compared) if len(compared) == 2 else compared[0]
    return form(line, values) if values else MISSING


def _mean(line: Line, values: Values) -> str:
    return format_summary(line.numbers.over(values), *_style(line))


def _iqm(line: Line, values: Values) -> str:
    return format_number(interquartile_mean([*values.values()]), *_style(line))


def _interval(line: Line, values: Values) -> str:
    signed, decimals = _style(line)
    return format_interval(bootstrap_interval(values.values()), decimals, signed)


def _outcomes(line: Line) -> str:
    compared, data = _compared(line), DATASETS[line.labels["dataset"]]
    values = paired_differences(*compared).values() if len(compared) == 2 else ()
    return "/".join(map(str, count_outcomes(values, data.tolerance))) if values else ""


def _order(line: Line) -> str:
    compared, data = _compared(line), DATASETS[line.labels["dataset"]]
    share = order_share(compared, SUBSET, data.tolerance) if len(compared) > 1 else None
    return "" if share is None else f"{100 * share:.1f} %"


def _first(line: Line) -> str:
    seeds, data = [str(seed) for seed in range(SUBSET)], DATASETS[line.labels["dataset"]]
    first = [{each: own[each] for each in seeds if each in own} for own in _compared(line)]
    if len(first) > 2:
        share = order_share(first, SUBSET, data.tolerance)
        return "" if share is None else "yes" if share else "no"
    values = paired_differences(*first) if len(first) == 2 else first[0]
    return _mean(line, values) if len(values) == SUBSET else ""


def scores_table(results: Results, options: Options) -> Table:
    """Table of equizero's scores: softmax of the Q-values against raw Q-values, seed by seed."""
    numbers = result_numbers(results, options, scores=True)
    title = f"Return of {EQUIZERO} by its score, the softmax of Q-values or the raw Q-values"
    presets = {"softmax": "figure2", "raw": "figure2_raw", "raw - softmax": ""}
    lines = [
        {**block, "name": name, "method": EQUIZERO, "preset": preset}
        for block in find_blocks(numbers, options)
        if block["regime"] in REGIMES[block["scale"]] or numbers.values(**block, name="raw")
        for name, preset in presets.items()
    ]
    spec = returns_table("dqn_scores", title, "score", (REGIME_NOTE, STEP_NOTE))
    return spec.build(numbers, options, lines)
