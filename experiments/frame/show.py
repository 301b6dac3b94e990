"""Terminal output of a run: its description and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig
    from experiments.frame.records import FinishedRun


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
    words = " ".join(f"{key}={value}" for key, value in chosen.items())
    return f"{config.stage}: {words}"


def show(run: FinishedRun) -> None:
    """Print the folder of a run and its numbers, one line each."""
    print(f"\n{run.folder}")
    rows = run.rows()
    for variant in dict.fromkeys(row["variant"] for row in rows):
        if variant:
            print(f"  departs from its protocol: {variant}")
        for row in rows:
            if row["variant"] == variant:
                turned = row["transform"] if row["transform"] not in ("", "none") else ""
                view = f"view {row['view']}" if row["view"] else ""
                step = f"step {row['step']}" if row["step"] else ""
                words = (row["split"], turned, view, step, row["metric"])
                name = " ".join(word for word in words if word)
                print(f"  {name:40s} {float(row['value']):12.4f}")
