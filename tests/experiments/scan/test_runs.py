"""Whole SCAN runs as processes: killed, stopped, repeated, damaged. Small budgets, real code."""

from __future__ import annotations

import csv
import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.frame.errors import UserError
from experiments.frame.files import load_tensors, save_tensors
from experiments.frame.options import AnyConfig
from experiments.frame.runner import execute
from experiments.scan.nets.model import Seq2Seq
from tests.experiments.conftest import ROOT, command

SMALL = (
    "task.max_commands=40",
    "task.pretrain.iterations=6000",
    "task.pretrain.evaluations=4",
    "task.pretrain.checkpoint_every=1000",
    "model=RNN",
)
RunPy = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., AnyConfig]


def outcome(results: Path, stage: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return the metrics, the artefacts' checksums and the record of the only run of a stage.

    More of the folder's name, as in `evaluate-*-equizero`, tells runs of a stage apart.
    """
    (folder,) = (results / "runs" / "scan").glob(f"{stage}-*")
    record = json.loads((folder / "record.json").read_text())
    return (folder / "metrics.csv").read_text(), record["artefacts"], record


def saved(results: Path) -> list[int]:
    """Return when the checkpoints below a results folder were written."""
    found = (results / "runs" / "scan").glob("*/checkpoint.safetensors")
    return [path.stat().st_mtime_ns for path in found]


def kill_at_a_random_moment(
    results: Path, *words: str, moments: random.Random, latest: float
) -> bool:
    """Start a run and kill it behind its next checkpoint; return whether it had not ended."""
    before = saved(results)
    process = subprocess.Popen(
        command(results, *words), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    # Every attempt gets somewhat further than the last one, then dies anywhere.
    while saved(results) == before and process.poll() is None:
        time.sleep(0.01)
    time.sleep(moments.uniform(0.0, latest))
    runs = process.poll() is None
    process.kill()
    process.wait()
    return runs


def kill_three_times(results: Path, *words: str, seed: int) -> int:
    """Start a run three times and kill it; return how often it was killed before its end."""
    moments = random.Random(seed)
    return sum(
        kill_at_a_random_moment(results, *words, moments=moments, latest=0.4) for _ in range(3)
    )


def wait_for(results: Path, pattern: str) -> None:
    """Wait until a run has left something behind."""
    for _ in range(600):
        if list((results / "runs" / "scan").glob(pattern)):
            return
        time.sleep(0.05)
    raise TimeoutError(pattern)


def rows(results: Path, stage: str = "evaluate") -> list[dict[str, str]]:
    """Return the metric rows of the only run of a stage."""
    return list(csv.DictReader(outcome(results, stage)[0].splitlines()))


def pretrained(results: Path, copy: Path) -> Path:
    """Copy all runs but the evaluations to another results folder, and return it."""
    shutil.copytree(results / "runs", copy / "runs", ignore=shutil.ignore_patterns("eval*"))
    return copy


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run that nothing disturbed."""
    results = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(results, *SMALL), cwd=ROOT, check=True, capture_output=True)
    return results


def test_the_same_seed_gives_the_same_files_and_another_seed_does_not(
    undisturbed: Path, run_py: RunPy, tmp_path: Path
) -> None:
    assert run_py("hydra.mode=MULTIRUN", *SMALL, "seed=0,1").returncode == 0
    for stage in ("pretrain", "evaluate"):
        again = outcome(tmp_path / "results", f"{stage}-*-seed0")
        assert again[:2] == outcome(undisturbed, stage)[:2]
    other = outcome(tmp_path / "results", "pretrain-*-seed1")
    assert other[1] != outcome(undisturbed, "pretrain")[1]


