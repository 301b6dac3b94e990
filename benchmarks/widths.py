"""Does the width of lambda's network matter? Held-out and test accuracy, from the runs of a sweep.

python -m benchmarks.widths

Widths are compared on training images that were held out; the last columns tell what the choice is
worth on turned test images. A fit measures the accuracy of held-out images, or, if it writes none,
their mean cross-entropy in nats. The sweeps stand in `benchmarks/README.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from experiments.frame.rows import label_of
from experiments.frame.terminal import run_program
from report.results import finished_runs
from scripts._arguments import Parser, refused

ACCURACY, NATS = "top1_accuracy", "cross_entropy"
WIDTH = "lambda_net.hidden"
LINE = ["dataset", "model", "group", "method", "options", "measure", "width"]


def held_out(rows: pd.DataFrame) -> tuple[str, float]:
    """Return name and value of what a fit measured on held-out images, at the kept step."""
    kept = rows.loc[rows["metric"] == "selected_step", "value"]
    rows = rows[rows["split"] == "validation"].set_index("metric")
    if len(kept):
        step = f"{float(kept.item()):.0f}"
        return ACCURACY, float(rows.loc[ACCURACY].set_index("step").loc[step, "value"])
    return NATS, float(rows.loc[NATS, "value"])


def measured(runs: Path) -> Iterator[dict[str, object]]:
    """Yield a line for each run that evaluates a method with a network."""
    for metrics, record in finished_runs(runs, Counter()):
        config = OmegaConf.load(metrics.parent / "config.yaml")
        width, fit = OmegaConf.select(config, f"method.{WIDTH}"), record["built_on"]
        if width is None or "lambda" not in fit:
            continue
        rows = _read(metrics)
        asked = {"metric": ACCURACY, "split": "test", "view": "", "transform": config.group.name}
        test = rows[(rows[list(asked)] == pd.Series(asked)).all(axis=1)].iloc[-1]
        measure, value = held_out(_read(runs / fit["lambda"] / "metrics.csv"))
        departures = {name: each for pairs in record["departures"].values() for name, each in pairs}
        options = label_of({name: each for name, each in departures.items() if name != WIDTH})
        own = {"options": options, "measure": measure, "width": int(width), "held out": value}
        yield {**test, **own, "turned test": float(test["value"])}


def _read(metrics: Path) -> pd.DataFrame:
    return pd.read_csv(metrics, dtype=str, keep_default_na=False)


def main() -> int:
    """Print means over seeds for each model, group, method and width; return the exit status."""
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_results()
    runs = parser.parse_args().results / "runs"
    lines = pd.DataFrame([line for task in ("clip", "cnn") for line in measured(runs / task)])
    if lines.empty:
        return refused(f"{runs} has no run that evaluates a method with a network", "widths.py")
    means = lines.groupby(LINE)[["held out", "turned test"]].agg(["mean", "count"])
    print(means.drop(columns=("turned test", "count")).to_string(float_format="{:.3f}".format))
    return 0


if __name__ == "__main__":
    run_program(main)
