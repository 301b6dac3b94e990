"""Runs that are killed: at random moments, and before every single operation on files."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._fault_inside import CountOperations, KillAt
from benchmarks._fault_runs import (
    Case,
    examine,
    run,
    start,
    undisturbed,
    unlike,
    wait_for_folder,
)

#: Kills of one results folder, one after the other, before it may end.
IN_A_ROW = 4


def at_random(task: str, count: int, draw: random.Random) -> Iterator[Case]:
    """Kill runs of a task at random moments; between kills the same command goes on.

    Args:
        task: The task.
        count: Of kills; a run that ended before its kill does not count.
        draw: Of the moments.

    Yields:
        A case for each kill, and one for each time that the command was let end.
    """
    with TemporaryDirectory() as name:
        plain = undisturbed(task)
        kills = rounds = 0
        while kills < count and rounds < 4 * count:
            results, rounds = Path(name, f"round{rounds}"), rounds + 1
            for _ in range(min(IN_A_ROW, count - kills)):
                process = start(results, task)
                wait_for_folder(process, results)
                time.sleep(draw.uniform(0, plain.seconds))
                if not process.kill():
                    break
                kills += 1
                yield Case("SIGKILL", task, "killed", tuple(examine(results)))
            yield _to_the_end("SIGKILL", task, results, plain.contents)


def at_operations(task: str, most: int, draw: random.Random) -> Iterator[Case]:
    """Kill a run before an operation on files, each of them in turn or a sample of them.

    Args:
        task: The task.
        most: How many of the operations.
        draw: Of which ones.

    Yields:
        A case for each operation: examined after the kill, and when the command was let end.
    """
    with TemporaryDirectory() as name:
        expected = undisturbed(task).contents
        count = _operations(Path(name), task)
        for place in sorted(draw.sample(range(1, count + 1), min(most, count))):
            results = Path(name, f"operation{place}")
            ended = run(results, task, disturbance=KillAt(results, place))
            problems = examine(results)
            if ended.status != -9:
                problems.append(f"not killed, but ended with {ended.status}")
            case = _to_the_end("killed at a write", f"{task} {place}", results, expected)
            yield case._replace(problems=(*problems, *case.problems))


def _operations(folder: Path, task: str) -> int:
    """Return before how many operations a run can be killed."""
    results, written = folder / "counted", folder / "operations"
    run(results, task, disturbance=CountOperations(results, written))
    return int(written.read_text())


def _to_the_end(fault: str, name: str, results: Path, expected: dict[str, str]) -> Case:
    ended = run(results, name.split()[0])
    problems = unlike(ended, results, expected)
    return Case(fault, name, "ended as if undisturbed", tuple(problems))
