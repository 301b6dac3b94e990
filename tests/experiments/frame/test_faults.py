"""What machines do to runs: a small form of `benchmarks/faults.py`, and that it would notice."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks import _fault_disk, _fault_files, _fault_kills, _fault_processes
from benchmarks._fault_runs import Case, Ended, contents, differences, examine, finished
from benchmarks.faults import CHECKS, faults, table
from experiments.frame.files import sha256, write_bytes
from experiments.frame.record_files import RECORD, seal
from experiments.frame.rows import COLUMNS

needs_mount = pytest.mark.skipif(
    not _fault_disk.can_mount(), reason="a small disk can only be mounted by root"
)


def survived(cases: Iterable[Case]) -> list[str]:
    """The outcomes of some cases, all of them without a problem."""
    found = list(cases)
    assert found and not [case for case in found if case.problems]
    return [case.outcome for case in found]


@pytest.mark.slow
def test_a_clock_that_jumps_back_makes_no_time_negative() -> None:
    assert survived(_fault_processes.clock("scan")) == ["no time is negative"]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["scan", "fairness"])
def test_runs_killed_at_random_moments_end_as_if_undisturbed(task: str) -> None:
    outcomes = survived(_fault_kills.at_random(task, 2, random.Random(1)))
    assert outcomes.count("killed") == 2 and outcomes[-1] == "ended as if undisturbed"


@pytest.mark.slow
def test_a_run_killed_before_an_operation_on_a_file_ends_as_if_undisturbed() -> None:
    assert len(survived(_fault_kills.at_operations("scan", 3, random.Random(1)))) == 3


@pytest.mark.slow
def test_a_stored_file_that_was_changed_is_noticed_where_it_is_read() -> None:
    outcomes = survived(_fault_files.changed("scan", 1, random.Random(1), most=4))
    assert len(outcomes) == 8 and "computed again" in outcomes


@needs_mount
@pytest.mark.slow
def test_a_disk_that_fills_up_loses_nothing() -> None:
    survived(_fault_disk.full("scan", 1, random.Random(1)))


@needs_mount
@pytest.mark.slow
def test_a_folder_that_may_only_be_read_shows_what_is_done() -> None:
    assert survived(_fault_disk.read_only("scan")) == ["shown", "refused"]


@pytest.mark.slow
def test_renames_that_fail_lose_nothing() -> None:
    survived(_fault_disk.failing_rename("scan", 1, random.Random(1)))


@pytest.mark.slow
def test_processes_on_the_same_run_compute_it_once() -> None:
    assert survived(_fault_processes.together("scan", (3,))) == ["computed once"]


@pytest.mark.slow
def test_the_process_behind_a_dead_one_goes_on() -> None:
    cases = _fault_processes.dead_owner("scan", 1, random.Random(1))
    assert survived(cases) == ["the waiting one went on"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with one finished run."""
    folder = tmp_path / "runs" / "scan" / "evaluate-a"
    folder.mkdir(parents=True)
    with open(folder / "metrics.csv", "w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([COLUMNS, range(len(COLUMNS))])
    write_bytes(folder / "picture.png", b"picture")
    record = {
        "status": "done",
        "name": folder.name,
        "artefacts": {"picture.png": sha256(folder / "picture.png")},
        "metrics_sha256": sha256(folder / "metrics.csv"),
    }
    (folder / RECORD).write_text(json.dumps(seal(record)))
    return tmp_path


def test_a_whole_folder_has_no_problem(results: Path) -> None:
    assert examine(results) == []
    assert finished(results) == contents(results)
    assert {Path(name).name for name in contents(results)} == {"metrics.csv", "picture.png"}


@pytest.mark.parametrize("name", ["metrics.csv", "picture.png", RECORD])
def test_every_file_that_was_changed_is_a_problem(results: Path, name: str) -> None:
    path = results / "runs" / "scan" / "evaluate-a" / name
    original = path.read_bytes()
    path.write_bytes(_fault_files.flip(original, random.Random(3)))
    assert examine(results)
    path.write_bytes(original[:-2])
    assert examine(results)
    path.write_bytes(original)
    assert not examine(results)


def test_half_a_file_of_an_unfinished_run_is_a_problem(results: Path) -> None:
    folder = results / "runs" / "scan" / "evaluate-a"
    (folder / RECORD).write_text(json.dumps(seal({"status": "running"})))
    (folder / "checkpoint.safetensors").write_bytes(b"half")
    (folder / ".model.safetensors.host-1.tmp").write_bytes(b"half, but of no one's business")
    (problem,) = examine(results)
    assert "checkpoint.safetensors: not a complete safetensors file" in problem


def test_differences_are_named() -> None:
    expected = {"a": "1", "b": "2"}
    assert differences(expected, expected) == []
    assert differences({"a": "1", "b": "3"}, expected) == ["b is not the same"]
    assert differences({"a": "1", "c": "2"}, expected) == ["b is missing", "c is left over"]


def test_a_refusal_is_one_line_and_no_success() -> None:
    assert Ended(1, "running\nrun.py: no room\n").refusal == "run.py: no room"
    assert Ended(0, "run.py: no room\n").refusal is None
    assert Ended(1, "Traceback (most recent call last)\nrun.py: no room\n").refusal is None
    assert Ended(-9, "").refusal is None


def test_a_flip_changes_one_bit() -> None:
    content = bytes(range(100))
    for seed in range(20):
        changed = _fault_files.flip(content, random.Random(seed))
        both = zip(content, changed, strict=True)
        assert sum((one ^ other).bit_count() for one, other in both) == 1


def test_the_table_counts_outcomes_and_names_problems() -> None:
    good = Case("SIGKILL", "scan", "killed", ())
    bad = Case("SIGKILL", "dqn", "killed", ("metrics.csv is not the same",))
    lines = table([good, bad]).splitlines()
    assert lines[2] == f"| SIGKILL | 2 | {CHECKS['SIGKILL']} | 2 killed | 1 |"
    assert lines[-1] == "- SIGKILL, dqn: metrics.csv is not the same"
    assert {"kills", "changes", "rename", "processes", "lock", "clock"} <= faults(1, 1, 0).keys()
