"""The frame: once, resumed, failed, locked, by content, atomically."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import itertools
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock
from omegaconf import OmegaConf

from experiments.frame import machine, records, runner, tasks
from experiments.frame.errors import Interrupted, RunFailed, UserError
from experiments.frame.files import load_tensors, save_tensors, write_atomic
from experiments.frame.options import AnyConfig, LoggerConfig, MethodConfig, NamedConfig
from experiments.frame.record_files import read_record
from experiments.frame.records import find_finished
from experiments.frame.rows import COLUMNS
from experiments.frame.stages import name_run
from experiments.frame.submission import Submission

TOTAL = 50 * 51 / 2


def load_toy() -> None:
    """Register the toy task in this process."""
    path = Path(__file__).parents[1] / "toy.py"
    spec = importlib.util.spec_from_file_location("tests_toy", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tests_toy"] = module
    spec.loader.exec_module(module)
    tasks.TASKS["toy"] = "tests_toy"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AnyConfig:
    monkeypatch.setattr(tasks, "TASKS", dict(tasks.TASKS))
    load_toy()
    return toy_config(tmp_path)


def toy_config(results: Path) -> AnyConfig:
    named = NamedConfig("toy")
    return AnyConfig(
        task=named,
        method=MethodConfig("equitune"),
        group=named,
        model=named,
        dataset=named,
        scale=NamedConfig("demo"),
        protocol=NamedConfig("paper"),
        logger=LoggerConfig("none", "p", None, "auto"),
        stage="evaluate",
        seed=0,
        device="cpu",
        threads=1,
        results=str(results),
    )


def folder(config: AnyConfig, stage: str = "pretrain") -> Path:
    task = tasks.load_task("toy")
    return runner.run_folder(config, name_run(task, task.stages[stage], config))


def counted(config: AnyConfig) -> int:
    path = Path(config.results, "counted")
    return len(path.read_text()) if path.exists() else 0


def test_an_evaluation_starts_what_it_needs_and_writes_tidy_rows(config: AnyConfig) -> None:
    finished = runner.execute(config)
    (row,) = finished.rows()
    assert tuple(row) == COLUMNS
    assert float(row["value"]) == 2 * TOTAL
    assert (row["task"], row["method"], row["seed"], row["scale"]) == (
        "toy",
        "equitune",
        "0",
        "demo",
    )
    record = read_record(finished.folder)
    assert record is not None and record["status"] == "done"
    for key in ("hash", "commit", "dirty", "versions", "seed", "wall_seconds", "cpu_seconds"):
        assert key in record
    assert record["peak_memory_mib"] > 0
    assert (finished.folder / "config.yaml").read_text().startswith("task:")


def test_a_finished_run_is_not_done_again_and_stages_are_shared(config: AnyConfig) -> None:
    first = runner.execute(config)
    stamp = (first.folder / "record.json").stat().st_mtime_ns
    assert runner.execute(config).folder == first.folder
    assert (first.folder / "record.json").stat().st_mtime_ns == stamp
    other = dataclasses.replace(config, method=MethodConfig("equizero"))
    assert runner.execute(other).folder != first.folder
    assert counted(config) == 1


def test_the_name_depends_on_content_and_result_version_only(config: AnyConfig) -> None:
    task = tasks.load_task("toy")
    stage = task.stages["evaluate"]
    name = name_run(task, stage, config)
    elsewhere = dataclasses.replace(config, results="other", device="auto", threads=2)
    assert name_run(task, stage, elsewhere) == name
    assert name_run(task, dataclasses.replace(stage, version=2), config).hash != name.hash
    assert name_run(task, stage, dataclasses.replace(config, seed=1)).hash != name.hash


def test_a_failed_run_says_so_and_the_next_attempt_resumes(config: AnyConfig) -> None:
    Path(config.results, "fail").touch()
    with pytest.raises(RunFailed, match="RuntimeError: asked to fail") as failure:
        runner.execute(config)
    assert "\n" not in str(failure.value)
    record = read_record(folder(config))
    assert record is not None and record["status"] == "failed"
    assert "second line" in record["traceback"] and "RuntimeError" in record["traceback"]
    outer = read_record(folder(config, "evaluate"))
    assert outer is not None and outer["status"] == "failed"
    Path(config.results, "fail").unlink()
    assert float(runner.execute(config).rows()[0]["value"]) == 2 * TOTAL
    again = read_record(folder(config))
    assert again is not None and again["facts"]["resumed_at"] == 20 and again["attempts"] == 2


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_signal_saves_ends_and_the_same_command_resumes(config: AnyConfig, name: str) -> None:
    stop = signal.Signals[name]
    Path(config.results, "stop").write_text(str(int(stop)))
    before = signal.getsignal(stop)
    with pytest.raises(Interrupted):
        runner.execute(config)
    assert signal.getsignal(stop) == before
    record = read_record(folder(config))
    assert record is not None and record["status"] == "interrupted"
    assert float(runner.execute(config).rows()[0]["value"]) == 2 * TOTAL
    again = read_record(folder(config))
    assert again is not None and again["facts"]["resumed_at"] == 31
    assert not (folder(config) / "checkpoint.safetensors").exists()


def test_a_second_signal_ends_at_once(config: AnyConfig) -> None:
    Path(config.results, "stop").write_text(f"{int(signal.SIGTERM)} {int(signal.SIGTERM)}")
    with pytest.raises(Interrupted, match="at once"):
        runner.execute(config)
    assert float(runner.execute(config).rows()[0]["value"]) == 2 * TOTAL
    record = read_record(folder(config))
    assert record is not None and record["facts"]["resumed_at"] == 30  # step 30 was lost


class Scheduler:
    """Handles signals as submitit does in a job: notes what is saved, and ends the process."""

    def __init__(self, path: Path, end: BaseException | None) -> None:
        self.path, self.end, self.seen = path, end, []

    def __call__(self, signum: int, frame: object) -> None:
        record = read_record(self.path)
        assert record is not None
        saved = (self.path / "checkpoint.safetensors").is_file()
        self.seen.append((signum, record["status"], saved))
        if self.end is not None:
            raise self.end


@pytest.mark.parametrize(
    ("end", "expected"),
    [(SystemExit(7), SystemExit), (subprocess.CalledProcessError(1, "scontrol"), Interrupted)],
)
def test_who_handled_a_signal_before_is_called_when_the_state_is_saved(
    config: AnyConfig, end: BaseException, expected: type[BaseException]
) -> None:
    Path(config.results, "stop").write_text(f"{int(signal.SIGTERM)} {int(signal.SIGUSR2)} " * 2)
    bypass = Scheduler(folder(config), None)
    again = Scheduler(folder(config), end)
    before = signal.signal(signal.SIGTERM, bypass), signal.signal(signal.SIGUSR2, again)
    try:
        with pytest.raises(expected):
            runner.execute(config)
        assert signal.getsignal(signal.SIGUSR2) is again
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGUSR2, before[1])
    assert bypass.seen == [(signal.SIGTERM, "interrupted", True)]
    assert again.seen == [(signal.SIGUSR2, "interrupted", True)]
    assert float(runner.execute(config).rows()[0]["value"]) == 2 * TOTAL
    record = read_record(folder(config))
    assert record is not None and record["facts"]["resumed_at"] == 31


def test_a_job_of_a_sweep_records_the_commit_with_which_that_was_started(
    config: AnyConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alone = runner.execute(dataclasses.replace(config, seed=1))
    assert "submitted" not in alone.record
    then, now = {"commit": "a" * 40, "dirty": False}, {"commit": "b" * 40, "dirty": True}
    sweep = Submission()
    monkeypatch.setattr(machine, "commit", lambda: then)
    sweep.on_multirun_start(OmegaConf.create())
    job = pickle.loads(pickle.dumps(sweep))  # as a launcher brings it to another process
    job.on_job_start(OmegaConf.create(), task_function=print)
    assert not caplog.records
    monkeypatch.setattr(machine, "commit", lambda: now)
    try:
        job.on_job_start(OmegaConf.create(), task_function=print)
        record = runner.execute(config).record
    finally:
        machine.note_submitted(None)
    assert record["submitted"] == then
    assert {name: record[name] for name in now} == now
    assert "the code has changed since the sweep began" in caplog.text


def test_a_damaged_checkpoint_is_never_used(
    config: AnyConfig, caplog: pytest.LogCaptureFixture
) -> None:
    Path(config.results, "fail").touch()
    with pytest.raises(RunFailed):
        runner.execute(config)
    path = folder(config) / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    Path(config.results, "fail").unlink()
    assert float(runner.execute(config).rows()[0]["value"]) == 2 * TOTAL
    assert "does not match its checksum" in caplog.text
    record = read_record(folder(config))
    assert record is not None and record["facts"] == {}


@pytest.mark.parametrize("damage", ["cut", "flip", "delete"])
def test_a_damaged_artefact_of_a_finished_run_is_never_used(
    config: AnyConfig, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    runner.execute(dataclasses.replace(config, stage="pretrain"))
    path = folder(config) / "total.safetensors"
    original = path.read_bytes()
    content = bytearray(original)
    if damage == "delete":
        path.unlink()
    else:
        content[-1] ^= 1
        path.write_bytes(content[:-2] if damage == "cut" else content)
    runner.execute(config)
    assert path.read_bytes() == original
    (warning,) = {r.message for r in caplog.records if r.levelname == "WARNING"}
    assert warning.startswith(str(path)) and warning.endswith("the run is computed again")


def test_metrics_that_were_changed_are_computed_again(
    config: AnyConfig, caplog: pytest.LogCaptureFixture
) -> None:
    path = runner.execute(config).folder / "metrics.csv"
    original = path.read_text()
    path.write_text(original.replace("2550.0", "9999.0"))
    assert runner.execute(config).rows()[0]["value"] == "2550.0"
    assert path.read_text() == original
    assert "does not match its record" in caplog.text


def test_a_waiting_process_can_be_stopped(config: AnyConfig) -> None:
    path = folder(config, "evaluate")
    path.mkdir(parents=True)
    with FileLock(path / "run.lock"):
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        with pytest.raises(Interrupted, match="another process held"):
            runner.execute(config)


def test_a_foreign_checkpoint_is_never_resumed(
    config: AnyConfig, caplog: pytest.LogCaptureFixture
) -> None:
    import torch
    from safetensors.torch import save_file

    path = folder(config)
    path.mkdir(parents=True)
    save_file({"total": torch.ones(1)}, path / "checkpoint.safetensors")
    assert float(runner.execute(config).rows()[0]["value"]) == 2 * TOTAL
    assert "starting from the beginning" in caplog.text


@pytest.mark.parametrize("facts", [{"next": 3}, {"next": 3, "spent": [0, 0], "run": "another"}])
def test_a_checkpoint_of_another_run_is_never_resumed(
    config: AnyConfig, caplog: pytest.LogCaptureFixture, facts: dict[str, object]
) -> None:
    import torch

    path = folder(config)
    path.mkdir(parents=True)
    save_tensors(path / "checkpoint.safetensors", {"total": torch.ones(1)}, facts)
    assert float(runner.execute(config).rows()[0]["value"]) == 2 * TOTAL
    assert "is not of this run; starting from the beginning" in caplog.text


def test_a_checkpoint_that_a_killed_run_left_beside_its_results_is_dropped(
    config: AnyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL between the record of a finished run and the removal of its checkpoint."""
    with monkeypatch.context() as patch:
        patch.setattr(records, "tidy", lambda folder: None)
        runner.execute(config)
    assert (folder(config) / "checkpoint.safetensors").is_file()
    runner.execute(dataclasses.replace(config, stage="pretrain"))
    assert not (folder(config) / "checkpoint.safetensors").exists()
    assert counted(config) == 1


