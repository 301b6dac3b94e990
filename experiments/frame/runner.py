"""The runner: does a run once, resumes it, and reports failures."""

from __future__ import annotations

import logging
import os
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from experiments.frame import machine
from experiments.frame.errors import Interrupted, RunFailed, UserError
from experiments.frame.records import FinishedRun, Run, find_finished, tidy
from experiments.frame.rows import RESULTS
from experiments.frame.show import describe_run
from experiments.frame.stages import RunName, name_run
from experiments.frame.stopping import StopSignal, catch_signals, locked
from experiments.frame.tasks import load_task
from experiments.frame.tracking import open_tracker

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig

log = logging.getLogger(__name__)

#: The lock file in a run folder, held by the process that works on the run.
LOCK = "run.lock"


def run_folder(config: AnyConfig, name: RunName) -> Path:
    """Return the folder of a run: ``<results>/runs/<task>/<folder>``."""
    return Path(config.results) / "runs" / name.task / name.folder


def execute(config: AnyConfig) -> FinishedRun:
    """Do the run of a configuration, and the runs that it needs.

    Args:
        config: The checked configuration.

    Returns:
        The finished run, new or found.

    Raises:
        RunFailed: If the run, or one that it needs, ends with an exception; its record says so.
        Interrupted: If the process was asked to stop; the same command resumes.
    """
    machine.limit_threads(config.threads)
    if config.device not in ("auto", "cpu"):
        machine.choose_device(config.device)
    log.info("%s", describe_run(config))
    with catch_signals() as stop:
        finished = ensure(config, config.stage, stop, whole=config.stage in RESULTS)
        if stop.received:
            raise Interrupted(f"stopped on request after {finished.folder}")
        return finished


def ensure(
    config: AnyConfig, stage_name: str, stop: StopSignal, *, whole: bool = False
) -> FinishedRun:
    """Return the finished run of a stage; run it first if missing.

    Args:
        config: The checked configuration.
        stage_name: The stage.
        stop: Whether the process was asked to stop.
        whole: Whether to repeat it if an artefact is damaged, because another run builds on it.
    """
    task = load_task(config.task.name)
    name = name_run(task, task.stages[stage_name], config)
    folder = run_folder(config, name)
    finished = find_finished(folder, whole=whole)
    if finished is not None:
        log.info("%s: done before, %s", name.folder, folder)
        tidy(folder)
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    waiting = cache(partial(log.info, "another process works on %s; waiting for it", folder.name))
    with locked(folder / LOCK, waiting):
        finished = find_finished(folder, whole=whole)
        return finished or _perform(config, name, folder, stop)


def is_held(folder: Path) -> bool:
    """Whether a process of this machine works on a run now; creates no file.

    Args:
        folder: The folder of the run.
    """
    if not (folder / LOCK).is_file() or not os.access(folder / LOCK, os.W_OK):
        return False  # without write permission the lock cannot be tested
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True


def _perform(config: AnyConfig, name: RunName, folder: Path, stop: StopSignal) -> FinishedRun:
    """Do one run inside its lock and write a record in every case."""
    stage = load_task(config.task.name).stages[name.stage]
    with open_tracker(config, name) as tracker:
        run = Run(
            folder,
            name,
            config,
            need=lambda other, given: ensure(given, other, stop, whole=True),
            tracker=tracker,
            stop_requested=lambda: stop.received,
            blank=stage.blank,
        )
        run.begin(config.to_yaml())
        log.info("%s: started", name.folder)
        try:
            stage.work()(config, run)
            finished = run.finish()
        except (Interrupted, KeyboardInterrupt):
            run.interrupted()
            tracker.failed()
            raise
        except BaseException as error:
            run.failed(error)
            tracker.failed()
            if isinstance(error, UserError) or not isinstance(error, Exception):
                raise
            reason = next(iter(str(error).splitlines()), "")
            raise RunFailed(
                f"{name.folder} failed: {type(error).__name__}: {reason} "
                f"(traceback in {folder / 'record.json'})"
            ) from error
    log.info("%s: done in %.1f s", name.folder, finished.record["wall_seconds"])
    return finished
