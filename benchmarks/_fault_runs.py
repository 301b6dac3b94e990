"""Small runs of all tasks that faults are done to, and how to see whether a results folder is well.

A run here is a process of its own that does what ``python run.py`` does. It is forked from a server
which has imported the tasks' modules, so that a moment drawn at random falls into the work and not
into seconds of imports; everything behind the imports is the program's own.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

from experiments.frame.errors import UserError
from experiments.frame.files import load_tensors, sha256
from experiments.frame.record_files import parse_record
from experiments.frame.rows import COLUMNS
from experiments.frame.tasks import TASKS, load_task

ROOT = Path(__file__).parents[1]
#: A run that takes longer hangs.
PATIENCE = 180.0
#: Files of a run folder that may differ between equal runs: times, paths, the lock.
OWN = ("record.json", "config.yaml", "run.lock")
SETTINGS = {
    "scan": "model=RNN task.max_commands=20 task.pretrain.iterations=120"
    " task.pretrain.evaluations=2 task.pretrain.backend=torch task.pretrain.checkpoint_every=20",
    "dqn": "dataset=gridworld task.recipe.steps=1500 task.recipe.keep_from=500 task.episodes=20"
    " task.recipe.keep_every=500 task.recipe.learning_starts=200",
    "cnn": "task.pretrain.dataset=symbols task.pretrain.epochs=3 task.probe.epochs=2"
    " dataset.per_class_train=20 dataset.per_class_test=5 task.feature_batch=8",
    "clip": "model.config.vision_cfg.width=8 model.config.vision_cfg.head_width=16 model.size=32"
    " model.config.text_cfg.width=16 dataset.per_class_train=10 dataset.per_class_test=5"
    " task.pretrain.epochs=3",
    "fairness": "task.sentences=20 task.pretrain.sentences=200 task.pretrain.epochs=1"
    " model=PlantedGPT2 model.width=16 model.heads=2 model.layers=1",
}


class Case(NamedTuple):
    """One thing that was done to a run.

    Attributes:
        fault: Of which kind.
        name: What exactly.
        outcome: How it ended, in a few words.
        problems: What was lost, wrong or half; empty if nothing was.
    """

    fault: str
    name: str
    outcome: str
    problems: tuple[str, ...]


class Disturbance(Protocol):
    """What is done to a process from inside, before it begins."""

    def install(self) -> None:
        """Prepare the process."""


class Process(NamedTuple):
    """A run in progress.

    Attributes:
        process: The process.
        log: The file with what it prints.
    """

    process: BaseProcess
    log: Path

    def wait(self) -> Ended:
        """Wait for its end; one that hangs is killed, which is its status then."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        return Ended(int(self.process.exitcode or 0), self.log.read_text(errors="replace"))

    def kill(self) -> bool:
        """Send SIGKILL; returns whether it came before the end."""
        self.process.kill()
        self.process.join()
        return self.process.exitcode == -9


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        status: Its exit status, or minus the signal.
        output: What it printed.
    """

    status: int
    output: str

    @property
    def refusal(self) -> str | None:
        """The one line with which it refused to go on; None if it did not, or in another way."""
        lines = [line for line in self.output.splitlines() if line.startswith("run.py: ")]
        plain = self.status > 0 and len(lines) == 1 and "Traceback" not in self.output
        return lines[0] if plain else None


@cache
def _server() -> ForkServerContext:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    stages = [stage for name in TASKS for stage in load_task(name).stages.values()]
    modules = sorted({stage.target.partition(":")[0] for stage in stages})
    context.set_forkserver_preload(["experiments.frame.cli", "experiments.frame.runner", *modules])
    return context


def start(results: Path, task: str, *words: str, disturbance: Disturbance | None = None) -> Process:
    """Start the small run of a task.

    Args:
        results: The results folder; its parent must exist, and keeps what is printed.
        task: The task.
        words: Further words of the command line.
        disturbance: What to do to it from inside.
    """
    given = (f"results={results}", "logger=none", f"task={task}", *SETTINGS[task].split(), *words)
    log = results.parent / f"{results.name}-{time.monotonic_ns()}.log"
    process = _server().Process(target=_main, args=(given, log, disturbance))
    process.start()
    return Process(process, log)


def run(results: Path, task: str, *words: str, disturbance: Disturbance | None = None) -> Ended:
    """Do the small run of a task; arguments as for `start`."""
    return start(results, task, *words, disturbance=disturbance).wait()


def _main(words: Sequence[str], log: Path, disturbance: Disturbance | None) -> None:
    """Be ``python run.py``, in a process of its own."""
    from experiments.frame.cli import main

    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.chdir(ROOT)
    sys.argv = ["run.py", *words]
    if disturbance is not None:
        disturbance.install()
    main()


class Undisturbed(NamedTuple):
    """A run that nothing was done to.

    Attributes:
        results: Its results folder, to be left as it is.
        contents: Checksums of its files.
        seconds: From its first folder to its end.
    """

    results: Path
    contents: dict[str, str]
    seconds: float


@cache
def _scratch() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="undisturbed-")


@cache
def undisturbed(task: str) -> Undisturbed:
    """Do the small run of a task, once in this process.

    Args:
        task: The task.

    Raises:
        RuntimeError: If it fails.
    """
    results = Path(_scratch().name, task)
    process = start(results, task)
    wait_for_folder(process, results)
    begin = time.monotonic()
    ended = process.wait()
    if ended.status != 0:
        raise RuntimeError(f"the undisturbed run of {task} failed:\n{ended.output}")
    return Undisturbed(results, contents(results), time.monotonic() - begin)


def wait_for_folder(process: Process, results: Path) -> None:
    """Wait until a run has made the first of its folders."""
    while not (results / "runs").exists() and process.process.is_alive():
        time.sleep(0.005)


def folders(results: Path) -> list[Path]:
    """Return all run folders."""
    return sorted(path for path in (results / "runs").glob("*/*") if path.is_dir())


def contents(results: Path) -> dict[str, str]:
    """Return the checksums of all files whose bytes are the same in equal runs, by path."""
    files = [path for folder in folders(results) for path in folder.iterdir()]
    return {
        str(path.relative_to(results)): sha256(path)
        for path in sorted(files)
        if path.name not in OWN and not path.name.endswith(".tmp")
    }


def finished(results: Path) -> dict[str, str]:
    """Return the checksums of the files of finished runs, by path."""
    done = {str(f.relative_to(results)) for f in folders(results) if _status(f) == "done"}
    return {k: v for k, v in contents(results).items() if k.rpartition("/")[0] in done}


def _status(folder: Path) -> str:
    try:
        return str(parse_record((folder / "record.json").read_text("utf-8"))["status"])
    except (OSError, ValueError, KeyError):
        return ""


def examine(results: Path) -> list[str]:
    """Look at every file of every run; returns what is half, or not what a record says.

    Files under temporary names are no one's business.
    """
    found = []
    for folder in folders(results):
        for path in sorted(folder.iterdir()):
            try:
                _check(path)
            except (UserError, OSError, ValueError, KeyError) as error:
                found.append(f"{path.relative_to(results)}: {error}")
    return found


def _check(path: Path) -> None:
    """Raise an error for a file that is not a whole one."""
    if path.name.endswith(".tmp"):
        return
    if path.name == "record.json":
        record = parse_record(path.read_text("utf-8"))
        if record["status"] != "done":
            return
        expected = {**record["artefacts"], "metrics.csv": record["metrics_sha256"]}
        for name, digest in expected.items():
            if sha256(path.parent / name) != digest:
                raise ValueError(f"{name} is not what the record says")
    elif path.suffix == ".safetensors":
        load_tensors(path)
    elif path.suffix == ".csv":
        text = path.read_bytes().decode()
        lines = list(csv.reader(text.splitlines()))
        if not text.endswith("\n") or len({len(line) for line in lines}) != 1:
            raise ValueError("the table is not whole")
        if path.name == "metrics.csv" and tuple(lines[0]) != COLUMNS:
            raise ValueError("the table has other columns")


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Name the files that differ, are missing or are too many."""
    return [
        *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
        *(f"{name} is left over" for name in sorted(found.keys() - expected.keys())),
        *(
            f"{name} is not the same"
            for name in sorted(found.keys() & expected.keys())
            if found[name] != expected[name]
        ),
    ]


def unlike(ended: Ended, results: Path, expected: dict[str, str]) -> list[str]:
    """Name what tells a run that was let end from one that nobody disturbed.

    Args:
        ended: How it ended.
        results: Its results folder.
        expected: The contents of the other one's.
    """
    problems = examine(results) + differences(contents(results), expected)
    if ended.status != 0:
        problems.append(f"ended with {ended.status}: {ended.output[-300:]}")
    return problems