def test_killed_at_random_moments_it_ends_with_the_same_numbers(
    undisturbed: Path, run_py: RunPy, tmp_path: Path
) -> None:
    assert kill_three_times(tmp_path / "results", *SMALL, seed=7) >= 2
    result = run_py(*SMALL)
    assert result.returncode == 0, result.stderr
    for stage in ("pretrain", "evaluate"):
        assert outcome(tmp_path / "results", stage)[:2] == outcome(undisturbed, stage)[:2]
    assert int(outcome(tmp_path / "results", "pretrain")[2]["attempts"]) > 1


TUNED = (
    "method=equizero",
    "task.finetune.iterations=4500",
    "task.finetune.evaluate_every=1000",
    "task.finetune.checkpoint_every=1000",
)


@pytest.fixture(scope="module")
def tuned(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was fine-tuned without disturbance, from the undisturbed pretrained one."""
    results = pretrained(undisturbed, tmp_path_factory.mktemp("tuned"))
    subprocess.run(command(results, *SMALL, *TUNED), cwd=ROOT, check=True, capture_output=True)
    return results


def test_fine_tuning_improves_and_its_curve_begins_with_the_pretrained_model(
    undisturbed: Path, tuned: Path
) -> None:
    values = {
        row["step"]: float(row["value"])
        for row in rows(tuned)
        if row["metric"] == "accuracy" and row["split"] == "test"
    }
    assert list(values) == ["0", "1000", "2000", "3000", "4000", "4500"]
    zero_shot = next(
        float(row["value"])
        for row in rows(undisturbed)
        if row["metric"] == "accuracy" and row["split"] == "test"
    )
    assert values["0"] == zero_shot
    losses = [float(row["value"]) for row in rows(tuned, "finetune")]
    assert len(losses) == 5 and losses[-1] < losses[0]


def test_fine_tuning_killed_at_random_moments_ends_with_the_same_numbers(
    undisturbed: Path, tuned: Path, run_py: RunPy, tmp_path: Path
) -> None:
    results = pretrained(undisturbed, tmp_path / "results")
    assert kill_three_times(results, *SMALL, *TUNED, seed=3) >= 2
    before = outcome(results, "pretrain")
    result = run_py(*SMALL, *TUNED)
    assert result.returncode == 0, result.stderr
    for stage in ("finetune", "evaluate"):
        assert outcome(results, stage)[:2] == outcome(tuned, stage)[:2]
    assert outcome(results, "pretrain") == before  # not trained twice


@pytest.fixture(scope="module")
def every_method(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every method with both protocols, in an empty folder."""
    results = tmp_path_factory.mktemp("every_method")
    sweep = (
        "hydra.mode=MULTIRUN",
        "method=pretrained,equitune,equizero,lambda_equitune",
        "protocol=reference,paper",
    )
    subprocess.run(command(results, *SMALL, *sweep), cwd=ROOT, check=True, capture_output=True)
    return results


def test_every_method_and_protocol_runs_from_one_pretraining(every_method: Path) -> None:
    folders = list((every_method / "runs" / "scan").iterdir())
    assert len([f for f in folders if f.name.startswith("pretrain-")]) == 1
    assert len([f for f in folders if f.name.startswith("evaluate-")]) == 8
    # Lambda depends on the space of the average, in which the protocols differ.
    assert len([f for f in folders if f.name.startswith("lambda-")]) == 2
    for folder in folders:
        rows = (folder / "metrics.csv").read_text()
        if "evaluate" in folder.name and "pretrained" not in folder.name:
            assert ",equivariance_error,0.0\n" in rows
    weights, facts = load_tensors(
        next(f for f in folders if f.name.startswith("lambda-")) / "lambda.safetensors"
    )
    assert facts["hidden"] == 100 and all(torch.isfinite(w).all() for w in weights.values())


def test_fine_tuning_through_an_average_uses_the_weights_of_the_pretrained_model(
    every_method: Path, run_py: RunPy, tmp_path: Path
) -> None:
    results = pretrained(every_method, tmp_path / "results")
    short = ("task.finetune.iterations=600", "task.finetune.evaluate_every=300")
    sweep = ("hydra.mode=MULTIRUN", "method=equitune,lambda_equitune", "protocol=paper")
    result = run_py(*SMALL, *short, *sweep)
    assert result.returncode == 0, result.stderr
    for method, learned in (("equitune", set()), ("lambda_equitune", {"lambda"})):
        accuracy = {
            (row["split"], row["step"]): row["value"]
            for row in rows(results, f"evaluate-*-{method}")
            if row["metric"] == "accuracy"
        }
        assert [step for split, step in accuracy if split == "test"] == ["0", "300", "600"]
        # Before the first iteration it is the zero-shot method, learned weights included.
        zero_shot = [
            row
            for path in (every_method / "runs" / "scan").glob(f"evaluate-*-{method}-*/metrics.csv")
            for row in csv.DictReader(path.read_text().splitlines())
            if row["metric"] == "accuracy" and row["protocol"] == "paper"
        ]
        assert len(zero_shot) == 2
        assert all(accuracy[row["split"], "0"] == row["value"] for row in zero_shot)
        tuned_on = outcome(results, f"finetune-*-{method}")[2]["built_on"]
        evaluated_on = outcome(results, f"evaluate-*-{method}")[2]["built_on"]
        assert tuned_on.keys() == {"pretrain"} | learned
        assert evaluated_on.keys() == {"pretrain", "finetune"} | learned
        assert all(evaluated_on[stage] == name for stage, name in tuned_on.items())


def test_an_equivariant_model_stays_equivariant_and_its_reference_does_not(
    run_py: RunPy, tmp_path: Path
) -> None:
    model = ("model=G-RNN", "task.pretrain.iterations=2000", "protocol=reference,paper")
    result = run_py("hydra.mode=MULTIRUN", *SMALL[:-1], *model)
    assert result.returncode == 0, result.stderr
    errors = {}
    for path in (tmp_path / "results" / "runs" / "scan").glob("evaluate-*/metrics.csv"):
        with open(path, newline="") as stream:
            for row in csv.DictReader(stream):
                if row["metric"] == "equivariance_error":
                    errors[row["protocol"], row["group"]] = float(row["value"])
    assert errors.pop(("paper", "verb")) == 0.0
    assert list(errors) == [("reference", "verb4")]  # a bias per word: whatever it is, it is told


def test_sigterm_ends_with_143_and_the_same_command_resumes(
    undisturbed: Path, run_py: RunPy, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command(tmp_path / "results", *SMALL), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    wait_for(tmp_path / "results", "*/checkpoint.safetensors")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "run.py: stopped on request" in errors
    (folder,) = (tmp_path / "results" / "runs" / "scan").glob("pretrain-*")
    assert json.loads((folder / "record.json").read_text())["status"] == "interrupted"
    result = run_py(*SMALL)
    assert result.returncode == 0 and "resumed from" in result.stderr
    assert outcome(tmp_path / "results", "pretrain")[:2] == outcome(undisturbed, "pretrain")[:2]


def test_a_finished_run_is_skipped(undisturbed: Path) -> None:
    before = outcome(undisturbed, "evaluate")
    result = subprocess.run(
        command(undisturbed, *SMALL), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "done before" in result.stderr and "started" not in result.stderr
    assert outcome(undisturbed, "evaluate") == before


def checkpoint(undisturbed: Path) -> Path:
    (folder,) = (undisturbed / "runs" / "scan").glob("pretrain-*")
    return folder / "model.safetensors"


def test_a_checkpoint_of_one_s_own_replaces_pretraining(
    undisturbed: Path, run_py: RunPy, tmp_path: Path
) -> None:
    result = run_py(*SMALL, f"model.checkpoint={checkpoint(undisturbed)}")
    assert result.returncode == 0, result.stderr
    assert not list((tmp_path / "results" / "runs" / "scan").glob("pretrain-*"))
    numbers = [
        [(row["split"], row["metric"], row["value"]) for row in rows(results)]
        for results in (tmp_path / "results", undisturbed)
    ]
    assert numbers[0] == numbers[1]
    assert all(", checkpoint=" in row["variant"] for row in rows(tmp_path / "results"))


def test_damaged_and_foreign_checkpoints_are_one_line(
    undisturbed: Path, run_py: RunPy, configure: Configure, tmp_path: Path
) -> None:
    content = checkpoint(undisturbed).read_bytes()
    flipped = bytearray(content)
    flipped[-5] ^= 16
    files = {
        "cut": (content[: len(content) // 2], "not a complete safetensors file"),
        "flipped": (bytes(flipped), "does not match its checksum"),
        "pickled": (pickle.dumps({"weight": 1}), "not a complete safetensors file"),
    }
    for name, (data, message) in files.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"^[^\n]*{re.escape(str(path))}[^\n]*$") as refusal:
            execute(configure(*SMALL, f"model.checkpoint={path}"))
        assert message in str(refusal.value)
    other = tmp_path / "gru.safetensors"
    save_tensors(other, Seq2Seq("GRU").state_dict())
    result = run_py(*SMALL, f"model.checkpoint={other}")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("run.py: ") and "is of another architecture" in last
    assert str(other) in last and "Traceback" not in result.stderr


def test_a_results_folder_that_cannot_be_written_is_one_line(run_py: RunPy, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    result = run_py(*SMALL)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(f"run.py: results={tmp_path}/results: ")
    assert last.endswith(" is no folder that can be written to")
    assert "Traceback" not in result.stderr


def test_a_full_disk_loses_nothing_and_the_run_ends_when_there_is_room(
    undisturbed: Path, run_py: RunPy, tmp_path: Path
) -> None:
    """Files cannot grow beyond a limit, as if the disk were full when the checkpoint is written."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    result = subprocess.run(
        command(tmp_path / "results", *SMALL),
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("run.py: ")
    assert "Traceback" not in result.stderr
    (folder,) = (tmp_path / "results" / "runs" / "scan").glob("pretrain-*")
    assert not list(folder.glob("*.tmp")) and not (folder / "model.safetensors").exists()
    assert json.loads((folder / "record.json").read_text())["status"] == "failed"
    assert run_py(*SMALL).returncode == 0
    assert outcome(tmp_path / "results", "pretrain")[:2] == outcome(undisturbed, "pretrain")[:2]


@pytest.mark.slow
def test_workers_of_a_sweep_that_was_killed_save_and_leave(
    undisturbed: Path, run_py: RunPy, tmp_path: Path
) -> None:
    """SIGKILL to the sweep's own process: its workers notice, checkpoint and end by themselves."""
    workers = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    sweep = ("hydra.mode=MULTIRUN", *workers, "seed=0,1,2,3")  # two more jobs wait
    long = (*SMALL, "task.pretrain.iterations=2000000")
    process = subprocess.Popen(
        command(tmp_path / "results", *long, *sweep), cwd=ROOT, stderr=subprocess.DEVNULL
    )
    wait_for(tmp_path / "results", "*seed0*/checkpoint.safetensors")
    wait_for(tmp_path / "results", "*seed1*/checkpoint.safetensors")
    process.kill()
    process.wait()
    for _ in range(300):
        status = [
            json.loads((folder / "record.json").read_text())["status"]
            for folder in (tmp_path / "results" / "runs" / "scan").glob("pretrain-*")
        ]
        if status == ["interrupted"] * 2:
            break
        time.sleep(0.1)
    assert status == ["interrupted"] * 2


def test_ctrl_c_is_an_interruption(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path / "results", *SMALL, "task.pretrain.iterations=2000000"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # The tests may run in the background, where a shell has SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(tmp_path / "results", "*/checkpoint.safetensors")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "run.py: interrupted; the same command resumes"
    (folder,) = (tmp_path / "results" / "runs" / "scan").glob("pretrain-*")
    assert json.loads((folder / "record.json").read_text())["status"] == "interrupted"
