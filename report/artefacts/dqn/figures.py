"""Deep Q-learning: Figure 2, the return of each method, and its gain against the training step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from statistics import fmean

from experiments.frame.methods import METHODS
from report.aggregate import Labels, Numbers
from report.artefacts.dqn.tables import (
    ARM,
    DATASETS,
    INTERVAL_NOTE,
    METHOD_LINES,
    PAPERS_METHODS,
    REGIME_NOTE,
    STEP_NOTE,
    find_blocks,
    lacks_seeds,
    result_numbers,
    returns_table,
)
from report.cells import MISSING, Interval, Number, format_counts, format_estimate
from report.figures import Drawing, Figure
from report.options import Options
from report.plots.curves import (
    Curves,
    Key,
    Look,
    curve_grid,
    draw_curves,
    method_label,
    method_lines,
)
from report.plots.dots import DotPanel, Dots, draw_dots
from report.plots.panels import Errors, arrange, end_mark
from report.results import Results
from report.spec import Column, Line, Spec
from report.statistics import COVERAGE, bootstrap_interval, paired_differences

BASELINE = PAPERS_METHODS[0]
_IDENTITY_NOTE = (
    "cartpole has two group elements and two actions: equitune and equizero (softmax) choose the "
    "same action in every state but for ties of floating-point numbers, so they cannot differ"
)
_INTERVAL = f"{COVERAGE} bootstrap interval of the mean over seeds"
# What a title says of a regime, and a picture of an environment that it shows.
_LEARNS = {"reference": "learns after 50000 steps", "modern": "learns after 100 steps"}
_RETURN_NOTES = {"acrobot": "acrobot: the return \N{MINUS SIGN}500 is of episodes without success"}
_GAIN_NOTES = {"cartpole": "cartpole: equitune and equizero agree, their curves lie on each other"}
_NOTES = (
    f"the paper's order: {' > '.join(reversed(PAPERS_METHODS))}",
    *(REGIME_NOTE, STEP_NOTE, _IDENTITY_NOTE),
    "the paper prints Figure 2 as a picture without numbers, so none stand beside ours",
)


def figure2(results: Results, options: Options) -> Figure:
    """Figure 2: the return of each method after the paper's budget of training steps.

    There is one row of panels per scale and regime with rows, and one column per environment.
    """
    numbers = result_numbers(results, options)
    blocks = find_blocks(numbers, options)
    found = {
        tuple(block.values()): {
            name: values for name in METHODS if (values := numbers.values(**block, name=name))
        }
        for block in blocks
    }
    spec = returns_table(
        "figure2",
        "Figure 2: return of deep Q-learning's networks under each method",
        "method",
        _NOTES,
    )
    lines = [
        {**block, "name": name, "preset": "figure2"}
        for block, own in zip(blocks, found.values(), strict=True)
        for name in (*METHODS, *METHOD_LINES)
        if name in (*PAPERS_METHODS, *own, *METHOD_LINES)
    ]

    def draw() -> Drawing:
        panels: dict[Key, DotPanel | None] = {
            (scale, regime, dataset): DotPanel(
                _title((scale, regime, dataset), options, f"{int(step) / 1000:g}k steps"),
                {METHODS[name].label: _dots(values) for name, values in own.items()},
            )
            if own
            else None
            for (scale, regime, dataset, step), own in found.items()
        }
        colours = {method.label: method.colour for method in METHODS.values()}
        notes = [note for name, note in _RETURN_NOTES.items() if any(name in key for key in panels)]
        errors = Errors(f"large dot and bar: mean and {_INTERVAL}")
        return draw_dots(arrange(panels, column=2), colours, "return", errors, notes)

    return Figure(
        digest=spec.build(numbers, options, lines),
        headers=(*ARM, "step", "method", "seed", "return", "low", "high", "n"),
        rows=tuple(
            row
            for key, own in found.items()
            for name, values in own.items()
            for row in _rows((*key, name), values)
        ),
        draw=draw,
    )


def _dots(values: Mapping[str, float]) -> Dots:
    numbers = [*values.values()]
    return Dots(numbers, fmean(numbers), bootstrap_interval(numbers))


def _rows(names: Key, values: Mapping[str, float]) -> Iterator[Key]:
    """All numbers drawn: each seed's own, and in a row without a seed their mean."""
    for seed, value in values.items():
        yield (*names, seed, repr(value), "", "", "")
    _, mean, interval = _dots(values)
    yield (*names, "", repr(mean), *_ends(interval), str(len(values)))


