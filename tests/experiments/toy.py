"""A task that counts, for tests of the frame: its sum is known, and it can be stopped anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from experiments.frame.options import AnyConfig, NamedConfig
from experiments.frame.records import Run
from experiments.frame.stages import Stage, Task

STEPS = 50


def count(config: AnyConfig, run: Run) -> None:
    """Add 1 + 2 + ... + STEPS, with a checkpoint after each; files make it end.

    A file named `fail` makes it fail; one named `stop` holds the signals that it is sent.
    """
    total, first = torch.zeros(1), 1
    saved = run.resume()
    if saved is not None:
        total, first = saved[0]["total"], saved[1]["next"]
        run.fact("resumed_at", first)
    for step in range(first, STEPS + 1):
        total = total + step
        if Path(config.results, "fail").exists() and step == 20:
            raise RuntimeError("asked to fail\nsecond line")
        stop = Path(config.results, "stop")
        if stop.exists() and step == 30:
            signals = stop.read_text().split()
            stop.unlink()
            for number in signals:
                os.kill(os.getpid(), int(number))
        run.checkpoint({"total": total}, {"next": step + 1})
    with open(Path(config.results, "counted"), "a") as stream:
        stream.write("x")
    run.row("sum", float(total), split="test")
    run.save("total.safetensors", {"total": total})


def double(config: AnyConfig, run: Run) -> None:
    """Double the sum of the other stage."""
    tensors, _ = run.need("pretrain").tensors("total.safetensors")
    run.row("double", 2 * float(tensors["total"]), split="test")


def _identity(config: AnyConfig) -> dict[str, object]:
    return {"seed": config.seed, "method": config.method.name}


def _seed(config: AnyConfig) -> dict[str, object]:
    return {"seed": config.seed}


TASK = Task(
    "toy",
    dict.fromkeys(("task", "model", "dataset", "group"), NamedConfig),
    {
        "pretrain": Stage("pretrain", 1, _seed, lambda c: f"s{c.seed}", "tests_toy:count"),
        "evaluate": Stage("evaluate", 1, _identity, lambda c: f"s{c.seed}", "tests_toy:double"),
    },
    lambda config: None,  # nothing to resolve
)
