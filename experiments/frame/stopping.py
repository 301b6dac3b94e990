"""Requests to stop, by signals or by the death of a sweep: a run notes them and saves its state."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout

from experiments.frame.errors import STOPPED, Interrupted

log = logging.getLogger(__name__)

#: Signals that ask a run to save its state and end: those of the system, and of schedulers before
#: a time limit (the last one is submitit's).
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
#: Seconds between two checks whether the parent process is alive.
PARENT_INTERVAL = 1.0
#: Seconds between two checks for a request to stop while something is awaited.
LOOK = 0.1
Handler = Callable[[int, FrameType | None], Any] | int | None


class StopSignal:
    """Remembers that a signal arrived, so that long work can save its state and end.

    Attributes:
        received: Whether to stop.
        arrived: The signals, in the order of their arrival.
        before: Previous signal handlers (submitit installs some in Slurm jobs).
    """

    def __init__(self) -> None:
        self.received = False
        self.arrived: list[int] = []
        self.before: dict[int, Handler] = {}

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Note the signal; called by the interpreter."""
        # Slurm sends a signal several times, and kills slow processes itself.
        if self.received and not callable(self.before.get(signum)):
            raise Interrupted("stopped at once on the second request")
        if signum not in self.arrived:
            log.warning("%s: stopping at the next checkpoint", signal.Signals(signum).name)
            self.arrived.append(signum)
        self.received = True

    def pass_on(self) -> None:
        """Pass the signals to the previous handlers; submitit then makes Slurm requeue the job.

        Call it after saving the state: submitit ends the process. If Slurm refuses because it has
        stopped the job itself meanwhile, this returns.
        """
        for signum in self.arrived:
            handler = self.before.get(signum)
            if callable(handler):
                try:
                    handler(signum, None)
                except subprocess.SubprocessError as error:
                    log.warning("not started again by %s: %s", signal.Signals(signum).name, error)


#: The active stop signals of the process, the newest last.
_active: list[StopSignal] = []


def stop_requested() -> bool:
    """Whether the process was asked to stop; for code without a run."""
    return any(stop.received for stop in _active)


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file; a dead owner's lock is released by the system.

    Args:
        path: Path of the lock.
        waiting: Called regularly while another process holds it.

    Raises:
        Interrupted: If the process was asked to stop meanwhile.
    """
    lock = FileLock(path)
    with contextlib.suppress(Timeout):
        lock.acquire(timeout=0)
    while not lock.is_locked:
        if stop_requested():
            raise Interrupted(f"stopped on request while another process held {path}")
        waiting()
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=LOOK)
    try:
        yield
    finally:
        lock.release()


def output_of(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program, and end it if this process is asked to stop.

    Args:
        words: The command.
        options: Options of `subprocess.Popen`.

    Returns:
        Its exit status and what it wrote to its standard error.

    Raises:
        Interrupted: If the process was asked to stop meanwhile.
    """
    child = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
    )
    try:
        error = None
        while error is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                _, error = child.communicate(timeout=LOOK)
            # A signal to the whole process group ends the child first.
            if stop_requested():
                raise Interrupted(f"stopped on request while {Path(words[0]).name} ran")
        return subprocess.CompletedProcess(words, child.returncode, stderr=error)
    finally:
        child.kill()
        child.wait()


@cache
def _follow_parent() -> None:
    """End a worker process of a sweep when the sweep's main process has died, also between runs.

    A run is first asked to stop. Without this a worker would finish its assigned jobs and then wait
    for ever.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_INTERVAL)
        log.warning("the process that started this one has died: stopping")
        while _active:
            for stop in _active:
                stop.received = True
            time.sleep(PARENT_INTERVAL / 20)
        os._exit(STOPPED)

    if multiprocessing.parent_process() is not None:
        threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def catch_signals() -> Iterator[StopSignal]:
    """Turn signals to stop into a request while the body runs (main thread only).

    After a stop, they are passed on to the previous handlers.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    _follow_parent()
    stop.before = {signum: signal.signal(signum, stop) for signum in STOP_SIGNALS}
    _active.append(stop)
    try:
        yield stop
    except Interrupted:
        stop.pass_on()
        raise
    finally:
        _active.remove(stop)
        for signum, handler in stop.before.items():
            signal.signal(signum, handler)
