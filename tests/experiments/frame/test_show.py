"""What the terminal shows of a run and of a sweep, from recorded rows; and of one of seconds."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus

from experiments.frame.cli import describe
from experiments.frame.errors import RunFailed, UserError
from experiments.frame.records import FinishedRun
from experiments.frame.rows import COLUMNS
from experiments.frame.show import headline
from experiments.frame.sweeps import summary
from experiments.frame.tasks import TASKS, load_task
from report.runs.jobs import asked
from tests.experiments.conftest import ROOT
from tests.experiments.frame.test_terminal import TINY

RunPy = Callable[..., subprocess.CompletedProcess[str]]
#: Rows of each task, in the order of a run, and what is shown of them.
TURNED = {"split": "test", "transform": "rot90"}
ACCURACY = (
    ("top1_accuracy", 85, {"split": "test", "transform": "none"}),
    ("top1_accuracy", 21, {**TURNED, "view": "3"}),
    ("top1_accuracy", 41.26, TURNED),
    ("top1_accuracy_low", 40.31, TURNED),
    ("top1_accuracy_high", 42.2, TURNED),
    ("over_equitune", 5.96, TURNED),
    ("over_equitune_low", 5.2, TURNED),
    ("over_equitune_high", 6.8, TURNED),
    ("passes", 4, TURNED),
)
IMAGES = (
    "top-1 accuracy (test, rot90): 41.3 % [40.3, 42.2]; gain over equitune: +6.0 points "
    "[+5.2, +6.8]; upright: 85.0 %"
)
PROBED = [
    ("top1_accuracy", value, {**TURNED, "step": step}) for value, step in ((9, "1"), (8, "2"))
]
RETURNS = [
    (metric, value, {"split": "test", "step": step})
    for step, metric, value in (("1", "return", 1), ("2", "return", 219.4567))
]
EXACT = [("expected_return", 0.73114, {"split": "test", "step": "2"})]
GAP = {"split": "words", "view": "man - woman"}
SHOWN = (
    ("clip", ACCURACY, IMAGES),
    ("clip", ACCURACY[:1], "top-1 accuracy (test): 85.0 %"),
    ("cnn", ACCURACY, IMAGES),
    ("cnn", (*PROBED, ACCURACY[2]), "top-1 accuracy (test, rot90): 41.3 %"),
    ("dqn", RETURNS, "mean return (step 2): 219.5"),
    ("dqn", RETURNS + EXACT, "expected return (step 2): 0.7311; mean return (step 2): 219.5"),
    (
        "scan",
        [("accuracy", 99, {"split": "validation"}), ("accuracy", 69.25, {"split": "test"})],
        "accuracy on test commands: 69.2 %",
    ),
    (
        "fairness",
        [("regard_gap", 5.6, GAP), ("regard_gap", 7, {**GAP, "split": "bag"})],
        "gap in regard (man - woman, words): +5.6 points",
    ),
)


def stored(folder: Path, rows: Iterable[dict[str, str]], task: str, stage: str) -> FinishedRun:
    """Return a finished run with these rows."""
    folder.mkdir(parents=True)
    with open(folder / "metrics.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return FinishedRun(folder, {"task": task, "stage": stage})


@pytest.mark.parametrize(("task", "rows", "expected"), SHOWN)
def test_the_headline_of_a_run_is_its_main_number_in_words(
    tmp_path: Path, task: str, rows: Iterable[tuple[str, float, dict[str, str]]], expected: str
) -> None:
    written = ({"metric": m, "value": repr(float(v)), **columns} for m, v, columns in rows)
    assert headline(stored(tmp_path / "run", written, task, "evaluate")) == expected


@pytest.mark.parametrize("task", TASKS)
def test_every_committed_evaluation_has_a_headline(tmp_path: Path, task: str) -> None:
    stages = load_task(task).stages
    assert all(stages[name].shows for name in ("evaluate", "continuity") if name in stages)
    for path in (ROOT / "results" / "measured" / task).glob("*.json"):
        rows, records = defaultdict(list), json.loads(path.read_text())
        for row in csv.DictReader(path.with_suffix(".csv").open(encoding="utf-8")):
            rows[row["run"]].append(row)
        for name, own in rows.items():
            if records[name]["stage"] == "evaluate":
                assert headline(stored(tmp_path / path.stem / name, own, task, "evaluate")), name


def test_a_stage_without_a_main_number_has_no_headline(tmp_path: Path) -> None:
    rows = [dict.fromkeys(COLUMNS, "") | {"metric": "loss", "value": "1.0"}]
    assert headline(stored(tmp_path / "run", rows, "scan", "pretrain")) == ""


def scan(folder: Path, accuracy: float) -> FinishedRun:
    row = {"metric": "accuracy", "split": "test", "value": str(accuracy)}
    return stored(folder, [row], "scan", "evaluate")


def test_a_sweep_ends_with_means_over_seeds_and_with_what_is_not_done(tmp_path: Path) -> None:
    axes = [
        ("method=equitune", "dataset=add_jump"),
        ("method=equitune", "dataset=around_right"),
        ("method=equizero", "dataset=add_jump"),
    ]
    jobs = [["task=scan", *axis, f"seed={seed}"] for axis in axes for seed in (0, 1)]
    ends = [
        JobReturn(_return_value=scan(tmp_path / str(place), value), status=JobStatus.COMPLETED)
        for place, value in enumerate((10, 14, 20, 20))
    ]
    ends.append(JobReturn(_return_value=RunFailed("no memory"), status=JobStatus.FAILED))
    assert list(summary(jobs, ends, describe, "make figures")) == [
        "accuracy on test commands (%): mean (standard deviation) over n seeds",
        "  dataset       method    mean   (sd)  n",
        "  add_jump      equitune  12.0  (2.8)  2",
        "  around_right  equitune  20.0  (0.0)  2",
        "failed: no memory",
        "  method=equizero dataset=add_jump seed=0",
        "missing",
        "  method=equizero dataset=add_jump seed=1",
        "2 of 6 jobs are not done; the same command tries them again",
    ]
    file = tmp_path / "sweeps" / "table.csv"
    lines = list(summary(jobs[:4], ends[:4], describe, "make figures", file))
    assert lines[-2:] == [f"table: {file}", "next: make figures"]
    assert file.read_text().splitlines() == [
        "dataset,number,mean,sd,n",
        f"add_jump,accuracy on test commands (%),12.0,{8**0.5},2",
        "around_right,accuracy on test commands (%),20.0,0.0,2",
    ]
    blocked = tmp_path / "0" / "metrics.csv" / "table.csv"  # below a file
    assert "table" not in "".join(summary(jobs[:4], ends[:4], describe, "", blocked))
    # The reason of a single job is the program's own last line.
    assert list(summary(jobs[4:5], ends[4:], describe, "make figures")) == [
        "1 of 1 jobs are not done; the same command tries them again"
    ]


def test_a_reason_of_several_jobs_is_told_once(tmp_path: Path) -> None:
    reasons = ("no memory", "no disk", "no memory")
    ends = [JobReturn(_return_value=RunFailed(why), status=JobStatus.FAILED) for why in reasons]
    assert list(summary([["seed=0"], ["seed=1"], ["seed=2"]], ends, describe, "")) == [
        "failed: no memory",
        "  seed=0",
        "  seed=2",
        "failed: no disk",
        "  seed=1",
        "3 of 3 jobs are not done; the same command tries them again",
    ]


def test_a_log_tells_a_reason_in_full_once(run_py: RunPy) -> None:
    faulty = ("task=dqn", "model.checkpoint=LICENSE", "dataset=gridworld", "seed=0,1,2")
    lines = run_py("-m", *faulty).stderr.splitlines()
    ends = [line.partition(" failed: ")[2] for line in lines if " failed: " in line]
    assert len(ends) == 3 and "no such file" not in ends[0]
    assert len(ends[0]) > len(ends[1]) == len(ends[2]) and ends[1].endswith(" ...")


def test_a_sweep_over_seeds_alone_is_one_line_and_a_run_of_two_jobs_counts_once(
    tmp_path: Path,
) -> None:
    run = scan(tmp_path / "run", 50)
    ends = [JobReturn(_return_value=run, status=JobStatus.COMPLETED)] * 2
    lines = list(summary([["seed=0"], ["seed=1"]], ends, describe, ""))
    assert [line.split() for line in lines[1:]] == [["mean", "(sd)", "n"], ["50.0", "-", "1"]]


def test_a_sweep_without_a_job_is_refused(run_py: RunPy, tmp_path: Path) -> None:
    done = run_py("-m", *TINY, "seed=range(3,0)")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr == "run.py: seed=range(3,0) has no value, so there is no job\n"
    with pytest.raises(UserError, match=r"seed=range\(0,0\) has no value"):
        asked(["experiment=table2", "seed=range(0,0)"])


def test_a_run_prints_its_headline_and_a_sweep_its_table_and_nothing_else(
    run_py: RunPy, tmp_path: Path
) -> None:
    alone = run_py(*TINY)
    assert alone.returncode == 0, alone.stderr
    blank, main, departs, folder, after = alone.stdout.splitlines()
    assert not blank and re.fullmatch(r"expected return \(step 300\): \S+; mean return .*", main)
    assert departs.startswith("departs from its protocol: recipe.steps=300")
    assert Path(folder, "metrics.csv").is_file()
    assert after.startswith("next: python run.py -m ")
    assert after.endswith("method=pretrained,equitune,equizero")
    verbose = run_py(*TINY, "-v").stdout
    assert verbose.endswith(alone.stdout) and "test step 300 return" in verbose
    sweep = ("-m", *TINY, "method=pretrained,canonicalizer", "seed=0,1", "hydra/launcher=joblib")
    ended = run_py(*sweep, COLUMNS="20", NO_COLOR="1", PYTHONIOENCODING="cp1252")
    assert ended.returncode == 1
    title, head, row, table, *failed = ended.stdout.splitlines()
    assert Path(table.removeprefix("table: ")).parent == tmp_path / "results" / "sweeps"
    assert Path(table.removeprefix("table: ")).read_text().startswith("method,number,mean,sd,n\n")
    assert title.startswith("expected return: mean") and head.split() == [
        "method",
        "mean",
        "(sd)",
        "n",
    ]
    assert row.split()[0] == "pretrained" and row.split()[-1] == "2"
    assert failed[0].startswith("failed: ")
    assert failed[1:3] == [f"  method=canonicalizer seed={seed}" for seed in (0, 1)]
    assert failed[3].startswith("2 of 4 jobs are not done")