def _ends(interval: Interval | None) -> tuple[str, str]:
    return (repr(interval.low), repr(interval.high)) if interval else ("", "")


def _title(panel: Key, options: Options, *further: str) -> str:
    scale, regime, dataset = panel
    learns = f" ({_LEARNS[regime]})" if regime in _LEARNS else ""
    line = f"\nscale {scale}" if len(options.scales) > 1 else ""
    return f"{', '.join((dataset, *further))}\nregime {regime}{learns}{line}"


def figure2_training(results: Results, options: Options) -> Figure:
    """The second figure: each method's gain over the pretrained network, step by step.

    There is one row of panels per scale and regime with rows, and one column per environment; the
    band of a curve is the interval of the mean.
    """
    numbers = result_numbers(results, options)
    blocks = find_blocks(numbers, options)
    gains: Curves = {_panel(block): _gains(numbers, block) for block in blocks}
    lines = [
        {**block, "step": step, "shown": block["step"]}
        for block in blocks
        for step in sorted({str(n) for own in gains[_panel(block)].values() for n in own}, key=int)
        or [""]
    ]
    look = Look(
        lines=method_lines(),
        x_label="training steps (thousands)",
        y_label=f"gain in return over {BASELINE}",
        errors=Errors(f"band: {_INTERVAL}"),
        notes=[
            "each panel has its own y axis",
            *(note for name, note in _GAIN_NOTES.items() if any(name in key for key in gains)),
        ],
        baseline=0.0,
    )

    def draw() -> Drawing:
        title = partial(_title, options=options)
        grid = curve_grid(gains, title, method_label, column=2, mark=end_mark, unit=1000)
        return draw_curves(grid, look)

    return Figure(
        digest=_gains_spec(gains).build(numbers, options, lines),
        headers=(*ARM, "method", "step", "gain", "low", "high", "n"),
        rows=tuple(
            (*panel, name, str(step), repr(each.mean), *_ends(each.interval), str(each.seeds))
            for panel, own in gains.items()
            for (name,), points in own.items()
            for step, each in points.items()
        ),
        draw=draw,
    )


def _gains_spec(gains: Curves) -> Spec:
    """A table with a line for each step, and a column for each method of the paper or with rows."""
    found = {key for own in gains.values() for key in own}
    methods = [
        name
        for name in METHODS
        if name != BASELINE and (name in PAPERS_METHODS or (name,) in found)
    ]

    def gain(name: str, line: Line) -> Number | None:
        return gains[_panel(line.labels)].get((name,), {}).get(int(line.labels["step"] or 0))

    def cell(name: str, line: Line) -> str:
        decimals = DATASETS[line.labels["dataset"]].decimals
        return format_estimate(gain(name, line), True, decimals)

    return Spec(
        name="figure2_training",
        title=f"Gain in return over the {BASELINE} network against the training step",
        block=ARM,
        stub=("step",),
        columns={
            "": (
                *(Column(name, partial(cell, name)) for name in methods),
                Column("n", lambda line: format_counts([gain(name, line) for name in methods])),
            )
        },
        units=f"Gain: return minus that of {BASELINE}, seed by seed; mean [interval] over n seeds",
        texts={"step": lambda text: text or MISSING},
        notes=(
            INTERVAL_NOTE,
            "n: seeds of the columns before it, where they differ",
            "band: the interval",
            *(REGIME_NOTE, _IDENTITY_NOTE),
        ),
        preset="figure2",
        words=("task.regime", "scale", "dataset"),
        together=("scale", "regime"),
        lacks=_lacks,
        with_spread=False,
    )


def _panel(labels: Labels) -> Key:
    return tuple(labels[name] for name in ARM)


def _gains(numbers: Numbers, block: Labels) -> dict[Key, dict[int, Number]]:
    """Of each method with rows the paired difference at each step; its interval is its bar."""
    place = {name: block[name] for name in ARM}
    steps = sorted((each["step"] for each in numbers.labels("step", **place)), key=int)
    gains: dict[Key, dict[int, Number]] = {}
    for name, step in product(METHODS, steps):
        pair = (numbers.values(**place, step=step, name=each) for each in (name, BASELINE))
        values = paired_differences(*pair)
        number = numbers.over(values)
        if name != BASELINE and number:
            number = number._replace(spread=None, interval=bootstrap_interval(values.values()))
            gains.setdefault((name,), {})[int(step)] = number
    return gains


def _lacks(line: Line) -> bool:
    shown = {**line.labels, "step": line.labels["shown"]}
    return any(lacks_seeds(Line({**shown, "name": n}, line.numbers)) for n in PAPERS_METHODS)
