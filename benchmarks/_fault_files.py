"""Stored files that are changed: a bit is flipped, or the end is cut off."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._fault_inside import KillAt
from benchmarks._fault_runs import Case, Ended, contents, differences, folders, run, undisturbed

#: Files that nothing is read from: people look at them.
FOR_PEOPLE = ("config.yaml",)
#: Of each task, a file whose renaming a run is killed at, so that files of unfinished runs stay.
UNFINISHED = {
    "scan": ("checkpoint.safetensors", 2),
    "cnn": ("features-00000064.safetensors", 1),
    "fairness": ("sentences.csv", 1),
}


def changed(task: str, flips: int, draw: random.Random, most: int | None = None) -> Iterator[Case]:
    """Change every kind of file that a task stores, and give the same command again.

    Runs that build on the changed one are removed before, so that it is read.

    Args:
        task: The task.
        flips: Of bits, for each file; each is cut once, too.
        draw: Of the places.
        most: How many files, drawn; all of them if None.

    Yields:
        A case for each change.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        plain, half = undisturbed(task), folder / "half"
        stored = [
            (plain.results, path)
            for each in folders(plain.results)
            for path in sorted(each.iterdir())
            if path.name != "run.lock"
        ]
        if task in UNFINISHED:
            ending, count = UNFINISHED[task]
            run(half, task, disturbance=KillAt(half, count, ending))
            stored += [
                (half, path)
                for each in folders(half)
                for path in sorted(each.iterdir())
                if path.name.startswith(("checkpoint", "features-"))
            ]
        if most is not None:
            stored = draw.sample(stored, most)
        for origin, source in stored:
            yield from _change(folder / "changed", origin, source, task, flips, draw)


def _change(
    results: Path, origin: Path, source: Path, task: str, flips: int, draw: random.Random
) -> Iterator[Case]:
    whole = not source.name.startswith(("checkpoint", "features-"))
    ways: list[tuple[str, Callable[[bytes], bytes]]] = [
        *[("bit flip", lambda content: flip(content, draw)) for _ in range(flips)],
        ("truncation", lambda content: content[: draw.randrange(len(content))]),
    ]
    for fault, way in ways:
        shutil.copytree(origin, results)
        path = results / source.relative_to(origin)
        before = path.read_bytes()
        path.write_bytes(way(before))
        if whole and not path.parent.name.startswith("evaluate-"):
            for other in folders(results):
                if other != path.parent:
                    shutil.rmtree(other)
        ended = run(results, task)
        name = f"{task} {path.parent.name.partition('-')[0]}/{path.name}"
        yield _judge(
            fault, name, path, before, ended, contents(results), undisturbed(task).contents
        )
        shutil.rmtree(results)


def _judge(
    fault: str,
    name: str,
    path: Path,
    before: bytes,
    ended: Ended,
    found: dict[str, str],
    expected: dict[str, str],
) -> Case:
    """Say how it ended; a number or an artefact that is not the right one is a problem."""
    if ended.status != 0:
        line = ended.refusal
        problems = () if line else (f"ended with {ended.status}: {ended.output[-300:]}",)
        return Case(fault, name, "refused", problems)
    # A run that is whole does not ask for those before it.
    wrong = differences(found, {key: value for key, value in expected.items() if key in found})
    noticed = "again" in ended.output or "from the beginning" in ended.output
    if noticed:
        return Case(fault, name, "computed again", tuple(wrong))
    if path.name in FOR_PEOPLE:
        return Case(fault, name, "not noticed, not read", tuple(wrong))
    if path.exists() and path.read_bytes() != before:
        wrong.append("the change was not noticed")
    return Case(fault, name, "without effect", tuple(wrong))


def flip(content: bytes, draw: random.Random) -> bytes:
    """Return the bytes with one bit changed."""
    changed = bytearray(content)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)
