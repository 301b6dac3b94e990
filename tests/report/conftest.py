"""A results folder to fill with synthetic rows."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from matplotlib.figure import Figure as Drawing

from experiments.frame.methods import METHODS, Kind, Method, Parts
from report.artefacts.catalogue import ARTEFACTS
from report.figures import Figure, house_style
from report.options import Options
from report.results import load_results
from report.tables import Table
from scripts.migrate_results import departures_of

if TYPE_CHECKING:
    import equitune

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

COLUMNS = [
    *("task", "dataset", "model", "group", "transform", "method", "protocol", "scale"),
    *("seed", "split", "step", "view", "variant", "metric", "value"),
]


def told(rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """What a record tells of the options by which its rows depart."""
    labels = {str(row["variant"]) for row in rows} - {""}
    found = {label: [*departures_of(label).items()] for label in sorted(labels)}
    return {"departures": {label: pairs for label, pairs in found.items() if pairs}}


class ResultsTree:
    """Writes rows where the program looks for them."""

    def __init__(self, path: Path) -> None:
        """Start from the paper's own numbers."""
        self.path = path
        (path / "paper").mkdir(parents=True)
        shutil.copy(ROOT / "results" / "paper" / "reported.csv", path / "paper")

    def with_claims(self) -> Path:
        """Add the committed claims; returns the folder."""
        shutil.copy(ROOT / "results" / "paper" / "claims.yaml", self.path / "paper")
        return self.path

    @staticmethod
    def row(value: object, **changes: object) -> dict[str, str]:
        """One row: zero-shot equizero of the LSTM on add_jump's test split, with changes."""
        row = {
            **dict.fromkeys(COLUMNS, ""),
            **{"task": "scan", "dataset": "add_jump", "model": "LSTM", "group": "verb"},
            **{"transform": "none", "method": "equizero", "protocol": "paper", "scale": "paper"},
            **{"seed": "0", "split": "test", "metric": "accuracy"},
            "value": value,
        }
        assert not set(changes) - set(COLUMNS)
        return {column: str(text) for column, text in (row | changes).items()}

    def rows(self, values: Sequence[float], **changes: object) -> list[dict[str, str]]:
        """One row per seed, counted from zero if the changes name none."""
        return [self.row(value, **({"seed": seed} | changes)) for seed, value in enumerate(values)]

    def estimates(
        self, values: Sequence[float], half: float, metric: str, **changes: object
    ) -> list[dict[str, str]]:
        """Rows of a metric with those of the ends of its interval: one of each per seed."""
        return [
            row
            for end, shift in {"": 0.0, "_low": -half, "_high": half}.items()
            for row in self.rows([n + shift for n in values], metric=metric + end, **changes)
        ]

    def both_splits(self, values: Sequence[float], **changes: object) -> list[dict[str, str]]:
        """Rows of validation and test."""
        splits = ("validation", "test")
        return [
            row for split in splits for row in self.rows(values, **({"split": split} | changes))
        ]

    def returns(
        self, values: Sequence[float], method: str, dataset: str = "acrobot", **changes: object
    ) -> list[dict[str, str]]:
        """Rows of deep Q-learning: one per seed, as they are at the paper's budget."""
        group = {"gridworld": "rot90"}.get(dataset, "mirror")
        chosen = {
            **{"task": "dqn", "model": "DQN", "dataset": dataset, "method": method},
            "group": "trivial" if method == "pretrained" else group,
            "step": 70000 if dataset == "acrobot" else 100000,
            "metric": "expected_return" if dataset == "gridworld" else "return",
        }
        return self.rows(values, **(chosen | changes))

    def run(
        self,
        name: str,
        rows: Sequence[dict[str, str]],
        status: str = "done",
        stage: str = "evaluate",
        facts: Mapping[str, object] = MappingProxyType({}),
        task: str = "scan",
        **further: object,
    ) -> Path:
        """A run's folder, with further items of its record; returns its metrics file."""
        folder = self.path / "runs" / task / name
        folder.mkdir(parents=True, exist_ok=True)
        record = {"status": status, "stage": stage, "facts": dict(facts), **told(rows), **further}
        (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
        return self._write(folder / "metrics.csv", COLUMNS, rows)

    def labels(self, name: str, rows: Sequence[Mapping[str, object]], task: str = "scan") -> Path:
        """The labelled sentences of a run; returns the file."""
        path = self.path / "runs" / task / name / "labels.csv"
        return self._write(path, [*rows[0]], [{k: str(v) for k, v in r.items()} for r in rows])

    def measured(
        self,
        rows: Sequence[dict[str, str]],
        name: str = "own",
        status: str = "done",
        task: str = "scan",
    ) -> Path:
        """A committed file with its records; returns it."""
        path = self.path / "measured" / task / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        records = {"some-run": {"status": status, **told(rows)}}
        path.with_suffix(".json").write_text(json.dumps(records), encoding="utf-8")
        return self._write(path, [*COLUMNS, "run"], [{**row, "run": "some-run"} for row in rows])

    @staticmethod
    def _write(path: Path, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> Path:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return path


@pytest.fixture
def tree(tmp_path: Path) -> ResultsTree:
    """An empty results folder but for the paper's numbers."""
    return ResultsTree(tmp_path / "results")


def dqn_values(rank: int) -> list[float]:
    """Returns of sixteen seeds far apart, as those of acrobot are; ranks are three apart."""
    return [-500.0 + 20.0 * seed + 3.0 * rank for seed in range(16)]


def dqn_rows(tree: ResultsTree, *datasets: str, **changes: object) -> list[dict[str, str]]:
    """Rows of the paper's methods on some or all environments, in its order in every seed."""
    return [
        row
        for dataset in datasets or ("gridworld", "cartpole", "acrobot")
        for rank, method in enumerate(("pretrained", "equitune", "equizero"))
        for row in tree.returns(dqn_values(rank), method, dataset, **changes)
    ]


class SoftChoice(Method):
    """A method of the user's own."""

    name, label, colour, kind = "soft_choice", "soft choice", "#CC79A7", Kind.OTHER
    needs_loss = True

    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return nothing: it is shown, not run."""
        raise NotImplementedError


@pytest.fixture
def soft_choice(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a registered method that is not the paper's, and has a proxy loss."""
    monkeypatch.setitem(METHODS, SoftChoice.name, SoftChoice())
    return SoftChoice.name


def drawn(figure: Figure) -> Drawing:
    """The drawing itself."""
    with house_style():
        drawing = figure.draw()
        drawing.draw_without_rendering()
    assert isinstance(drawing, Drawing)
    return drawing


def assert_fits(drawing: Drawing, ticks: bool = False) -> None:
    """Check that there is a legend, all is inside the picture, and titles are apart.

    With `ticks` the names below the first panel must be apart as well.
    """
    assert drawing.legends
    width, height = drawing.canvas.get_width_height()
    titles = [axes.title.get_window_extent() for axes in drawing.axes]
    below = drawing.axes[0].get_xticklabels() if ticks else []
    boxes = [axes.get_tightbbox() for axes in drawing.axes]
    for box in [*titles, *boxes, *(each.get_window_extent() for each in drawing.legends)]:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    apart = [*titles, *(text.get_window_extent() for text in below)]
    assert not any(one.overlaps(other) for one in apart for other in apart if one is not other)


def build_figure(tree: ResultsTree, name: str, **options: Any) -> Figure:
    """A figure as the program builds it."""
    figure = _build(tree, name, options)
    assert isinstance(figure, Figure)
    return figure


def build_table(tree: ResultsTree, name: str, **options: Any) -> Table:
    """A table as the program builds it."""
    table = _build(tree, name, options)
    assert isinstance(table, Table)
    return table


def _build(tree: ResultsTree, name: str, options: Mapping[str, Any]) -> object:
    chosen, entry = Options(**options), ARTEFACTS[name]
    return entry.build(load_results(tree.path, entry.tasks, chosen.scales), chosen)


def lines_of(table: Table, title: str, stub: int) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The lines of the one block with this title, by their first cells."""
    [found] = [block for block in table.blocks if block.title == title]
    return {line[:stub]: line[stub:] for line in found.rows}