def test_a_clock_that_jumps_back_takes_no_time_away(
    config: AnyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 1e9 - 3600 * next(looks))
    outer, inner = runner.execute(config).record, read_record(folder(config))
    assert inner is not None
    for record in (outer, inner):
        assert 0 <= record["wall_seconds"] < 60 and 0 <= record["cpu_seconds"] < 60


def test_an_artefact_of_the_run_that_is_asked_for_is_compared_too(
    config: AnyConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = sys.modules["tests_toy"]
    double = module.double
    monkeypatch.setattr(
        module, "double", lambda c, run: (double(c, run), run.save_bytes("labels.csv", b"right"))
    )
    path = runner.execute(config).folder / "labels.csv"
    path.write_bytes(b"wrong")
    runner.execute(config)
    assert path.read_bytes() == b"right"
    assert "labels.csv does not match the checksum in its record" in caplog.text


def test_time_is_booked_where_it_was_spent(
    config: AnyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["tests_toy"]
    count = module.count
    monkeypatch.setattr(module, "count", lambda c, run: (time.sleep(0.4), count(c, run)))
    outer = runner.execute(config)
    inner = read_record(folder(config))
    assert inner is not None
    assert inner["wall_seconds"] >= 0.4 > outer.record["wall_seconds"]


def test_a_record_that_was_cut_is_not_taken_for_a_finished_run(config: AnyConfig) -> None:
    path = runner.execute(config).folder / "record.json"
    path.write_text(path.read_text()[:100])
    assert find_finished(path.parent) is None
    assert float(runner.execute(config).rows()[0]["value"]) == 2 * TOTAL
    assert json.loads(path.read_text())["status"] == "done"


def _work(results: str) -> None:
    load_toy()
    runner.execute(toy_config(Path(results)))


def test_processes_on_the_same_run_do_it_once(config: AnyConfig) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(config.results,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert counted(config) == 1
    with open(folder(config, "evaluate") / "metrics.csv", newline="") as stream:
        assert [float(row["value"]) for row in csv.DictReader(stream)] == [2 * TOTAL]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def half(temporary: Path) -> None:
        temporary.write_text("ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomic(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_survive_the_round_trip_and_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "a.safetensors"
    tensors = {"x": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}
    save_tensors(path, tensors, {"step": 7})
    loaded, facts = load_tensors(path)
    assert facts == {"step": 7}
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    content = path.read_bytes()
    noticed = 0
    for position in range(8, len(content)):
        changed = bytearray(content)
        changed[position] ^= 4
        path.write_bytes(changed)
        try:
            again, facts = load_tensors(path)
        except UserError:
            noticed += 1
            continue
        # Bytes that carry nothing (padding of the header) may change.
        assert facts == {"step": 7} and torch.equal(again["x"], tensors["x"])
    assert noticed > 0.9 * (len(content) - 8)
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load_tensors(path)


def test_a_number_that_is_not_finite_is_refused(
    config: AnyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys.modules["tests_toy"], "double", lambda config, run: run.row("x", float("nan"))
    )
    with pytest.raises(RunFailed, match="nan, not a finite number"):
        runner.execute(config)
