"""wandb: offline without a key, one run per record, and never in the way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import tracking
from experiments.errors import UserError
from experiments.schema import RunConfig
from experiments.stages import RunName

NAME = RunName("scan", "evaluate", "evaluate-x-abc123", "abc123", {})
Configure = Callable[..., RunConfig]


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
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

    def refuse(config: RunConfig, name: RunName, mode: str, run_id: str) -> None:
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
    runs = sorted((tmp_path / "results" / "wandb").glob("offline-run-*"))
    folders = sorted((tmp_path / "results" / "runs" / "scan").iterdir())
    assert {run.name.rpartition("-")[2] for run in runs} == {
        folder.name.rpartition("-")[2] for folder in folders
    }
    for run in runs:
        (log,) = run.glob("*.wandb")
        content = log.read_bytes()
        assert b"learning_rate" in content
    assert any(b"accuracy/test" in next(run.glob("*.wandb")).read_bytes() for run in runs)
