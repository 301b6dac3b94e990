"""Terminal output of a run: its description, its main number, and all of its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from experiments.frame.rows import COLUMNS
from experiments.frame.tasks import load_task

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig
    from experiments.frame.records import FinishedRun
    from experiments.frame.stages import Number

#: The columns that tell two numbers of a run apart, besides their metric.
_KEY = tuple(name for name in COLUMNS if name not in ("metric", "value"))


def describe_run(config: AnyConfig) -> str:
    """Return one line that describes a configuration."""
    chosen = {
        "task": config.task.name,
        "dataset": config.dataset.name,
        "model": config.model.name,
        "group": config.group.name,
        "method": config.method.name,
        "scale": config.scale.name,
        "protocol": config.protocol.name,
        "seed": config.seed,
    }
    learned = getattr(getattr(config.task, "pretrain", None), "dataset", None)
    if learned is not None:  # the images of a model that is trained here
        chosen["task.pretrain.dataset"] = learned
    words = " ".join(f"{key}={value}" for key, value in chosen.items())
    return f"{config.stage}: {words}"


class Shown(NamedTuple):
    """A number of a run, with its row."""

    number: Number
    row: dict[str, str]

    @property
    def value(self) -> float:
        """The number itself."""
        return float(self.row["value"])


def shown(run: FinishedRun) -> list[Shown]:
    """Return what the run's stage shows, as far as the run has it; the main number is first."""
    stage = load_task(run.record["task"]).stages[run.record["stage"]]
    rows, found = run.rows(), list[Shown]()
    for number in stage.shows:
        wanted = {**number.where, "metric": number.metric}
        fits = [row for row in rows if wanted.items() <= row.items()]
        if fits and all(fits[number.place] is not other.row for other in found):
            found.append(Shown(number, fits[number.place]))
    return found


def headline(run: FinishedRun) -> str:
    """Return the run's main number in words, with its interval and what it is compared with.

    Empty for a stage that has none.
    """
    rows = {(*(row[name] for name in _KEY), row["metric"]): row["value"] for row in run.rows()}
    parts = []
    for number, row in shown(run):
        told = [row[name] for name in number.told if row[name] not in ("", "none")]
        told += [f"step {row['step']}"] if row["step"] else []
        value, *ends = (
            f"{float(rows[key]):{number.digits}}"
            for end in ("", "_low", "_high")
            if (key := (*(row[name] for name in _KEY), number.metric + end)) in rows
        )
        name = f"{number.name} ({', '.join(told)})" if told else number.name
        interval = f" [{', '.join(ends)}]" if ends else ""
        parts.append(f"{name}: {value}{number.unit}{interval}")
    return "; ".join(parts)


def departures(run: FinishedRun) -> list[str]:
    """Return a line for each way in which rows of a run depart from its protocol."""
    variants = dict.fromkeys(row["variant"] for row in run.rows())
    return [f"departs from its protocol: {variant}" for variant in variants if variant]


def all_rows(run: FinishedRun) -> str:
    """Return all numbers of a run, one line each."""
    lines = []
    for row in run.rows():
        turned = row["transform"] if row["transform"] not in ("", "none") else ""
        view = f"view {row['view']}" if row["view"] else ""
        step = f"step {row['step']}" if row["step"] else ""
        words = (row["split"], turned, view, step, row["metric"], row["variant"])
        name = " ".join(word for word in words if word)
        lines.append(f"  {name:40s} {float(row['value']):12.4f}")
    return "\n".join(lines)
