"""The live log: Weights & Biases, or nothing. It never stops a run and never asks a question."""

from __future__ import annotations

import dataclasses
import functools
import logging
import netrc
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig
    from experiments.frame.stages import RunName

log = logging.getLogger(__name__)

#: Seconds to wait for wandb to start: for the server to answer before a run is logged offline, and
#: for the local process, which may be slow to come up on a busy machine.
PATIENCE = {"online": 30.0, "offline": 120.0}
#: Environment variables that identify a job of a cluster.
JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
#: Timeout in seconds for a connection to the server.
PROBE = 3.0


class Tracker:
    """Receives a run's numbers during the run. This base class discards them."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Log numbers at a training step."""

    def log_row(self, metric: str, value: float, columns: dict[str, Any]) -> None:
        """Log one metric row as a summary value."""

    def log_picture(self, name: str, path: Path) -> None:
        """Log a picture that the run has stored."""

    def failed(self) -> None:
        """Mark the run as not finished."""


class WandbTracker(Tracker):
    """Writes to one wandb run. An error of wandb is reported once, then the tracker is silent."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self._broken = False
        self._exit_code = 0

    def _try(self, call: Callable[[Any], object]) -> None:
        if self._broken:
            return
        try:
            call(self._run)
        except Exception as error:
            log.warning("wandb stopped (%s); the run goes on without it", error)
            self._broken = True

    def log(self, values: dict[str, float], step: int) -> None:
        """Log numbers at a training step."""
        self._try(lambda run: run.log(values, step=step))

    def log_row(self, metric: str, value: float, columns: dict[str, Any]) -> None:
        """Set ``metric/split/variant`` in the summary; a row with a step belongs to a curve."""
        if columns.get("step", "") == "":
            parts = [
                metric,
                *(str(columns[key]) for key in ("split", "variant") if columns.get(key)),
            ]
            self._try(lambda run: run.summary.update({"/".join(parts): value}))

    def log_picture(self, name: str, path: Path) -> None:
        """Log a picture under the name of its file; wandb takes a copy."""

        def log_it(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(path))})

        self._try(log_it)

    def failed(self) -> None:
        """Mark the run as not finished."""
        self._exit_code = 1

    def finish(self) -> None:
        """End the wandb run, whatever happened to it before."""
        self._broken = False
        self._try(lambda run: run.finish(exit_code=self._exit_code))


def _server() -> tuple[str, int]:
    """Return host and port of the wandb server.

    Raises:
        ValueError: If WANDB_BASE_URL is no address.
    """
    given = os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
    try:
        address = urlsplit(given)
        port = address.port
    except ValueError as error:
        raise ValueError(f"WANDB_BASE_URL={given} is no address ({error})") from error
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError(f"WANDB_BASE_URL={given} is no address, https://HOST")
    return address.hostname, port or (80 if address.scheme == "http" else 443)


def has_key() -> bool:
    """Return whether wandb can log in without asking.

    Raises:
        ValueError: If the file that may hold the key cannot be read, or the server has no address.
    """
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = _server()[0]
    try:
        return netrc.netrc().authenticators(server) is not None
    except OSError:
        return False
    except (netrc.NetrcParseError, UnicodeError) as error:
        raise ValueError(f"{Path('~/.netrc').expanduser()} cannot be read ({error})") from error


@functools.cache
def reachable(host: str, port: int) -> bool:
    """Return whether a server answers, asked once per process."""
    try:
        socket.create_connection((host, port), timeout=PROBE).close()
    except OSError:
        return False
    return True


def choose_mode(wanted: str) -> str:
    """Choose wandb's mode: online only with a key and a server, so that it never asks or hangs.

    Cluster jobs are offline unless ``online`` is configured: many compute nodes reach no server,
    and a slow one would delay every job of an array.

    Args:
        wanted: ``auto``, ``online`` or ``offline``; WANDB_MODE takes precedence.

    Returns:
        ``online``, ``offline`` or ``disabled``.
    """
    chosen = os.environ.get("WANDB_MODE") or wanted
    if chosen not in ("auto", "online"):
        return chosen
    if chosen == "auto" and any(name in os.environ for name in JOBS):
        return "offline"
    try:
        missing = "no key" if not has_key() else "" if reachable(*_server()) else "no network"
    except ValueError as error:
        log.warning("wandb: %s, so this is logged offline", error)
        return "offline"
    if not missing:
        return "online"
    if chosen == "online":
        log.warning("wandb: %s, so this is logged offline", missing)
    return "offline"


def _start(config: AnyConfig, name: RunName, mode: Any, run_id: str) -> Any:
    folder = Path(config.results)
    folder.mkdir(parents=True, exist_ok=True)
    hidden = os.environ.pop("WANDB_BASE_URL") if mode == "offline" and _is_bad_address() else None
    try:
        return _init(config, name, mode, run_id, folder)
    finally:
        if hidden is not None:
            os.environ["WANDB_BASE_URL"] = hidden


def _is_bad_address() -> bool:
    """Whether wandb would fail because of its server's address, which offline logs do not need."""
    import wandb

    try:
        wandb.Settings(base_url=os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    except ValueError:  # pydantic's errors are ValueErrors
        return True
    return False


def _init(config: AnyConfig, name: RunName, mode: Any, run_id: str, folder: Path) -> Any:
    import wandb

    return wandb.init(
        project=config.logger.project,
        entity=config.logger.entity,
        id=run_id,
        name=name.folder,
        group=config.preset or name.task,
        job_type=name.stage,
        config=dataclasses.asdict(config),
        dir=folder,
        mode=mode,
        resume="allow" if mode == "online" else None,
        reinit="create_new",
        settings=wandb.Settings(
            silent=True,
            console="off",
            init_timeout=PATIENCE.get(mode, PATIENCE["online"]),
            x_disable_stats=True,
        ),
    )


@contextmanager
def open_tracker(config: AnyConfig, name: RunName) -> Iterator[Tracker]:
    """Open the live log of a run and close it in every case.

    Args:
        config: The configuration, with logger (``logger=wandb|none``), project and mode.
        name: The run; its hash is the wandb run id, so a resumed run continues the same one.

    Yields:
        The tracker. If wandb is missing or fails, one that discards everything, with a warning.
    """
    tracker = _open(config, name) if config.logger.name == "wandb" else Tracker()
    try:
        yield tracker
    finally:
        if isinstance(tracker, WandbTracker):
            tracker.finish()


def _open(config: AnyConfig, name: RunName) -> Tracker:
    mode = choose_mode(config.logger.mode)
    if mode == "disabled":
        return Tracker()
    attempts = [(mode, name.hash)]
    if mode == "online":
        attempts.append(("offline", f"{name.hash}-offline"))  # the first id may still be in use
    for attempt, run_id in attempts:
        try:
            return WandbTracker(_start(config, name, attempt, run_id))
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.warning("wandb (%s) could not start: %s", attempt, reason)
    return Tracker()
