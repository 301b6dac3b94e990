"""Several processes on one run, the lock of a dead one, and a clock that jumps back."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._fault_inside import JumpingClock
from benchmarks._fault_runs import (
    PATIENCE,
    Case,
    contents,
    differences,
    examine,
    folders,
    run,
    start,
    undisturbed,
    unlike,
)
from experiments.frame.record_files import read_record

WAITING = "another process works on"


def together(task: str, counts: tuple[int, ...]) -> Iterator[Case]:
    """Start several processes on the same run at once.

    Args:
        task: The task.
        counts: How many processes, for each case.

    Yields:
        A case for each.
    """
    with TemporaryDirectory() as name:
        expected = undisturbed(task).contents
        for count in counts:
            results = Path(name, f"together{count}")
            processes = [start(results, task) for _ in range(count)]
            ended = [process.wait() for process in processes]
            problems = examine(results) + differences(contents(results), expected)
            problems += [f"one ended with {one.status}" for one in ended if one.status != 0]
            shown = {one.output[one.output.rfind(f"\n{results}") :] for one in ended}
            if len(shown) != 1:
                problems.append("they do not show the same rows")
            problems += [
                f"{folder.name} was computed {times} times"
                for folder in folders(results)
                if (times := (read_record(folder) or {}).get("attempts")) != 1
            ]
            yield Case("processes at once", f"{task}, {count}", "computed once", tuple(problems))


def dead_owner(task: str, count: int, draw: random.Random) -> Iterator[Case]:
    """Kill the process that holds a run's lock while another one waits for it.

    Args:
        task: The task.
        count: Of cases.
        draw: Of the moments.

    Yields:
        A case for each.
    """
    with TemporaryDirectory() as name:
        expected = undisturbed(task).contents
        for turn in range(count):
            results = Path(name, f"dead{turn}")
            owner = start(results, task)
            while owner.process.is_alive() and not list(results.glob("runs/*/*/record.json")):
                time.sleep(0.005)
            waiter = start(results, task)
            limit = time.monotonic() + PATIENCE
            while WAITING not in _text(waiter.log) and time.monotonic() < limit:
                if not waiter.process.is_alive():
                    break
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 0.3))
            killed = owner.kill()
            problems = unlike(waiter.wait(), results, expected)
            outcome = "the waiting one went on" if killed else "the owner had ended"
            yield Case("lock of a dead owner", task, outcome, tuple(problems))


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def clock(task: str) -> Iterator[Case]:
    """Let the time of day jump back by an hour at every third look.

    Args:
        task: The task.

    Yields:
        A case.
    """
    with TemporaryDirectory() as name:
        expected = undisturbed(task).contents
        results = Path(name, "clock")
        ended = run(results, task, disturbance=JumpingClock(3600.0, 3))
        problems = unlike(ended, results, expected)
        for folder in folders(results):
            record = read_record(folder) or {}
            seconds = record.get("wall_seconds", -1.0), record.get("cpu_seconds", -1.0)
            if not all(0 <= value < PATIENCE for value in seconds):
                problems.append(f"{folder.name} took {seconds} seconds")
        yield Case("clock jumps back", task, "no time is negative", tuple(problems))
