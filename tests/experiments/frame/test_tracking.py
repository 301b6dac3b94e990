"""wandb: offline without a key, one run per record, and never in the way."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from experiments.frame import tracking
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from experiments.frame.records import Run
from experiments.frame.stages import RunName
from tests.experiments.metrics import rows
from tests.experiments.wandb_log import read_ended_log, read_log

NAME = RunName("scan", "evaluate", "evaluate-x-abc123", "abc123", {})
Configure = Callable[..., AnyConfig]


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC", *tracking.JOBS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


class FakeRun:
    """Records what it is told; raises once `broken`."""

    def __init__(self) -> None:
        self.logged: list[tuple[dict[str, float], int]] = []
        self.summary: dict[str, float] = {}
        self.exit_codes: list[int] = []
        self.broken = False

    def log(self, values: dict[str, float], step: int) -> None:
        if self.broken:
            raise RuntimeError("no more")
        self.logged.append((values, step))

    def finish(self, exit_code: int) -> None:
        self.exit_codes.append(exit_code)


def test_online_needs_a_key_and_a_server_and_the_environment_wins(
    no_key: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    monkeypatch.setattr(tracking, "reachable", lambda *server: asked.append(server) or True)
    assert tracking.choose_mode("auto") == "offline"
    assert tracking.choose_mode("online") == "offline"  # it would ask for a key
    assert not asked  # without a key nobody is called
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password x\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert tracking.choose_mode("auto") == "online"
    assert asked == [("api.wandb.ai", 443)]
    assert tracking.choose_mode("offline") == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert tracking.choose_mode("online") == "disabled"
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(tracking, "reachable", lambda host, port: False)
    assert tracking.choose_mode("auto") == "offline"


@pytest.mark.parametrize("name", ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"])
def test_a_job_of_a_cluster_is_offline_unless_told_otherwise(
    no_key: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(tracking, "reachable", lambda host, port: True)
    assert tracking.choose_mode("auto") == "online"
    monkeypatch.setenv(name, "17")
    assert tracking.choose_mode("auto") == "offline"
    assert tracking.choose_mode("online") == "online"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert tracking.choose_mode("auto") == "online"


def test_surroundings_that_cannot_be_read_are_named_and_logged_offline(
    no_key: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".netrc").write_bytes(
        "machine elsewhere login Müller password x\n".encode("latin-1")
    )
    (tmp_path / ".netrc").chmod(0o600)
    assert tracking.choose_mode("auto") == "offline"
    assert f"{tmp_path}/.netrc cannot be read" in caplog.messages[-1]
    (tmp_path / ".netrc").write_text("machine elsewhere nonsense\n")
    assert tracking.choose_mode("online") == "offline"
    assert f"{tmp_path}/.netrc cannot be read" in caplog.messages[-1]
    for key in ("", "0" * 40):
        monkeypatch.setenv("WANDB_API_KEY", key)
        for address in ("http://localhost:80a", "http://[::1", "http://localhost:99999999"):
            monkeypatch.setenv("WANDB_BASE_URL", address)
            assert tracking.choose_mode("auto") == "offline"
            assert f"WANDB_BASE_URL={address} is no address" in caplog.messages[-1]
            assert "\n" not in caplog.messages[-1]


def test_a_server_that_is_not_there_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    tracking.reachable.cache_clear()
    assert tracking.choose_mode("online") == "offline"


def test_a_run_is_logged_named_by_its_hash_and_finished(
    configure: Configure, no_key: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, started = FakeRun(), []
    monkeypatch.setattr(tracking, "_start", lambda *given: started.append(given) or fake)
    with tracking.open_tracker(configure("logger=wandb"), NAME) as tracker:
        tracker.log({"loss": 1.0}, 10)
        tracker.log_row("accuracy", 75.0, {"split": "test", "step": ""})
        tracker.log_row("accuracy", 50.0, {"split": "validation", "step": 100})
    assert fake.logged == [({"loss": 1.0}, 10)]
    assert fake.summary == {"accuracy/test": 75.0}
    assert fake.exit_codes == [0]
    assert started[0][1:] == (NAME, "offline", NAME.hash)


def test_a_failing_run_is_finished_as_failed(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeRun()
    monkeypatch.setattr(tracking, "_start", lambda *given: fake)
    with (
        pytest.raises(UserError),
        tracking.open_tracker(configure("logger=wandb"), NAME) as tracker,
    ):
        tracker.failed()
        raise UserError("bad")
    assert fake.exit_codes == [1]


def test_wandb_that_breaks_is_dropped_with_one_warning(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeRun()
    fake.broken = True
    monkeypatch.setattr(tracking, "_start", lambda *given: fake)
    with tracking.open_tracker(configure("logger=wandb"), NAME) as tracker:
        tracker.log({"loss": 1.0}, 1)
        tracker.log({"loss": 1.0}, 2)
    assert caplog.text.count("wandb stopped (no more)") == 1
    assert fake.exit_codes == [0]  # finished all the same


def test_wandb_that_cannot_start_online_goes_offline_and_then_away(
    configure: Configure, no_key: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(tracking, "reachable", lambda host, port: True)
    attempts = []

    def refuse(config: AnyConfig, name: RunName, mode: str, run_id: str) -> None:
        attempts.append((mode, run_id))
        raise ConnectionError("no network")

    monkeypatch.setattr(tracking, "_start", refuse)
    with tracking.open_tracker(configure("logger=wandb"), NAME) as tracker:
        tracker.log({"loss": 1.0}, 1)
    assert attempts == [("online", "abc123"), ("offline", "abc123-offline")]
    assert type(tracker) is tracking.Tracker


def test_a_real_offline_run_leaves_its_files_and_asks_nothing(
    no_key: None, run_py: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    result = run_py(
        "logger=wandb",
        "task.max_commands=20",
        "task.pretrain.iterations=10",
        "task.pretrain.evaluations=1",
        "task.pretrain.backend=torch",
        "model=RNN",
    )
    assert result.returncode == 0, result.stderr
    assert "wandb (" not in result.stderr, result.stderr
    logs = [read_log(path) for path in (tmp_path / "results").glob("wandb/offline-run-*/*.wandb")]
    folders = sorted((tmp_path / "results" / "runs" / "scan").iterdir())
    assert sorted(log.run.display_name for log in logs) == [folder.name for folder in folders]
    for log in logs:
        assert log.run.display_name.endswith(f"-{log.run.run_id}")
        assert (log.run.project, log.run.run_group) == ("equitune", "scan")
        assert log.config["task"]["pretrain"]["learning_rate"] == 1e-4
        assert log.config["model"]["cell"] == "RNN" and log.exit_code == 0
    evaluation, pretraining = sorted(logs, key=lambda log: str(log.run.job_type))
    (row,) = rows(folders[0], metric="accuracy", split="test")
    assert row["variant"]  # a run this small departs from its protocol
    assert evaluation.summary[f"accuracy/test/{row['variant']}"] == float(row["value"])
    assert pretraining.history[-1]["_step"] == 10


def test_config_curve_numbers_and_picture_are_in_the_file_of_a_run(
    configure: Configure, no_key: None, tmp_path: Path
) -> None:
    config = dataclasses.replace(configure("logger=wandb", "seed=3"), preset="table2")
    picture = tmp_path / "shown.png"
    Image.new("RGB", (4, 4)).save(picture)
    with tracking.open_tracker(config, NAME) as tracker:
        for step in range(1, 2000):  # more than a block of the log
            tracker.log({"loss": 1 / step}, step)
        tracker.log_row("accuracy", 75.0, {"split": "test", "step": ""})
        tracker.log_picture("shown.png", picture)
        tracker.failed()
    (path,) = (tmp_path / "results").glob("wandb/offline-run-*/*.wandb")
    log = read_ended_log(path)
    assert (log.run.run_id, log.run.display_name) == (NAME.hash, NAME.folder)
    assert (log.run.run_group, log.run.job_type) == ("table2", "evaluate")
    assert log.config["seed"] == 3 and log.config["method"]["name"] == "equizero"
    assert len(log.history) == 1999
    for number, step in enumerate(log.history, start=1):
        assert (step["_step"], step["loss"]) == (number, 1 / number)
    assert log.summary["accuracy/test"] == 75.0 and log.exit_code == 1
    (copy,) = (path.parent / "files" / "media" / "images").glob("shown*")
    assert copy.read_bytes() == picture.read_bytes()


@pytest.mark.parametrize("address", ["http://localhost:80a", "nonsense", "http://wandb.ai", ""])
def test_without_a_usable_address_a_run_is_logged_offline_and_one_line_says_so(
    configure: Configure,
    no_key: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    address: str,
) -> None:
    import wandb

    wandb.teardown()  # it reads its surroundings once
    monkeypatch.setenv("WANDB_BASE_URL", address)
    with tracking.open_tracker(configure("logger=wandb"), NAME) as tracker:
        tracker.log({"loss": 1.0}, 1)
    (path,) = (tmp_path / "results").glob("wandb/offline-run-*/*.wandb")
    assert read_ended_log(path).run.run_id == NAME.hash
    assert os.environ["WANDB_BASE_URL"] == address
    lines = [record.getMessage() for record in caplog.records if record.name == tracking.__name__]
    known = address in ("http://localhost:80a", "nonsense")
    assert len(lines) == known
    assert all(f"WANDB_BASE_URL={address} is no address" in line for line in lines)


def test_a_stored_picture_is_logged_and_other_files_are_not(
    configure: Configure, tmp_path: Path
) -> None:
    class Pictures(tracking.Tracker):
        def __init__(self) -> None:
            self.found: list[str] = []

        def log_picture(self, name: str, path: Path) -> None:
            assert path.read_bytes() == b"content"
            self.found.append(name)

    pictures, config = Pictures(), configure()
    run = Run(
        tmp_path,
        NAME,
        config,
        need=lambda stage, _: pytest.fail(stage),
        tracker=pictures,
        stop_requested=lambda: False,
    )
    run.save_bytes("shown.png", b"content")
    run.save_bytes("sentences.csv", b"content")
    assert pictures.found == ["shown.png"]


def test_a_missing_wandb_is_one_warning(
    configure: Configure,
    no_key: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with tracking.open_tracker(configure("logger=wandb"), NAME) as tracker:
        tracker.log({"loss": 1.0}, 1)
    assert type(tracker) is tracking.Tracker
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("wandb (offline) could not start: import of wandb halted")
