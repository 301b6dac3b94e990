"""Wall seconds of the frame itself, as a whole process and within one.

python -m benchmarks.frame
"""

from __future__ import annotations

import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hydra import compose, initialize_config_dir

from experiments.frame import tasks
from experiments.frame.conf import CONF
from experiments.frame.load import load
from experiments.frame.options import AnyConfig, NamedConfig
from experiments.frame.records import Run
from experiments.frame.runner import execute
from experiments.frame.stages import Stage, Task

SMALL = (
    "logger=none",
    "model=RNN",
    "task.max_commands=5",
    "task.pretrain.iterations=1",
    "task.pretrain.evaluations=1",
    "task.pretrain.backend=torch",
)


def seconds(*arguments: str) -> float:
    """Return the wall seconds of one ``python run.py`` process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "run.py", *arguments], capture_output=True, check=False)
    return time.perf_counter() - start


def nothing(config: AnyConfig, run: Run) -> None:
    """Write one row: a stage whose own time is none."""
    run.row("nothing", 0.0)


TASK = Task(
    "nothing",
    {},
    {
        "evaluate": Stage(
            "evaluate", 1, lambda c: {"seed": c.seed}, lambda c: f"s{c.seed}", f"{__name__}:nothing"
        )
    },
    lambda config: None,
)


class Within:
    """The frame within a process: imports are done, and git was asked for the commit."""

    def __init__(self, folder: Path) -> None:
        """Do a small run of SCAN, to be skipped later.

        Args:
            folder: For the results.
        """
        logging.getLogger("experiments").setLevel(logging.WARNING)
        tasks.TASKS["nothing"] = __name__
        with initialize_config_dir(str(CONF), version_base="1.3"):
            self._raw = compose("config", [*SMALL, f"results={folder}"])
        self._config = replace(load(self._raw), task=NamedConfig("nothing"))
        self.skipped()

    def new_run(self) -> None:
        """Do a run that was not done before: lock, records, metrics, all flushed to the disk."""
        self._config = replace(self._config, seed=self._config.seed + 1)
        execute(self._config)

    def skipped(self) -> None:
        """Check what Hydra has composed, and find the run that it asks for finished."""
        execute(load(self._raw))


def many(results: Path, source: Path, count: int = 1000) -> list[str]:
    """Copy a finished run under other names.

    Args:
        results: Where to.
        source: A results folder with a finished evaluation.
        count: How many.

    Returns:
        The command that lists them.
    """
    (run,) = source.glob("runs/scan/evaluate-*")
    for number in range(count):
        shutil.copytree(run, results / "runs" / "scan" / f"evaluate-{number:04}")
    return [sys.executable, "scripts/runs.py", "list", "--results", str(results)]


def main(repeats: int = 7) -> None:
    """Print the median and the least of each, after one warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        within = Within(Path(folder, "within"))
        listing = many(Path(folder, "many"), Path(folder, "within"))
        works: dict[str, Callable[[], object]] = {
            "--help": lambda: seconds("--help"),
            "bad input (group=rot90)": lambda: seconds("group=rot90"),
            "a finished run is skipped": lambda: seconds(*SMALL, f"results={folder}"),
            "1000 finished runs are listed": lambda: subprocess.run(
                listing, capture_output=True, check=True
            ),
            "within a process: a run of nothing": within.new_run,
            "within a process: skipped": within.skipped,
        }
        for name, work in works.items():
            work()
            times = [timed(work) for _ in range(repeats)]
            median, least = statistics.median(times), min(times)
            print(f"{name:36s} median {median:.3f} s, least {least:.3f} s")


def timed(work: Callable[[], object]) -> float:
    """Return the wall seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
