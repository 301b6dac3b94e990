"""Waiting for another program or process ends when the process is asked to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from experiments.frame.errors import Interrupted
from experiments.frame.stopping import catch_signals, locked, output_of

SLEEP = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"


@pytest.fixture
def asked_soon() -> threading.Timer:
    """Ask this process to stop in half a second."""
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    return timer


@pytest.mark.usefixtures("asked_soon")
def test_a_program_that_runs_is_ended_on_request(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    began = time.monotonic()
    with pytest.raises(Interrupted), catch_signals():
        output_of([sys.executable, "-c", SLEEP, str(note)])
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


@pytest.mark.usefixtures("asked_soon")
def test_waiting_for_a_lock_ends_on_request(tmp_path: Path) -> None:
    looks: list[None] = []
    path = tmp_path / "lock"
    with (
        FileLock(path),
        pytest.raises(Interrupted),
        catch_signals(),
        locked(path, lambda: looks.append(None)),
    ):
        pytest.fail("two processes hold the lock")
    assert looks


def test_a_program_that_ends_gives_its_status_and_its_errors() -> None:
    result = output_of(
        [sys.executable, "-c", "import sys; print('no', file=sys.stderr); sys.exit(3)"]
    )
    assert (result.returncode, result.stderr) == (3, "no\n")
