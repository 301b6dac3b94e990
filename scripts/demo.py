"""Run all five tasks at demo scale, then draw figures, judge claims and write the report.

    python scripts/demo.py

Takes minutes and no download. What is finished is never done twice: stopped, the same command goes
on where it was.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Self

# Run as a file, Python puts this folder on the path, not its parent, which holds `scripts`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.frame.cli import BAD_INPUT
from experiments.frame.terminal import run_program
from report.claims.file import read_claims
from report.claims.verdicts import FILE
from report.options import figures_folder
from report.runs.jobs import count, quoted
from scripts._arguments import ROOT, Parser, refused
from scripts._demo_display import DONE, FAILED, RUNNING, Display

_SHOWN_LINES = 8
_STOPPED = 130
# Longer than a job of any task needs to write what it has.
_GRACE = 30.0
_INTERVAL = 0.5
# Steps at a time: the long trainings on images use one core.
_LANES = 2
# Of a terminal (Ctrl-C, and that it was closed) and of whoever ends programs.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a job of a sweep logs at its end, new or found.
_JOB_DONE = re.compile(r"evaluate-\S+: done (?:in|before)")


class Step(NamedTuple):
    """What is run of one task.

    Attributes:
        task: The task.
        title: What it is, for the display.
        sweeps: Words of each call of run.py, but for scale, seed and launcher.
        seeds: How many seeds, counted from the user's.
        artefacts: What is built from its rows; the first is the one to look at.
    """

    task: str
    title: str
    sweeps: tuple[str, ...]
    seeds: int
    artefacts: tuple[str, ...]


# The quickest first: something to look at after a minute.
STEPS = (
    Step(
        "dqn",
        "Q-networks on three environments, Figure 2",
        ("experiment=figure2 task.regime=demo",),
        3,
        ("figure2", "figure2_training"),
    ),
    Step(
        "fairness",
        "sentences of a small biased language model, Figure 3",
        ("experiment=figure3 model=PlantedGPT2",),
        1,
        ("figure3", "figure3_shares", "fairness_gaps", "fairness_lambda"),
    ),
    Step(
        "cnn",
        "probing a CNN on turned pictograms, Figure 5b",
        ("experiment=figure5b dataset=symbols",),
        1,
        ("figure5b",),
    ),
    Step(
        "clip",
        "a small CLIP on turned pictograms, Figures 8 and 12",
        (
            "experiment=figure8 model=SmallCLIP dataset=symbols",
            "experiment=figure12 model=SmallCLIP dataset=symbols",
        ),
        1,
        ("figure8", "figure12", "clip_zero_shot"),
    ),
    Step("scan", "LSTMs on SCAN, Table 2", ("experiment=table2",), 1, ("table2",)),
)


class Stopped(Exception):
    """The user, or the system, asked to stop."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The choices of a command line: seed, results, only."""
    parser = Parser(prog="demo.py", description="All five tasks at demo scale, and the report.")
    parser.add_argument("--seed", type=_seed, default=0, help="the first seed (default: 0)")
    parser.add_results()
    tasks = [step.task for step in STEPS]
    parser.add_argument(
        "--only", nargs="+", choices=tasks, default=tasks, help="tasks (default: all)"
    )
    return parser.parse_args(arguments)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def sweeps(step: Step, seed: int, results: Path) -> Iterator[list[str]]:
    """The words of each call of run.py after `python`, from the first seed on."""
    seeds = ",".join(str(seed + more) for more in range(step.seeds))
    for words in step.sweeps:
        yield [
            *("run.py", *words.split(), "scale=demo", f"seed={seeds}"),
            *("logger=none", "hydra/launcher=joblib", f"results={quoted(results)}"),
        ]


def reports(step: Step, results: Path) -> list[str]:
    """The words after `python` of the call that builds a step's figures and tables."""
    return [
        *("scripts/paper_figures.py", "--results", str(results), "--scale", "demo"),
        *step.artefacts,
    ]


