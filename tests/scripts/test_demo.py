"""The demo: all tasks once, a part that fails does not stop the others, stopped it goes on."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from experiments.frame.tasks import TASKS
from report.artefacts.catalogue import ARTEFACTS
from report.runs.jobs import asked, jobs
from scripts import demo
from scripts._demo_display import DONE, FAILED, RUNNING, Display
from tests.scripts.conftest import ROOT

TINY = (
    "experiment=table2 model=RNN dataset=add_jump protocol=paper method=pretrained "
    "task.max_commands=5 task.pretrain.iterations=1 task.pretrain.evaluations=1 "
    "task.pretrain.backend=torch"
)


@pytest.fixture
def results(tree: Any) -> Path:
    """A results folder with what the repository has of the paper."""
    path: Path = tree.with_claims()
    return path


def step(words: str, task: str = "scan", artefact: str = "scan_variants") -> demo.Step:
    """A part with one sweep."""
    return demo.Step(task, "a test", (words,), 1, (artefact,))


def test_every_task_is_in_it_once_with_artefacts_of_its_own() -> None:
    assert sorted(step.task for step in demo.STEPS) == sorted(TASKS)
    for each in demo.STEPS:
        assert each.artefacts
        assert {ARTEFACTS[name].task for name in each.artefacts} == {each.task}


@pytest.mark.parametrize("each", demo.STEPS, ids=lambda step: step.task)
def test_its_jobs_are_valid_small_and_its_own(each: demo.Step, tmp_path: Path) -> None:
    for call in demo.sweeps(each, 3, tmp_path):
        program, *words = call
        assert program == "run.py"
        assert {"scale=demo", "logger=none", f"results={tmp_path}"} <= set(words)
        seeds = ",".join(str(3 + more) for more in range(each.seeds))
        assert f"seed={seeds}" in words
        found = list(jobs(asked(words)))
        assert found and {job.state for job in found} == {"planned"}
        assert {job.folder and job.folder.parent for job in found} == {
            tmp_path / "runs" / each.task
        }
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["plain", "with space", "a,b", "Work (copy)", "it's", "x=[1]", "ü"]
)
def test_any_folder_can_hold_the_results(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    [call] = demo.sweeps(step(TINY), 0, folder)
    found = list(jobs(asked(call[1:])))
    assert len(found) == 1 and found[0].folder
    assert found[0].folder.parent == folder / "runs" / "scan"


def test_a_part_that_fails_is_shown_and_the_others_are_done(
    results: Path, monkeypatch: Any, capsys: Any
) -> None:
    fails = step("experiment=figure2 method=equizer", "dqn", "figure2")
    monkeypatch.setattr(demo, "STEPS", (fails, step(TINY)))
    assert demo.main(["--results", str(results)]) == 1
    lines = capsys.readouterr().out.splitlines()
    begun, failed, *_ = [line for line in lines if line.startswith("dqn: ")]
    assert begun == "dqn: running: a test"
    assert failed.startswith("dqn: failed: ") and str(results / "demo" / "dqn.log") in failed
    assert any("did you mean equizero" in line for line in lines)
    (again,) = [line for line in lines if line.startswith("To do this part again: python run.py")]
    assert "method=equizer" in again
    assert any(line.startswith("scan: done: ") for line in lines)
    assert lines[-1] == f"Open {results / 'report_demo.html'}"
    assert "runs/scan" in (results / "report_demo.html").read_text(encoding="utf-8")
    assert (results / "demo" / "figures" / "claims.md").is_file()
    assert not (results / "figures").exists()

    # The same again does nothing twice.
    records = {path: path.read_bytes() for path in (results / "runs").rglob("record.json")}
    assert len(records) == 2
    monkeypatch.setattr(demo, "STEPS", (step(TINY),))
    assert demo.main(["--results", str(results)]) == 0
    assert records == {path: path.read_bytes() for path in (results / "runs").rglob("record.json")}


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT, signal.SIGINT]],
    ids=["ended", "terminal closed", "Ctrl-C twice"],
)
def test_stopped_it_ends_all_it_started_and_says_how_to_go_on(
    results: Path, signals: list[signal.Signals]
) -> None:
    words = [sys.executable, "scripts/demo.py", "--only", "scan", "--results", str(results)]
    child = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        records: list[Path] = []
        until = time.monotonic() + 120
        while not records and time.monotonic() < until:
            time.sleep(0.2)
            records = list((results / "runs").rglob("record.json"))
        assert records, child.poll()
        started = _descendants(child.pid)
        assert len(started) >= 2
        asked = time.monotonic()
        for number in signals:
            child.send_signal(number)
            time.sleep(1.5)
        out, error = child.communicate(timeout=90)
        assert time.monotonic() - asked < demo._GRACE, "jobs had to be killed"
    finally:
        child.kill()
    assert child.returncode == 130
    assert out.splitlines() == ["scan: running: LSTMs on SCAN, Table 2"]
    assert error.splitlines() == [
        "stopping: jobs write what they have, up to 30 s",
        "stopped; the same command goes on where it was",
    ]
    assert not _computing(started)
    statuses = {json.loads(path.read_text())["status"] for path in records}
    assert "failed" not in statuses and "done" not in statuses


def _descendants(pid: int) -> set[int]:
    """Processes that a process started, and those that they started."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name, which may have spaces: state, parent.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found, todo = set(), [pid]
    while todo:
        new = children.get(todo.pop(), [])
        found.update(new)
        todo.extend(new)
    return found


def _computing(pids: set[int]) -> set[int]:
    """Those that still exist and are no zombies."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            found |= {pid} if state != "Z" else set()
    return found


def test_bad_words_are_one_line(tmp_path: Path, capsys: Any) -> None:
    assert demo.main(["--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"demo.py: {tmp_path}/paper/claims.yaml: no such file\n"
    with pytest.raises(SystemExit) as caught:
        demo.main(["--seed", "-1"])
    assert caught.value.code == 2


def test_a_terminal_shows_all_parts_and_a_log_one_line_for_each_change() -> None:
    plain = Console(record=True, width=80, force_terminal=False, file=io.StringIO())
    with Display({"a": "first", "b": "second"}, plain) as display:
        display.show("a", RUNNING, "")
        display.show("a", RUNNING, "2 runs")
        display.show("a", DONE, "3 s")
        display.show("b", FAILED, "4 s")
    lines = plain.export_text().splitlines()
    assert lines == [
        "a: running: first",
        "a: done: 3 s",
        "b: failed: 4 s",
    ]
    path = "results/demo/figures/figure2_training.png"
    screen = Console(record=True, width=80, force_terminal=True, file=io.StringIO())
    with Display({"a": "first", "b": "second"}, screen) as display:
        display.show("a", RUNNING, "2 runs")
        display.show("b", DONE, f"44 s, see {path}")
    shown = screen.export_text()
    assert "running  first" in shown and path in shown
