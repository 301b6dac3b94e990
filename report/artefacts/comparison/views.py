"""The further methods: which rows of a task count, by place and by way.

A place is where a comparison is made: a model on data under a group. A way is a method with the
options in which the arms of its preset differ, such as a loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import product

import pandas as pd

from experiments.frame.methods import EQUITUNE, METHODS, PAPERS, Kind
from report.aggregate import Labels, Numbers
from report.artefacts.dqn.tables import DATASETS, REGIMES
from report.cells import Number
from report.options import Options
from report.presets import arms, axes, default, fixed, groups
from report.results import Results, option, select
from report.statistics import bootstrap_interval, paired_differences

#: The protocol of all presets of methods.
PROTOCOL = "paper"
PLACE = ("scale", "protocol", "dataset", "model", "group", "regime", "departure")
WAY = ("method", "how")
_TRIVIAL = "trivial"
_SPLITS = ("test", "train", "")
#: Points of accuracy.
_EVEN = 1.0
# What names an evaluation, but for its step: `passes` is not said for each.
_EVALUATION = ("scale", "protocol", "dataset", "model", "group", "method", "seed", "variant")
_SHORT = {
    **{"over_equitune": "gain", "equivariance_error": "error", "passes": "passes", "jump": "jump"},
    "trained_parameters": "trained",
}


@dataclass(frozen=True, eq=False)
class View:
    """One comparison of the methods.

    Attributes:
        name: Its preset without `methods_`, and its figure without `pareto_`.
        title: What is compared, in a caption.
        files: The committed files with its rows.
        demo: The data set of a demo.
        score: The metric of accuracy, by data set; "" for all others.
        steps: The step that counts, by data set; none: rows without a step.
        columns: The labels of a place that the columns of the figure are of.
        unit: Of the score.
        same_views: Whether no view is better than the others by what the task is.
    """

    name: str
    task: str
    title: str
    files: tuple[str, ...]
    demo: str
    score: Mapping[str, str] = field(default_factory=lambda: {"": "top1_accuracy"})
    steps: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ("model",)
    unit: str = "accuracy (%)"
    same_views: bool = False

    @property
    def preset(self) -> str:
        """The experiment that makes its rows."""
        return f"methods_{self.name}"

    @property
    def options(self) -> frozenset[str]:
        """The options by which its rows may depart."""
        own = {name for arm in arms(self.preset) for name in arm} - {"method"}
        return frozenset(own | {*fixed(self.preset), "regime", "checkpoint"})

    @property
    def upright(self) -> bool:
        """Whether there are inputs that no element of the group has moved."""
        return self.unit == View.unit and self.task != "scan"

    @property
    def trains(self) -> bool:
        """Whether the model, or its last layers, are trained by some of its methods."""
        return any(METHODS[arm["method"]].augments for arm in arms(self.preset))

    @property
    def probes(self) -> bool:
        """Whether last layers are trained under every method."""
        return self.task == "cnn" and fixed(self.preset).get("training") != "none"

    @property
    def place(self) -> tuple[str, ...]:
        """The labels of a place that its rows tell apart."""
        return tuple(name for name in PLACE if name != "regime" or self.steps)


def decimals(dataset: str) -> int:
    """The decimals that a score, or a gain, is shown with."""
    return DATASETS[dataset].decimals if dataset in DATASETS else 1


_ALL = (
    View("cnn", "cnn", "CNNs as they are", ("methods",), "letters"),
    View("cnn_probe", "cnn", "CNNs with the last layers trained", ("methods_probe",), "symbols"),
    View("clip", "clip", "Zero-shot CLIP", ("methods",), "symbols", columns=("group",)),
    View(
        *("scan", "scan", "SCAN", ("methods", "more_seeds_paper"), "add_jump"),
        score={"": "accuracy"},
        columns=("dataset", "group"),
    ),
    View(
        *("dqn", "dqn", "Deep Q-learning", ("methods",), "gridworld"),
        score={name: data.metric for name, data in DATASETS.items()},
        steps={name: data.steps for name, data in DATASETS.items()},
        columns=("dataset", "group"),
        unit="return",
        same_views=True,
    ),
)
VIEWS: dict[str, View] = {view.name: view for view in _ALL}


def orders(view: View, options: Options) -> dict[str, Sequence[str]]:
    """The texts of labels in the order of lines: those of the preset."""
    preset = axes(view.preset)
    known = (groups(view.preset, dataset) for dataset in preset["dataset"])
    return {
        "scale": options.scales,
        "dataset": preset["dataset"],
        "model": preset["model"],
        "group": [*dict.fromkeys(name for own in known for name in own)],
        "regime": [name for own in REGIMES.values() for name in own],
        "how": _hows(view),
    }


@cache
def _arms(view: View, method: str) -> tuple[Labels, ...]:
    return tuple(arm for arm in arms(view.preset) if arm["method"] == method)


def describe(view: View, protocol: str, method: str, chosen: Mapping[str, object]) -> str:
    """The options of a method in which the arms of its preset differ, as text."""
    names = dict.fromkeys(name for arm in _arms(view, method) for name in arm if "." not in name)
    texts = []
    for name in names:
        value = str(chosen.get(name, "")) or default(view.task, protocol, method, name)
        if name != "method" and value:
            is_word = not value.replace(".", "").isdigit()
            texts.append(value.replace("_", " ") if is_word else f"{name} {value}")
    return ", ".join(texts)


def _hows(view: View) -> tuple[str, ...]:
    """The texts of the arms of a preset, in its order."""
    found = (describe(view, PROTOCOL, arm["method"], arm) for arm in arms(view.preset))
    return tuple(dict.fromkeys(found))


def needs(labels: Labels) -> str:
    """Whether the weighting, or the model for it, learns from labels."""
    method, how = METHODS[labels["method"]], labels["how"]
    if method.needs_temperature:
        return "no" if "temperature" in how else "few: one number"
    return "yes" if method.needs_labels or method.augments or "task_weight" in how else "no"


def label(way: Labels) -> str:
    """A way in a legend."""
    text = METHODS[way["method"]].label
    return f"{text} ({way['how']})" if way["how"] else text


def lines(view: View, numbers: Numbers, options: Options) -> Iterator[dict[str, str]]:
    """The labels of lines: those with numbers, and those that the preset makes."""
    preset = axes(view.preset)
    for scale in options.scales:
        regimes = REGIMES[scale] if view.steps else ("",)
        datasets = preset["dataset"] if scale == "paper" else (view.demo,)
        for dataset, model, regime in product(datasets, preset["model"], regimes):
            for group in groups(view.preset, dataset):
                place = (scale, PROTOCOL, dataset, model, group, regime, "")
                for arm in arms(view.preset):
                    how = describe(view, PROTOCOL, arm["method"], arm)
                    yield {
                        **dict(zip(PLACE, place, strict=True)),
                        **{"method": arm["method"], "how": how},
                    }
    for found in numbers.labels(*PLACE, *WAY, metric="accuracy"):
        yield {name: found[name] for name in (*PLACE, *WAY)}


def view_numbers(
    view: View, results: Results, options: Options, *, shared: bool = False
) -> Numbers:
    """The numbers of a view: accuracy, upright, gain, error, passes, jump, trained.

    Rows count if their evaluation says how many passes a prediction takes, and if their model and
    protocol are the preset's or were run with some method that is not the paper's. `shared` leaves
    the seeds that all ways of a place have, where there are some.
    """
    rows = _rows(view, results.of(view.task), options.scales)
    rows = _shared(rows) if shared else rows
    return Numbers(rows, (*PLACE, *WAY, "metric"), options.spread)


@lru_cache(maxsize=2 * len(VIEWS))
def _rows(view: View, results: Results, scales: tuple[str, ...]) -> pd.DataFrame:
    """The rows that count, once for all tables and figures of a view."""
    rows = select(results.ours, scale=scales, view="", split=_SPLITS)
    chosen = option(rows, "training")
    training = fixed(view.preset).get("training")
    rows = rows[chosen == training if training else chosen.isna()]
    rows = _placed(_counted(_at_step(view, rows)))
    own = pd.MultiIndex.from_frame(rows[["model", "protocol"]])
    usual = pd.MultiIndex.from_product([axes(view.preset)["model"], [PROTOCOL]])
    rows = rows[own.isin(usual) | own.isin(own[~rows["method"].isin(PAPERS)])]
    keys = [*zip(rows["protocol"], rows["method"], rows["variant"], strict=True)]
    known = dict(zip(keys, rows["departures"], strict=True))
    compared = {key for key, departures in known.items() if _is_compared(view, key[1], departures)}
    ways = {key: _way(view, *key[:2], known[key]) for key in compared}
    rows = rows[pd.Series([key in compared for key in keys], rows.index, dtype=bool)]
    found = [ways[key] for key in keys if key in compared]
    rows = rows.assign(
        how=[how for how, _ in found],
        departure=[rest for _, rest in found],
        regime=_regimes(view, rows),
        metric=_names(view, rows),
    )
    return rows[rows["metric"] != ""]


def _shared(rows: pd.DataFrame) -> pd.DataFrame:
    scores = rows[rows["metric"] == "accuracy"]
    scores = scores.assign(way=scores["method"] + "\n" + scores["how"])
    ways = scores.groupby([*PLACE, "seed"])["way"].nunique()
    all_ways = scores.groupby([*PLACE])["way"].nunique()
    common = ways.index[ways.to_numpy() == all_ways[ways.index.droplevel("seed")].to_numpy()]
    own = pd.MultiIndex.from_frame(rows[[*PLACE, "seed"]])
    places = pd.MultiIndex.from_frame(rows[[*PLACE]])
    return rows[own.isin(common) | ~places.isin(common.droplevel("seed"))]


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    keys = pd.MultiIndex.from_frame(rows[[*_EVALUATION]])
    return rows[keys.isin(keys[rows["metric"] == "passes"])]


def _at_step(view: View, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without a step; of a training, also those of the last step within its budget."""
    steps = pd.to_numeric(rows["step"], errors="coerce")
    budgets = rows["dataset"].map(dict(view.steps))
    last = steps.where(steps <= budgets).groupby([rows[name] for name in _EVALUATION])
    return rows[(rows["step"] == "") | (steps == last.transform("max"))]


