"""Requests to stop, by signals or by the death of a sweep: a run notes them and saves its state."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any

from experiments.frame.errors import STOPPED, Interrupted

log = logging.getLogger(__name__)

#: Signals that ask a run to save its state and end: the system's, and those that schedulers send
#: before a time limit (submitit's is the last).
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
#: Seconds between two looks at whether the parent process is alive.
PARENT_INTERVAL = 1.0
Handler = Callable[[int, FrameType | None], Any] | int | None


class StopSignal:
    """Remembers that a signal arrived, so that long work can save its state and end.

    Attributes:
        received: Whether to stop.
        arrived: The signals, in the order of their arrival.
        before: Who handled each signal before, if anyone did: submitit, in a job of Slurm's.
    """

    def __init__(self) -> None:
        self.received = False
        self.arrived: list[int] = []
        self.before: dict[int, Handler] = {}

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Note the signal; called by the interpreter."""
        # Slurm sends a signal several times, and kills by itself what takes too long.
        if self.received and not callable(self.before.get(signum)):
            raise Interrupted("stopped at once on the second request")
        if signum not in self.arrived:
            log.warning("%s: stopping at the next checkpoint", signal.Signals(signum).name)
            self.arrived.append(signum)
        self.received = True

    def pass_on(self) -> None:
        """Give the signals to who handled them before; submitit then has Slurm start the job again.

        Call it when the state is saved: submitit ends the process. Where Slurm refuses, because it
        has stopped the job by itself meanwhile, this returns.
        """
        for signum in self.arrived:
            handler = self.before.get(signum)
            if callable(handler):
                try:
                    handler(signum, None)
                except subprocess.SubprocessError as error:
                    log.warning("not started again by %s: %s", signal.Signals(signum).name, error)


#: The request that the process listens to now, the newest last.
_active: list[StopSignal] = []


def stop_requested() -> bool:
    """Whether the process was asked to stop; for work that has no run at hand."""
    return any(stop.received for stop in _active)


@cache
def _follow_parent() -> None:
    """End a worker process of a sweep when the sweep's own process has died, between runs too.

    A run is asked to stop first. Without this a worker would do the jobs that were handed out, and
    then wait for ever for the next one.
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


@contextmanager
def catch_signals() -> Iterator[StopSignal]:
    """Turn the signals that ask for an end into a request while the body runs (main thread only).

    An end that they bring about is passed on to who handled these signals before.
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
