"""Deep Q-learning: rows sorted into arms, one environment trained in one way each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import pandas as pd

from experiments.frame.methods import METHODS
from report.artefacts.dqn.common import DATASETS, PAPERS_METHODS, REGIMES, SEEDS
from report.captions import commands
from report.cells import MISSING, by_seed
from report.options import Options
from report.results import select

_ORDER = ("reference", "modern", "tuned", "demo")
STEP_NOTE = (
    "step: the paper's budget of training steps; in other regimes than "
    f"{' and '.join(REGIMES['paper'])}, whose training may be shorter or longer, the last step "
    "found within that budget; of a demo, the last step found"
)

PanelT = TypeVar("PanelT")


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