class Stop:
    """Notes that the user, or the system, asked to stop; a context in which signals do so."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.asked = False
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        """Catch the signals of a terminal, and of whoever ends programs."""
        self._before = [signal.signal(kind, self) for kind in _SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for kind, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(kind, handler)

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Note one, and say so; further ones change nothing, since jobs are being ended already."""
        if self.asked:
            return
        self.asked = True
        with suppress(OSError):
            print(f"stopping: jobs write what they have, up to {_GRACE:.0f} s", file=sys.stderr)


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
        well: Whether its status was 0.
        cpu: CPU seconds of it and of all that it started and waited for.
    """

    well: bool
    cpu: float


def call(words: Sequence[str], log: Path, wait: Callable[[], None], stop: Stop) -> Ended:
    """Run a Python program of this checkout; its output is appended to the file `log`.

    `wait` is called twice a second while it runs. `Stopped` is raised if asked to stop; the program
    and all that it started have ended then.
    """
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"$ {shlex.join(['python', *words])}\n")
        stream.flush()
        child = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not stop.asked:
                pid, status, used = os.wait4(child.pid, os.WNOHANG)
                if pid:
                    child.returncode = os.waitstatus_to_exitcode(status)
                    return Ended(child.returncode == 0, used.ru_utime + used.ru_stime)
                wait()
                time.sleep(_INTERVAL)
            raise Stopped
        finally:
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a program that still runs and all of its group, gently first: jobs write what they have.

    Its jobs may outlive it, until their next checkpoint.
    """
    if child.poll() is not None:
        return
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, kind)
        until = time.monotonic() + _GRACE
        while time.monotonic() < until:
            child.poll()
            if not _has_members(child.pid):
                return
            time.sleep(_INTERVAL / 5)


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _count(step: Step, seed: int, results: Path) -> int:
    """Count the runs of a step; 0 where its words are refused. Hydra is not made for threads."""
    with suppress(*BAD_INPUT):  # the call itself will say what is wrong
        return sum(count(words[1:]) for words in sweeps(step, seed, results))
    return 0


def _run(step: Step, total: int, seed: int, results: Path, display: Display, stop: Stop) -> bool:
    """Do a step: its sweeps, then what is built from their rows."""
    if stop.asked:
        raise Stopped
    log = results / "demo" / f"{step.task}.log"
    log.write_text("", encoding="utf-8")

    def show() -> None:
        done = len(_JOB_DONE.findall(log.read_text(encoding="utf-8", errors="replace")))
        display.show(step.task, RUNNING, f"{done} of {total} runs" if total else f"{done} runs")

    start, spent = time.monotonic(), 0.0
    display.show(step.task, RUNNING, "")
    for words in (*sweeps(step, seed, results), reports(step, results)):
        ended = call(words, log, show, stop)
        spent += ended.cpu
        if not ended.well:
            display.show(step.task, FAILED, f"{time.monotonic() - start:.0f} s, see {_near(log)}")
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
            again = shlex.join(["python", *words])
            display.say("\n".join([*tail, f"To do this part again: {again}"]))
            return False
    shown = _near(_first_file(figures_folder(results, "demo") / step.artefacts[0]))
    took = f"{time.monotonic() - start:.0f} s ({spent:.0f} s of CPU)"
    display.show(step.task, DONE, f"{took}, see {shown}")
    return True


def _near(path: Path) -> str:
    """Write a path as it is seen from here, if that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _first_file(stem: Path) -> Path:
    picture = stem.with_suffix(".png")
    return picture if picture.is_file() else stem.with_suffix(".md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps, then claims and report.

    The status is 1 where a part failed, 2 where the results are refused, 130 where it was stopped.
    """
    chosen = parse_arguments(arguments)
    results = chosen.results.resolve()
    try:
        read_claims(results / FILE)
        (results / "demo").mkdir(exist_ok=True)
    except (ValueError, OSError) as error:
        return refused(error, "demo.py")
    steps = [step for step in STEPS if step.task in chosen.only]
    end = (
        [
            *("scripts/claims.py", "--results", str(results), "--scale", "demo"),
        ],
        ["scripts/report.py", "--results", str(results), "--scale", "demo"],
    )
    start = time.monotonic()
    try:
        with Stop() as stop, Display({step.task: step.title for step in steps}) as display:
            totals = [_count(step, chosen.seed, results) for step in steps]
            run = partial(_run, seed=chosen.seed, results=results, display=display, stop=stop)
            with ThreadPoolExecutor(_LANES) as lanes:
                passed = list(lanes.map(run, steps, totals))
            log = results / "demo" / "report.log"
            log.write_text("", encoding="utf-8")
            written = [call(words, log, lambda: None, stop).well for words in end]
    except Stopped:
        with suppress(OSError):
            print("stopped; the same command goes on where it was", file=sys.stderr)
        return _STOPPED
    print(f"{time.monotonic() - start:.0f} s in all")
    if not all(written):
        print(f"demo.py: no report; see {log}", file=sys.stderr)
        return 1
    print(f"Open {results / 'report_demo.html'}")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    run_program(main)
