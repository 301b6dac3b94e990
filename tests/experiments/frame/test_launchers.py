"""Launchers without a cluster: presets, refusals, GPUs, failed and stopped jobs of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from benchmarks._slurm import metrics, obstruct
from experiments.frame.conf import CONF
from experiments.frame.slurm import Queue, is_preempted
from hydra_plugins.equitune_launchers import DEAF, LocalLauncher
from tests.experiments.conftest import ROOT, command

RunPy = Callable[..., subprocess.CompletedProcess[str]]
LAUNCHERS = sorted(path.stem for path in (CONF / "hydra" / "launcher").glob("*.yaml"))
DQN = (
    *(
        "hydra.mode=MULTIRUN",
        "task=dqn",
        "dataset=gridworld",
        "task.recipe.steps=600",
        "task.recipe.keep_from=300",
    ),
    *("task.episodes=10", "method=pretrained,equitune"),
)


def launcher(*words: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", words, return_hydra_config=True).hydra.launcher


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_presets_take_the_place_of_the_plugins_own(
    name: str, recwarn: pytest.WarningsRecorder
) -> None:
    values = launcher(f"hydra/launcher={name}")
    assert not [warning for warning in recwarn if "ConfigStore" in str(warning.message)]
    text = (CONF / "hydra" / "launcher" / f"{name}.yaml").read_text()
    assert {line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()} | {
        "_target_"
    } == set(values)


def test_jobs_of_slurm_are_sent_again_after_a_time_limit() -> None:
    values = launcher("hydra/launcher=submitit_slurm", "hydra.launcher.account=mine")
    assert values.max_num_timeout > 0 and values.additional_parameters.requeue
    assert values.account == "mine"
    with pytest.raises(Exception, match="acount"):
        launcher("hydra/launcher=submitit_slurm", "hydra.launcher.acount=mine")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("hydra/launcher=submitit_slrum", ["did you mean submitit_slurm?", "joblib"]),
        ("hydra/launcher=submitit_slurm", ["sbatch is not on this machine", "submitit_local"]),
        ("hydra/launcher=submitit_local hydra.launcher.gpu=[0]", ["gpu", "gpus", "n_jobs"]),
        ("hydra/launcher=submitit_local hydra.launcher.n_jobs=0", ["n_jobs=0", "at least 1"]),
        ("hydra/launcher=submitit_local hydra.launcher.timeout_min=long", ["timeout_min=long"]),
        ("hydra/launcher=submitit_local hydra.launcher.gpus=8", ["gpus=8", "[0,1]"]),
    ],
)
def test_a_launcher_that_cannot_be_is_one_line(
    run_py: RunPy, tmp_path: Path, words: str, parts: list[str]
) -> None:
    result = run_py("hydra.mode=MULTIRUN", *words.split(), PATH=str(tmp_path))
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("run.py: ") and not [part for part in parts if part not in line]
    assert not (tmp_path / "results").exists()


class Echo(LocalLauncher):
    """Jobs that say which GPUs they saw, and when."""

    def __call__(self, number: int) -> Any:
        start = time.time()
        time.sleep(0.5)
        return os.environ["CUDA_VISIBLE_DEVICES"], start, time.time()


@pytest.mark.parametrize(("gpus", "seen"), [([3, 5], {"3", "5"}), ([], {""})])
def test_each_job_has_a_gpu_to_itself(tmp_path: Path, gpus: list[int], seen: set[str]) -> None:
    given = {"timeout_min": 5, "signal_delay_s": 30, "max_num_timeout": 0, "n_jobs": 2}
    echo = Echo(submitit_folder=str(tmp_path / "%j"), gpus=gpus, **given)
    ended = {number: job.result() for number, job in echo.run([(number,) for number in range(5)])}
    assert sorted(ended) == list(range(5))
    assert {gpu for gpu, _, _ in ended.values()} == seen
    moments = [start for _, start, _ in ended.values()]
    together = [sum(s <= moment < e for _, s, e in ended.values()) for moment in moments]
    assert max(together) <= 2
    for gpu in seen - {""}:
        spans = sorted((start, end) for own, start, end in ended.values() if own == gpu)
        assert all(first[1] <= second[0] for first, second in pairwise(spans))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The numbers of the sweep that nothing disturbs."""
    alone = tmp_path_factory.mktemp("alone")
    subprocess.run(command(alone, *DQN), cwd=ROOT, check=True, capture_output=True)
    return metrics(alone)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["basic", "joblib", "submitit_local"])