def _placed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows by the group of their place; a row that names none belongs to all groups.

    A method of several views that ran with one view compares nothing.
    """
    several = [name for name, known in METHODS.items() if known.uses_group]
    rows = rows[(rows["group"] != _TRIVIAL) | ~rows["method"].isin(several)]
    moved = rows["transform"].where(rows["transform"] != "none", "")
    group = rows["group"].where(rows["group"] != _TRIVIAL, moved)
    known: dict[str, list[str]] = {}
    for dataset, name in dict.fromkeys(zip(rows["dataset"], group, strict=True)):
        if name:
            known.setdefault(dataset, []).append(name)
    own = [
        [name] if name else known.get(dataset, [])
        for dataset, name in zip(rows["dataset"], group, strict=True)
    ]
    return rows.assign(group=own).explode("group").dropna(subset="group").reset_index(drop=True)


def _is_compared(view: View, method: str, departures: Mapping[str, object]) -> bool:
    """Whether each word among the options of a method is one of the preset's; numbers are free.

    The reversed loss of the authors' code is nobody's choice.
    """
    known = {each for arm in _arms(view, method) for each in arm.items()}
    named = {name for name, _ in known}
    return all(
        (name, str(value)) in known or isinstance(_number(str(value)), float)
        for name, value in departures.items()
        if name in named
    )


def _way(
    view: View, protocol: str, method: str, departures: Mapping[str, object]
) -> tuple[str, str]:
    """How a method is used, and by what else the run departs."""
    known = _arms(view, method)
    shown = {name for arm in known for name in arm if "." not in name}
    all_of_it = [fixed(view.preset), *known]
    made = {(name, _number(text)) for each in all_of_it for name, text in each.items()}
    rest = {
        name: value
        for name, value in departures.items()
        if name not in {"regime"} | shown and (name, _number(str(value))) not in made
    }
    text = ", ".join(f"{name}={value}" for name, value in rest.items())
    return describe(view, protocol, method, departures), text


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _regimes(view: View, rows: pd.DataFrame) -> pd.Series[str]:
    if not view.steps:
        return pd.Series("", rows.index)
    unnamed = rows["scale"].map({scale: names[0] for scale, names in REGIMES.items()})
    return option(rows, "regime").fillna(unnamed)


def _names(view: View, rows: pd.DataFrame) -> pd.Series[str]:
    """What rows are called here; empty for those that do not count."""
    parts = rows["metric"].str.extract(r"^(?P<name>.*?)(?P<end>_low|_high)?$")
    name, end = parts["name"], parts["end"].fillna("")
    scores = rows["dataset"].map(lambda dataset: view.score.get(dataset, view.score.get("")))
    short = name.map(_SHORT).fillna("")
    upright = view.upright & (rows["transform"] == "none")
    short = short.mask(name == scores, upright.map({True: "upright", False: "accuracy"}))
    own = (rows["transform"] == "none") | (rows["transform"] == rows["group"])
    return (short + end).where(own & (short != ""), "")


def gain(numbers: Numbers, labels: Labels) -> Number | None:
    """What a way gains over equitune on the same inputs; None without rows, and for equitune.

    Without such rows it is the difference seed by seed, with its interval over seeds.
    """
    if labels["method"] == EQUITUNE:
        return None
    if found := numbers.find(**{**labels, "metric": "gain"}):
        return found
    base = {**labels, "method": EQUITUNE, "how": "", "metric": "accuracy"}
    pair = numbers.values(**{**labels, "metric": "accuracy"}), numbers.values(**base)
    differences = paired_differences(*pair)
    found = numbers.over(differences)
    return found and found._replace(interval=bootstrap_interval(differences.values()))


def is_even(view: View, numbers: Numbers, place: Labels) -> bool:
    """Whether the model itself is as good on every view: it loses less than a point when moved."""
    if not view.upright:
        return view.same_views
    own = [name for name, method in METHODS.items() if method.kind is Kind.OWN_VIEW]
    alone = {**place, "method": own[0], "how": ""}
    upright, moved = (numbers.find(**alone, metric=name) for name in ("upright", "accuracy"))
    return bool(upright and moved and upright.mean - moved.mean < _EVEN)
