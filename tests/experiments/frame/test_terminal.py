"""Programs in other surroundings: encodings, closed outputs, readers that leave, safe paths."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from report.runs.jobs import quoted
from tests.experiments.conftest import ROOT, command

PROGRAMS = ("claims", "demo", "fetch", "keep_results", "paper_figures", "readme", "report", "runs")
#: A run of a second.
TINY = (
    *("task=dqn", "dataset=gridworld", "method=pretrained", "task.recipe.steps=300"),
    *("task.recipe.keep_from=100", "task.recipe.keep_every=100", "task.episodes=5"),
)


def run(words: list[str], shell: str = '"$@"', **environment: str) -> subprocess.CompletedProcess:
    """Run a program of this checkout, with what a shell does to its outputs."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell, "bash", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=120,
    )


def test_what_a_terminal_cannot_write_is_written_as_its_number(tmp_path: Path) -> None:
    """In the run's process, in the workers of a sweep, and in the programs that draw."""
    results = tmp_path / "模型 größe"
    sweep = ("-m", "seed=0,1", "hydra/launcher=joblib")
    for words in (TINY, (*TINY, *sweep)):
        done = run(command(quoted(results), *words), PYTHONIOENCODING="latin-1")
        assert done.returncode == 0, done.stderr.decode("latin-1")
        text = (done.stdout + done.stderr).decode("latin-1")
        assert "\\u6a21" in text and "größe" in text and "Error" not in text
    words = ["scripts/paper_figures.py", "table2", "--out", str(tmp_path / "figures")]
    done = run([sys.executable, *words], PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr.decode("ascii")
    assert (tmp_path / "figures" / "table2.md").is_file()


def test_closed_outputs_lose_the_words_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for place, closed in enumerate(("2>&-", ">&-", "<&- >&- 2>&-")):
        results = tmp_path / "own" / str(place)
        done = run(command(results, *TINY), f'"$@" {closed}')
        assert done.returncode == 0, done.stderr.decode()
        assert len(list(results.glob("runs/dqn/*/metrics.csv"))) == 2
    refused = run(command(tmp_path, "method=equizer"), '"$@" 2>&-')
    assert refused.returncode == 1


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_workers_start_where_outputs_are_closed(tmp_path: Path, closed: str) -> None:
    sweep = ("-m", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = run(command(tmp_path, *TINY, *sweep), f'"$@" {closed}')
    assert done.returncode == 0, done.stderr.decode()
    assert len(list(tmp_path.glob("runs/dqn/evaluate-*/metrics.csv"))) == 2


@pytest.mark.parametrize("program", ["run", *(f"scripts/{name}" for name in PROGRAMS)])
def test_a_reader_that_leaves_early_is_no_error(program: str) -> None:
    """As `head` does; the program is told when it writes, or at its end."""
    # Unbuffered output, so that there is always a write behind the first.
    done = run([sys.executable, "-u", f"{program}.py", "--help"], '"$@" | true')
    assert done.returncode in (0, 141), done.stderr.decode()
    assert done.stderr == b""


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_without_its_own_folder_on_python_s_path_a_sweep_runs(
    tmp_path: Path, launcher: str
) -> None:
    words = (*TINY, "-m", "seed=0,1", f"hydra/launcher={launcher}")
    done = run(command(tmp_path, *words), PYTHONSAFEPATH="1")
    assert done.returncode == 0, done.stderr.decode()
    assert len(list(tmp_path.glob("runs/dqn/evaluate-*/metrics.csv"))) == 2