def test_a_failed_job_is_one_line_and_the_others_finish(
    run_py: RunPy, tmp_path: Path, expected: dict[str, bytes], name: str
) -> None:
    (fails,) = (run for run in expected if "pretrained" in run)
    obstacle = obstruct(tmp_path / "results", fails)
    result = run_py(*DQN, f"hydra/launcher={name}")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if " failed: " in line and "=" in line]
    assert ["method=pretrained" in line for line in lines if "method=" in line] == [True]
    assert result.stderr.splitlines()[-1].startswith("run.py: evaluate-gridworld")
    assert metrics(tmp_path / "results") == {n: expected[n] for n in expected if n != fails}
    obstacle.rmdir()
    assert run_py(*DQN, f"hydra/launcher={name}").returncode == 0
    assert metrics(tmp_path / "results") == expected


def workers(results: Path) -> list[int]:
    """The processes of this machine that do jobs of a sweep."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if "submitit.core._submit" in words and str(results) in words[-2]:
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc")
def test_a_job_that_is_near_its_time_limit_saves_and_is_started_again(tmp_path: Path) -> None:
    words = (
        *("hydra.mode=MULTIRUN", "model=RNN", "method=pretrained", "task.max_commands=5"),
        *("task.pretrain.iterations=20000", "task.pretrain.evaluations=1"),
        "task.pretrain.checkpoint_every=1000",
    )
    subprocess.run(command(tmp_path / "alone", *words), cwd=ROOT, check=True, capture_output=True)
    results = tmp_path / "results"
    sweep = subprocess.Popen(
        command(results, *words, "hydra/launcher=submitit_local"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = time.monotonic() + 120
    while not list(results.glob("runs/scan/*/checkpoint.safetensors")):
        assert sweep.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    for worker in workers(results):
        os.kill(worker, signal.SIGUSR2)
    _, errors = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, errors
    assert metrics(results) == metrics(tmp_path / "alone")
    (log,) = results.glob("sweeps/local/*/*/*.err")
    assert "resumed from" in log.read_text()


def test_a_job_that_is_starting_is_deaf_to_signals_until_it_handles_them() -> None:
    program = (
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM); "
        "signal.signal(signal.SIGTERM, lambda *_: print('heard')); "
        "os.kill(os.getpid(), signal.SIGTERM)"
    )
    words = [sys.executable, "-c", program]
    assert subprocess.run(words, capture_output=True).returncode == -signal.SIGTERM
    deaf = subprocess.run([*DEAF, *words], capture_output=True, text=True)
    assert (deaf.returncode, deaf.stdout) == (0, "heard\n")


def test_a_job_is_over_only_if_slurm_says_so_or_has_forgotten_it() -> None:
    queue = Queue()
    states = ("PENDING", "REQUEUED", "CONFIGURING", "PREEMPTED", "SUSPENDED", "COMPLETING")
    ends = ("COMPLETED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL")
    answer = "".join(f"7_{place}|{state}\n" for place, state in enumerate((*states, *ends)))
    for place in range(len(states) + len(ends) + 1):
        queue.register_job(f"7_{place}")
    queue._info_dict = queue.read_info(answer.encode())
    queue._last_status_check = time.time()
    over = [queue.is_done(f"7_{place}", "cache") for place in range(len(states) + len(ends) + 1)]
    assert over == [False] * len(states) + [True] * (len(ends) + 1)


@pytest.mark.parametrize(
    ("state", "told", "expected"),
    [
        ("RUNNING", "2026-01-01T00:00:00", True),
        ("RUNNING", "None", False),
        ("COMPLETING", "2026-01-01T00:00:00", False),
    ],
)
def test_a_job_is_preempted_while_it_runs_and_has_been_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, told: str, expected: bool
) -> None:
    fake = tmp_path / "scontrol"
    fake.write_text(f'#!/bin/sh\necho "JobId=9 JobState={state} PreemptTime={told} for=$4"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert is_preempted("9_1") is expected
