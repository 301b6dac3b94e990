"""Sweeps on a real Slurm: stopped and started again, failed and finished; the same numbers."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks._slurm import cluster, metrics, missing, obstruct, running
from tests.experiments.conftest import ROOT, command

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

SCAN = (
    *("experiment=table2", "scale=demo", "dataset=add_jump", "protocol=reference", "model=RNN"),
    *("task.max_commands=5", "task.pretrain.iterations=25000", "task.pretrain.evaluations=1"),
    *("task.pretrain.checkpoint_every=1000", "method=pretrained"),
)
# Nothing departs from scale=demo, so that these runs have a place in a table.
DQN = ("figure2", "scale=demo", "task.regime=demo", "dataset=gridworld", "seed=0")
PATIENCE = 180


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    with cluster() as environment:
        yield environment


class Sweep:
    """A process that has sent a sweep to Slurm and waits for its jobs."""

    def __init__(self, slurm: dict[str, str], results: Path, name: str, *words: str) -> None:
        self.slurm, self.results, self.name = slurm, results, name
        launcher = ("hydra/launcher=submitit_slurm", f"hydra.launcher.name={name}")
        self.process = subprocess.Popen(
            command(results, *launcher, "hydra.launcher.timeout_min=5", *words),
            cwd=ROOT,
            env=slurm,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def job(self, place: int) -> str:
        """Return the job at a place of the array."""
        wait_until(lambda: self.running(place) != [], f"job {place} runs")
        return self.running(place)[0]

    def running(self, place: int) -> list[str]:
        return [job for job in running(self.slurm, self.name) if job.endswith(f"_{place}")]

    def ask(self, *words: str) -> None:
        """Run a command of Slurm's."""
        subprocess.run(words, env=self.slurm, check=True, capture_output=True)

    def end(self) -> tuple[int, list[str]]:
        """Return the exit status and the lines that it wrote to the terminal."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors.splitlines()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.1)


def training(results: Path, seed: int) -> int:
    """The attempt that pretrains on SCAN, once it has a checkpoint of its own; else 0."""
    for path in (results / "runs" / "scan").glob(f"pretrain-*-seed{seed}-*/record.json"):
        record, checkpoint = json.loads(path.read_text()), path.with_name("checkpoint.safetensors")
        if checkpoint.exists() and checkpoint.stat().st_mtime > path.stat().st_mtime:
            return int(record["attempts"])
    return 0


def script(*words: str) -> str:
    ran = [sys.executable, *words]
    return subprocess.run(ran, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_a_disturbed_sweep_ends_with_the_same_numbers_and_a_failed_job_can_be_finished(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    alone, results = tmp_path / "alone", tmp_path / "results"
    methods = "method=pretrained,equitune,equizero"
    sweeps = ((*SCAN, "seed=0,1"), (f"experiment={DQN[0]}", *DQN[1:], methods))
    undisturbed = [
        subprocess.Popen(command(alone, *words), cwd=ROOT, stderr=subprocess.DEVNULL)
        for words in sweeps
    ]
    assert [process.wait(PATIENCE) for process in undisturbed] == [0, 0]
    expected = metrics(alone)
    assert len(expected) == 2 * 2 + 1 + 3
    (fails,) = (name for name in expected if "equizero" in name)
    obstacle = obstruct(results, fails)

    scan, dqn = (
        Sweep(slurm, results, name, *words) for name, words in zip("ab", sweeps, strict=True)
    )
    wait_until(lambda: training(results, 0) == 1, "the first job trains")
    scan.ask("scontrol", "requeue", scan.job(0))
    wait_until(lambda: training(results, 1) == 1, "the second job trains")
    scan.ask("scancel", "--signal=USR2", scan.job(1))
    wait_until(lambda: 2 in (training(results, 0), training(results, 1)), "one trains again")
    scan.ask("sbatch", "--partition=urgent", "--ntasks=4", "--wrap=true", "--output=/dev/null")
    status, lines = scan.end()
    assert status == 0, lines
    status, lines = dqn.end()
    failed = [line for line in lines if " failed: " in line and "method=" in line]
    assert status == 1 and len(failed) == 1, lines
    assert "method=equizero" in failed[0] and "IsADirectoryError" in failed[0]
    assert lines[-1].startswith("run.py: evaluate-gridworld") and "Traceback" not in str(lines)

    assert metrics(results) == {name: expected[name] for name in expected if name != fails}
    attempts: list[int] = []
    for path in (results / "runs" / "scan").glob("pretrain-*/record.json"):
        record = json.loads(path.read_text())
        attempts.append(record["attempts"])
        assert record["submitted"] == {"commit": record["commit"], "dirty": record["dirty"]}
    logs = "".join(path.read_text() for path in (results / "sweeps/slurm").glob("*/*/*.err"))
    assert min(attempts) >= 2 and max(attempts) == 3  # 3: the one that was pre-empted as well
    assert logs.count("resumed from") == sum(attempts) - 2
    for word in ("SIGTERM: stopping", "SIGUSR2: stopping", "this job is timed-out"):
        assert word in logs

    assert fails.partition("/")[2] in script(
        "scripts/runs.py", "list", "--status=failed", f"--results={results}"
    )
    words = (*DQN, methods, "logger=none", f"results={results}", "hydra/launcher=submitit_slurm")
    told = script("scripts/runs.py", "missing", *words).splitlines()
    assert [line.split()[:2] for line in told if line.startswith("failed ")] == [
        ["failed", "method=equizero"]
    ]
    python, program, *finish = shlex.split(told[-1])
    assert (python, program) == ("python", "run.py")

    obstacle.rmdir()
    status, lines = Sweep(slurm, results, "again", *finish).end()
    assert status == 0, lines
    assert metrics(results) == expected
    assert "nothing is missing" in script("scripts/runs.py", "missing", *words)
    for folder in (results, alone):
        shutil.copytree(ROOT / "results/paper", folder / "paper")
    table, other = (
        script("scripts/paper_figures.py", "figure2", "--scale=demo", f"--results={folder}")
        for folder in (results, alone)
    )
    assert "gridworld" in table.lower()
    assert table.replace(str(results), "") == other.replace(str(alone), "")


def test_a_job_that_times_out_too_often_or_is_cancelled_is_one_line(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    words = ("seed=2,3", "hydra.launcher.max_num_timeout=0")
    sweep = Sweep(slurm, tmp_path, "ends", *SCAN, *words)
    wait_until(lambda: training(tmp_path, 2) == 1, "the first job trains")
    sweep.ask("scancel", "--signal=USR2", sweep.job(0))
    wait_until(lambda: training(tmp_path, 3) == 1, "the second job trains")
    sweep.ask("scancel", sweep.job(1))
    status, lines = sweep.end()
    assert status == 1, lines
    first, second = sorted(line for line in lines if " failed: " in line and "seed=" in line)
    assert "Traceback" not in str(lines)
    for line in (first, second):
        reason = "timed-out too many times" if "seed=2" in line else "ended without a result"
        assert reason in line
    assert "seed=2" in first + second and "seed=3" in first + second
    states = script("scripts/runs.py", "list", f"--results={tmp_path}")
    assert states.splitlines()[-1] == "4 runs: 4 interrupted"


@pytest.mark.parametrize(
    ("word", "part"),
    [("partition=nowhere", "invalid partition"), ("mem_gb=much", "mem_gb")],
)
def test_what_sbatch_or_submitit_refuses_is_one_line(
    slurm: dict[str, str], tmp_path: Path, word: str, part: str
) -> None:
    sweep = Sweep(
        slurm, tmp_path, "refused", "hydra.mode=MULTIRUN", "seed=0,1", f"hydra.launcher.{word}"
    )
    status, lines = sweep.end()
    assert status == 1 and len(lines) == 1, lines
    assert lines[0].startswith("run.py: hydra/launcher=submitit_slurm: ") and part in lines[0]
