"""Helpers for the tests of the experiments: composed configurations and whole processes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from experiments.frame import cli
from experiments.frame.conf import CONF
from experiments.frame.load import load
from experiments.frame.options import AnyConfig

ROOT = Path(__file__).parents[2]


def composed(results: Path, *overrides: str) -> AnyConfig:
    """Compose a configuration as the command line would."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        raw = compose("config", overrides=["logger=none", f"results={results}", *overrides])
    return load(raw)


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., AnyConfig]:
    """Compose a configuration as the command line would; results go to a temporary folder."""
    return partial(composed, tmp_path / "results")


@pytest.fixture
def run_py(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python run.py`` in a process of its own; results go to a temporary folder."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(tmp_path / "results", *arguments),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **environment},
        )

    return run


def command(results: Path, *arguments: str) -> list[str]:
    """Return the command line of a run."""
    quiet = [] if any(a.startswith("logger=") for a in arguments) else ["logger=none"]
    return [sys.executable, "run.py", f"results={results}", *quiet, *arguments]


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Give words to run.py's `main` in this process; it must end with one line and status 1."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def run(*arguments: str) -> str:
        monkeypatch.setenv(cli.FULL_ERROR, "")
        monkeypatch.setattr(sys, "argv", command(tmp_path / "results", *arguments)[1:])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        found = capsys.readouterr()
        (line,) = found.err.splitlines()
        assert ended.value.code == 1 and not found.out and line.startswith("run.py: ")
        return line

    yield run
    root.handlers[:] = handlers  # Hydra has its own
    root.setLevel(level)
