"""Records of runs: finished runs, and the handle of a run in progress."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import math
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.frame import machine
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.files import (
    is_plain_name,
    load_tensors,
    save_tensors,
    sha256,
    write_bytes,
    write_json,
    write_text,
)
from experiments.frame.record_files import RECORD, read_record, seal
from experiments.frame.rows import COLUMNS, label_of
from experiments.frame.variant import departures

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from experiments.frame.options import AnyConfig
    from experiments.frame.stages import RunName
    from experiments.frame.tracking import Tracker

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"


class FinishedRun:
    """A finished run: its folder, its record and its artefacts."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record

    def tensors(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Read one of the run's tensor artefacts; `damage` compares it with the record.

        The file is memory-mapped.

        Raises:
            UserError: If the file is missing or truncated.
        """
        return load_tensors(self.folder / name, verify=False)

    def damage(self) -> str | None:
        """Return a description of damaged artefacts, or None; reads every byte of them."""
        artefacts = self.record.get("artefacts")
        if not isinstance(artefacts, dict):
            return f"{self.folder / RECORD} lists no artefacts"
        for name, expected in artefacts.items():
            path = self.folder / name
            if not is_plain_name(name):
                return f"{self.folder / RECORD} names {name!r}, which is no file of its folder"
            if not path.is_file():
                return f"{path} is missing"
            if sha256(path) != expected:
                return f"{path} does not match the checksum in its record"
        return None

    def rows(self) -> list[dict[str, str]]:
        """Read the run's metric rows."""
        with open(self.folder / "metrics.csv", newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))


def find_finished(folder: Path, *, whole: bool = False) -> FinishedRun | None:
    """Return the finished run in a folder, or None.

    Args:
        folder: The folder.
        whole: Whether its artefacts must be intact, because another run builds on them.
    """
    record, metrics = read_record(folder), folder / "metrics.csv"
    if record is None or record.get("status") != "done":
        return None
    if record.get("name") != folder.name:
        log.warning("%s is of another run; the run is computed again", folder / RECORD)
        return None
    if not metrics.is_file() or sha256(metrics) != record.get("metrics_sha256"):
        log.warning("%s does not match its record; the run is computed again", metrics)
        return None
    finished = FinishedRun(folder, record)
    if whole and (damage := finished.damage()) is not None:
        log.warning("%s; the run is computed again", damage)
        return None
    return finished


def tidy(folder: Path) -> None:
    """Delete a leftover checkpoint of a finished run."""
    with contextlib.suppress(OSError):  # a read-only folder keeps it
        (folder / CHECKPOINT).unlink(missing_ok=True)


