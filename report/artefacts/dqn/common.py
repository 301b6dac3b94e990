"""What the tables and figures of deep Q-learning share: names, which rows count, arms, lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import pandas as pd

from experiments.frame.methods import EQUITUNE, EQUIZERO, METHODS, PAPERS, PRETRAINED
from report.captions import commands
from report.cells import (
    EN_DASH,
    MISSING,
    by_seed,
    format_interval,
    format_number,
    format_summary,
    summarise,
)
from report.options import Options
from report.results import Results, departing, option, own_groups, select, step_numbers
from report.statistics import (
    CONFIDENCE,
    DRAWN_SUBSETS,
    ENUMERATED_SEEDS,
    RESAMPLES,
    bootstrap_interval,
    count_outcomes,
    interquartile_mean,
    order_share,
    paired_differences,
)

COLOURS = {name: METHODS[name].colour for name in PAPERS}
# The methods of the paper, from the worst to the best in its order.
PAPERS_METHODS = (PRETRAINED, EQUITUNE, EQUIZERO)
# Scale to the regimes of training that are wanted; rows of the first carry no label.
REGIMES = {"paper": ("reference", "modern"), "demo": ("demo",)}
# Seeds of the experiments at the paper's scale in these regimes.
SEEDS = 16

RETURNS = (
    "Return: on gridworld the expectation, computed exactly (expected_return); else the mean over "
    "episodes whose initial states all methods of a seed share. Mean (spread) over n seeds"
)
IDENTITY_NOTE = (
    "cartpole has two group elements and two actions: equitune and equizero (softmax) choose the "
    "same action in every state but for ties of floating-point numbers, so they cannot differ"
)
REGIME_NOTE = (
    "regime: how the networks were trained; reference: learning begins after 50000 steps, the "
    "default of stable-baselines3 when the paper was written; modern: after 100, today's"
)
_ORDER = ("reference", "modern", "tuned", "demo")
STEP_NOTE = (
    "step: the paper's budget of training steps; in other regimes than "
    f"{' and '.join(REGIMES['paper'])}, whose training may be shorter or longer, the last step "
    "found within that budget; of a demo, the last step found"
)


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
# The paper has five seeds, without saying which.
SUBSET = 5
FIRST_SEEDS = tuple(map(str, range(SUBSET)))
LEVEL = f"{CONFIDENCE:.0%}".replace("%", " %")
HEADERS = (
    *("mean (spread)", "IQM", f"{LEVEL} interval", "n", "wins / ties / losses"),
    *(f"order in {SUBSET} seeds", f"seeds 0{EN_DASH}{SUBSET - 1}"),
)
INTERVAL_NOTE = (
    f"interval: of the mean, {LEVEL} percentile bootstrap over seeds with {RESAMPLES} resamples; "
    f"{EN_DASH} where n = 1"
)
LINE_NOTES = (
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

ORDER_NOTE = f"the paper's order: {' > '.join(reversed(PAPERS_METHODS))}"

PanelT = TypeVar("PanelT")


def result_rows(results: Results, options: Options, departure: str = "") -> pd.DataFrame:
    """Rows of the paper's environments and groups, one per method, regime, step and seed.

    Further columns are `regime` and `iteration`, the step as a number; a step that is no whole
    number is a ValueError. `departure` is the label of a row without its regime.
    """
    common = {"task": "dqn", "model": "DQN", "protocol": "paper", "split": "test", "view": ""}
    chosen = {"scale": options.scales, "dataset": tuple(DATASETS)}
    rows = select(results.ours, **common, **chosen)
    data = {name: rows["dataset"].map(_column(name)) for name in ("group", "metric")}
    group = own_groups(rows, data["group"])
    unnamed = rows["scale"].map({scale: names[0] for scale, names in REGIMES.items()})
    rows = rows.assign(regime=option(rows, "regime").fillna(unnamed))
    counts = (rows["metric"] == data["metric"]) & (rows["group"] == group)
    rows = rows[counts & (departing(rows, "regime") == departure)]
    return rows.assign(iteration=step_numbers(rows))


def _column(name: str) -> dict[str, str]:
    return {dataset: getattr(data, name) for dataset, data in DATASETS.items()}


# Seed to number.
Values = Mapping[str, float]


class Arm(NamedTuple):
    """One environment, trained in one way.

    Attributes:
        cells: Method and step to the values by seed; those without rows are absent.
    """

    scale: str
    regime: str
    dataset: str
    cells: Mapping[tuple[str, int], Mapping[str, float]]

    @property
    def step(self) -> int | None:
        """The training step that is shown where one is: the paper's budget.

        A regime of another budget, and a demo, has the last step found (at the paper's scale:
        within the paper's budget); None where there is none.
        """
        steps, budget = [step for _, step in self.cells], DATASETS[self.dataset].steps
        if self.scale == "paper":
            steps = [step for step in steps if step <= budget]
            if self.regime in REGIMES[self.scale]:
                return budget
        return max(steps, default=None)

    @property
    def key(self) -> tuple[str, str, str]:
        """What distinguishes it from other arms."""
        return (self.scale, self.regime, self.dataset)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its block in a table."""
        return dict(zip(("scale", "regime", "dataset"), self.key, strict=True))

    @property
    def shown_labels(self) -> dict[str, str]:
        """Labels of its block in a table of the numbers at `step`."""
        return {**self.labels, "step": MISSING if self.step is None else str(self.step)}

    def last(self, method: str) -> Mapping[str, float]:
        """The values of a method at `step`, by seed; empty without rows."""
        return {} if self.step is None else self.cells.get((method, self.step), {})

    def lacks(self, methods: Sequence[str]) -> bool:
        """Whether a wanted method has rows missing at `step`.

        In a regime of `REGIMES` it needs all seeds of the experiment, in another one seed.
        """
        wanted = SEEDS if self.scale == "paper" and self.regime in REGIMES["paper"] else 1
        return any(len(self.last(method)) < wanted for method in methods)


def find_arms(rows: pd.DataFrame, options: Options, compared: str = "method") -> list[Arm]:
    """Arms by scale, regime and data set: all of the wanted regimes, and others with rows.

    The texts of the column `compared` are the methods of an `Arm`.
    """
    arms = []
    for scale in options.scales:
        found = set(select(rows, scale=scale)["regime"]) - set(_ORDER)
        for regime in (*_ORDER, *sorted(found)):
            for dataset in DATASETS:
                inside = select(rows, scale=scale, regime=regime, dataset=dataset)
                cells = {
                    (str(method), int(step)): _in_order(by_seed(cell))
                    for (method, step), cell in inside.groupby([compared, "iteration"])
                }
                if cells or regime in REGIMES[scale]:
                    arms.append(Arm(scale, regime, dataset, cells))
    return arms


def _in_order(values: Mapping[str, float]) -> dict[str, float]:
    """Sort by seed, 2 before 10."""
    return {seed: values[seed] for seed in sorted(values, key=lambda seed: (len(seed), seed))}


def shown_rows(rows: pd.DataFrame, arms: Sequence[Arm]) -> pd.DataFrame:
    """The rows at the step that each arm shows."""
    steps = {arm.key: arm.step for arm in arms}
    places = zip(rows["scale"], rows["regime"], rows["dataset"], strict=True)
    wanted = pd.Series([steps.get(place) for place in places], rows.index, dtype=float)
    return rows[rows["iteration"] == wanted]


def shown_methods(arm: Arm) -> list[str]:
    """The methods of an arm's table: those of the paper, and further ones with rows."""
    found = {method for method, _ in arm.cells}
    return [method for method in METHODS if method in PAPERS_METHODS or method in found]


def make_grid(
    arms: Sequence[Arm], make: Callable[[Arm], PanelT | None]
) -> list[list[PanelT | None]]:
    """Panels in a row per scale and regime, a column per data set.

    Where there is nothing to draw `make` returns None; rows and columns of None alone are left out.
    """
    panels = {arm.key: make(arm) for arm in arms}
    filled = [place for place, panel in panels.items() if panel is not None]
    columns = [dataset for dataset in DATASETS if dataset in {place[2] for place in filled}]
    rows = dict.fromkeys(place[:2] for place in filled)
    return [[panels.get((*row, dataset)) for dataset in columns] for row in rows]


def panel_title(arm: Arm, options: Options, *further: str) -> str:
    """The title of an arm's panel; with several scales, a second line has the arm's."""
    scale = f"\nscale {arm.scale}" if len(options.scales) > 1 else ""
    return ", ".join((arm.dataset, f"regime {arm.regime}", *further)) + scale


def missing_commands(
    experiment: str, arms: Sequence[Arm], methods: Sequence[str], extra: str = ""
) -> tuple[str, ...]:
    """One shell command per scale and regime with missing rows."""
    return commands(experiment, _missing_arms(arms, methods, extra))


def _missing_arms(arms: Sequence[Arm], methods: Sequence[str], extra: str) -> Iterator[str]:
    for scale, regime in dict.fromkeys((arm.scale, arm.regime) for arm in arms):
        inside = [arm for arm in arms if (arm.scale, arm.regime) == (scale, regime)]
        lacking = [arm.dataset for arm in inside if arm.lacks(methods)]
        if lacking:
            words = [extra, f"task.regime={regime}", f"scale={scale}"]
            chosen = "" if len(lacking) == len(DATASETS) else f"dataset={','.join(lacking)}"
            yield " ".join(word for word in (*words, chosen) if word)


def value_line(name: str, values: Values, dataset: str, options: Options) -> tuple[str, ...]:
    """The name and the cells `HEADERS` of one method."""
    data = DATASETS[dataset]
    cells = _number_cells(values, data, options, signed=False)
    return (name, *cells, "", "", _first_cell(values, data, options, signed=False))


def difference_line(
    methods: Mapping[str, Values], first: str, second: str, dataset: str, options: Options
) -> tuple[str, ...]:
    """The name and the cells `HEADERS` of one method minus another, seed by seed."""
    data, pair = DATASETS[dataset], [methods[first], methods[second]]
    differences = paired_differences(*pair)
    outcomes = count_outcomes(differences.values(), data.tolerance)
    return (
        f"{first} - {second}",
        *_number_cells(differences, data, options, signed=True),
        "/".join(map(str, outcomes)) if differences else "",
        _share(pair, data),
        _first_cell(differences, data, options, signed=True),
    )


def order_line(methods: Mapping[str, Values], dataset: str) -> tuple[str, ...]:
    """The line of the paper's order of methods; of `HEADERS`, `n` and the last two have a text."""
    data = DATASETS[dataset]
    descending = [methods[method] for method in reversed(PAPERS_METHODS)]
    common = set(descending[0]).intersection(*descending[1:])
    share = order_share([_first_seeds(values) for values in descending], SUBSET, data.tolerance)
    return (
        "the paper's order",
        *("", "", "", str(len(common)), ""),
        _share(descending, data),
        "" if share is None else "yes" if share else "no",
    )


def _number_cells(
    values: Values, data: Dataset, options: Options, signed: bool
) -> tuple[str, str, str, str]:
    numbers = [*values.values()]
    if not numbers:
        return (MISSING, MISSING, MISSING, "0")
    return (
        format_summary(summarise(numbers, options.spread), signed, data.decimals),
        format_number(interquartile_mean(numbers), signed, data.decimals),
        format_interval(bootstrap_interval(numbers), data.decimals, signed),
        str(len(numbers)),
    )


def _share(descending: Sequence[Values], data: Dataset) -> str:
    share = order_share(descending, SUBSET, data.tolerance)
    return "" if share is None else f"{100 * share:.1f} %"


def _first_seeds(values: Values) -> dict[str, float]:
    return {seed: values[seed] for seed in FIRST_SEEDS if seed in values}


def _first_cell(values: Values, data: Dataset, options: Options, signed: bool) -> str:
    first = [*_first_seeds(values).values()]
    if len(first) < SUBSET:
        return ""
    return format_summary(summarise(first, options.spread), signed, data.decimals)
