"""Disks that are full, may not be written to, or do not rename."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._fault_inside import FailingRename
from benchmarks._fault_runs import (
    Case,
    Ended,
    contents,
    differences,
    examine,
    finished,
    run,
    undisturbed,
    unlike,
)

_BLOCK = 4096


@contextmanager
def mounted(folder: Path, *words: str) -> Iterator[None]:
    """Mount something at a folder while the body runs.

    Args:
        folder: Where.
        words: What, as for ``mount``.
    """
    subprocess.run(["mount", *words, str(folder)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def can_mount() -> bool:
    """Whether this process may mount a small disk."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    with TemporaryDirectory() as name:
        try:
            with mounted(Path(name), "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def _refused(ended: Ended) -> list[str]:
    if ended.refusal is not None:
        return []
    return [f"not refused in one line, but ended with {ended.status}: {ended.output[-300:]}"]


def full(task: str, count: int, draw: random.Random) -> Iterator[Case]:
    """Let the disk fill up, at a random share of what a run needs; then there is more room.

    Args:
        task: The task.
        count: Of disks.
        draw: Of the shares.

    Yields:
        A case for each disk.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        plain, expected, _ = undisturbed(task)
        sizes = [path.stat().st_size for path in (plain / "runs").rglob("*")]
        needed = sum(-(-size // _BLOCK) * _BLOCK for size in sizes)
        results = folder / "disk"
        results.mkdir()
        for _ in range(count):
            size = max(_BLOCK, int(needed * draw.uniform(0.05, 0.95)) // _BLOCK * _BLOCK)
            with mounted(results, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
                problems = _refused(run(results, task)) + examine(results)
                before = finished(results)
                problems += _refused(run(results, task)) + examine(results)
                problems += [x for x in differences(finished(results), before) if "left" not in x]
                more = ["mount", "-o", "remount,size=256m", str(results)]
                subprocess.run(more, check=True, capture_output=True)
                problems += unlike(run(results, task), results, expected)
            share = f"{task}, room for {100 * size // needed} %"
            yield Case("disk full", share, "refused, then as if undisturbed", tuple(problems))


def read_only(task: str) -> Iterator[Case]:
    """Make the results folder one that may only be read, with and without the finished run.

    Args:
        task: The task.

    Yields:
        A case for each.
    """
    with TemporaryDirectory() as name:
        results = Path(name, "results")
        shutil.copytree(undisturbed(task).results, results)
        before = contents(results)
        with _read_only(results):
            ended = run(results, task)
            problems = differences(contents(results), before)
            if ended.status != 0 or "done before" not in ended.output:
                problems.append(f"ended with {ended.status}: {ended.output[-300:]}")
            yield Case("read-only folder", f"{task}, finished", "shown", tuple(problems))
            problems = _refused(run(results, task, "seed=1"))
            problems += differences(contents(results), before)
            yield Case("read-only folder", f"{task}, not done", "refused", tuple(problems))


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    with mounted(folder, "--bind", str(folder)):
        words = ["mount", "-o", "remount,bind,ro", str(folder)]
        subprocess.run(words, check=True, capture_output=True)
        yield


def failing_rename(task: str, count: int, draw: random.Random) -> Iterator[Case]:
    """Let renaming fail from a random file on.

    Args:
        task: The task.
        count: Of cases.
        draw: Of the files.

    Yields:
        A case for each.
    """
    with TemporaryDirectory() as name:
        expected = undisturbed(task).contents
        for turn in range(count):
            results, after = Path(name, f"rename{turn}"), draw.randrange(9)
            problems = _refused(run(results, task, disturbance=FailingRename(after)))
            problems += examine(results)
            before = finished(results)
            problems += _refused(run(results, task, disturbance=FailingRename(0)))
            problems += examine(results) + differences(finished(results), before)
            problems += unlike(run(results, task), results, expected)
            case = f"{task}, after {after} files"
            yield Case("rename fails", case, "refused, then as if undisturbed", tuple(problems))