class Run:
    """The handle of a run in progress: rows, artefacts, checkpoint, progress, other runs it needs.

    Attributes:
        folder: The run's folder.
        tracker: The live log (wandb or nothing).
    """

    def __init__(
        self,
        folder: Path,
        name: RunName,
        config: AnyConfig,
        *,
        need: Callable[[str, AnyConfig], FinishedRun],
        tracker: Tracker,
        stop_requested: Callable[[], bool],
        blank: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self._need, self._config = need, config
        self._needed: dict[tuple[str, str], float] = {}
        self.tracker = tracker
        self._stop_requested = stop_requested
        self._rows: list[dict[str, Any]] = []
        self._artefacts: dict[str, str] = {}
        departing = {} if "variant" in blank else departures(config)
        self._columns = {
            "task": name.task,
            "dataset": config.dataset.name,
            "model": config.model.name,
            "group": config.group.name,
            "transform": "none",
            "method": config.method.name,
            "protocol": config.protocol.name,
            "scale": config.scale.name,
            "seed": config.seed,
            "variant": label_of(departing),
        } | dict.fromkeys(blank, "")
        self._started = (time.monotonic(), time.process_time())
        earlier = read_record(folder) or {}
        self.record: dict[str, Any] = {
            "status": "running",
            "name": name.folder,
            "task": name.task,
            "stage": name.stage,
            "hash": name.hash,
            "started": earlier.get("started", datetime.now(UTC).isoformat(timespec="seconds")),
            "attempts": earlier.get("attempts", 0) + 1,
            "seed": config.seed,
            "protocol": self._columns["protocol"],
            "scale": self._columns["scale"],
            **machine.commit(),
            **machine.submitted(),
            "versions": machine.versions(),
            **machine.hardware(),
            "identity": name.identity,
            # Pairs, to keep the order of the label: record files have sorted keys.
            "departures": {label_of(departing): [*departing.items()]} if departing else {},
            "built_on": {},
            "facts": {},
        }
        self._spent: tuple[float, ...] = (
            earlier.get("wall_seconds", 0.0),
            earlier.get("cpu_seconds", 0.0),
        )

    def need(self, stage: str, config: AnyConfig | None = None) -> FinishedRun:
        """Return the finished run of another stage of the same task; run it first if missing.

        The record notes that this run builds on it. Its time counts for that run, not for this one.

        Args:
            stage: The stage.
            config: Its configuration, of the same task; None: that of this run.
        """
        wall, cpu = time.monotonic(), time.process_time()
        try:
            finished = self._need(stage, config or self._config)
            name, noted = finished.record["name"], self.record["built_on"]
            self._needed[stage, name] = float(finished.record["cpu_seconds"])
            if noted.setdefault(stage, name) != name and config is not None:
                noted[f"{stage} of {config.method.name}"] = name
            return finished
        finally:
            self._started = (
                self._started[0] + time.monotonic() - wall,
                self._started[1] + time.process_time() - cpu,
            )

    def spent_on(self, *stages: str) -> float:
        """Return the CPU seconds of the runs of some stages that this run has needed so far."""
        return sum(spent for (stage, _), spent in self._needed.items() if stage in stages)

    def row(self, metric: str, value: float, **columns: Any) -> None:
        """Add one number to the run's metrics.

        Args:
            metric: Its name.
            value: The number; it must be finite.
            columns: Further columns (split, step, view) or other values for the run's own.

        Raises:
            ValueError: For a number that is not finite or a column that does not exist.
        """
        extra = set(columns) - set(COLUMNS)
        if extra:
            raise ValueError(f"no such columns: {sorted(extra)}; choose from: {', '.join(COLUMNS)}")
        if not math.isfinite(value):
            raise ValueError(f"metric {metric} is {value}, not a finite number")
        row = {**self._columns, **columns, "metric": metric, "value": repr(float(value))}
        self._rows.append(row)
        self.tracker.log_row(metric, value, row)

    def fact(self, name: str, value: Any) -> None:
        """Add a fact (data checksum, parameter count, device) to the run's record."""
        self.record["facts"][name] = value

    def save(
        self, name: str, tensors: dict[str, Tensor], facts: dict[str, Any] | None = None
    ) -> None:
        """Write a tensor artefact; its checksum goes into the record."""
        save_tensors(self.folder / name, tensors, facts)
        self._artefacts[name] = sha256(self.folder / name)

    def save_bytes(self, name: str, content: bytes) -> None:
        """Write an artefact of any kind; its checksum goes into the record."""
        write_bytes(self.folder / name, content)
        self._artefacts[name] = sha256(self.folder / name)
        if name.endswith(".png"):
            self.tracker.log_picture(name, self.folder / name)

    def adopt(self, name: str) -> None:
        """Add a tensor artefact of an earlier attempt to the record.

        Raises:
            UserError: If the file is missing or damaged.
        """
        load_tensors(self.folder / name)
        self._artefacts[name] = sha256(self.folder / name)

    def checkpoint(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Replace the run's checkpoint, and stop if the process was asked to.

        Raises:
            Interrupted: After writing, if a stop was requested.
        """
        own = {"spent": self._time(), "run": self.record["hash"]}
        save_tensors(self.folder / CHECKPOINT, tensors, facts | own)
        if self._stop_requested():
            raise Interrupted(f"stopped on request; checkpoint in {self.folder}")

    @property
    def should_checkpoint(self) -> bool:
        """Whether the process was asked to stop, so that a checkpoint should be written now."""
        return self._stop_requested()

    def resume(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last checkpoint, or None to start from the beginning.

        A damaged checkpoint, or another run's, is reported and ignored: the run starts from the
        beginning.
        """
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return None
        try:
            tensors, facts = load_tensors(path)
        except UserError as error:
            log.warning("%s; starting from the beginning", error)
            return None
        # Checkpoints of earlier versions do not name their run.
        if "spent" not in facts or facts.get("run", self.record["hash"]) != self.record["hash"]:
            log.warning("%s is not of this run; starting from the beginning", path)
            return None
        log.info("resumed from %s", path)
        # After SIGKILL the record lacks the time up to the checkpoint.
        self._spent = max(self._spent, tuple(facts["spent"]))
        return tensors, facts

    def begin(self, config_text: str) -> None:
        """Write the configuration and the record of a run in progress."""
        for left_behind in self.folder.glob(".*.tmp"):
            left_behind.unlink()
        write_text(self.folder / "config.yaml", config_text)
        self._write("running")

    def finish(self) -> FinishedRun:
        """Write the metrics and the record of a finished run, and delete its checkpoint."""
        stream = io.StringIO()
        writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self.folder / "metrics.csv", stream.getvalue())
        self.record["artefacts"] = self._artefacts
        self.record["metrics_sha256"] = sha256(self.folder / "metrics.csv")
        self._write("done")
        tidy(self.folder)
        return FinishedRun(self.folder, self.record)

    def interrupted(self) -> None:
        """Write the record of a run that was asked to stop."""
        self._write("interrupted")

    def failed(self, error: BaseException) -> None:
        """Write the record of a run that ended with an exception."""
        self.record["error"] = f"{type(error).__name__}: {error}"
        self.record["traceback"] = "".join(traceback.format_exception(error))
        self._write("failed")

    def _time(self) -> tuple[float, float]:
        """Return the wall and CPU seconds of all attempts so far."""
        wall = time.monotonic() - self._started[0]
        cpu = time.process_time() - self._started[1]
        return round(self._spent[0] + wall, 3), round(self._spent[1] + cpu, 3)

    def _write(self, status: str) -> None:
        self.record["status"] = status
        self.record["wall_seconds"], self.record["cpu_seconds"] = self._time()
        self.record["peak_memory_mib"] = machine.peak_memory_mib()
        self.record |= machine.accelerator(str(self.record["facts"].get("device", "")))
        self.record = seal(self.record)
        write_json(self.folder / RECORD, self.record)
