"""Copy the weights of finished runs to one folder, with their records and checksums.

    python scripts/export_weights.py weights
    python scripts/export_weights.py weights --task clip

Taken are the runs of the stages pretrain and lambda under results/runs. Each leaves its weights,
<task>-<run>-<file>.safetensors, and its record, <task>-<run>.json; SHA256SUMS has their checksums.
A run that is unfinished or damaged is named in one line and left out; the status is then 1.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.frame.files import sha256, write_atomic, write_json
from experiments.frame.record_files import RECORD, finished_record
from experiments.frame.records import FinishedRun
from experiments.frame.tasks import TASKS
from experiments.frame.terminal import run_program
from report import checksums
from scripts._arguments import Parser, refused

STAGES = ("pretrain", "lambda")
WEIGHTS = ".safetensors"


def weight_runs(runs: Path, tasks: Iterable[str]) -> list[Path]:
    """The folders of the runs, finished or not, that make weights."""
    folders = (path for task in tasks for path in sorted((runs / task).glob("*-*")))
    return [path for path in folders if path.is_dir() and path.name.split("-")[0] in STAGES]


def finished_run(folder: Path) -> FinishedRun:
    """The run of a folder, with every file as it was recorded.

    Raises:
        ValueError: It is unfinished, damaged, or another run's, or has no weights; one line.
    """
    path, metrics = folder / RECORD, folder / "metrics.csv"
    record = finished_record(folder)
    if record.get("name") != folder.name:
        raise ValueError(f"{path}: the record of another run, {record.get('name')}")
    if not metrics.is_file() or sha256(metrics) != record.get("metrics_sha256"):
        raise ValueError(f"{metrics}: missing, or not as it was recorded")
    run = FinishedRun(folder, record)
    if (damage := run.damage()) is not None:
        raise ValueError(damage)
    if not any(name.endswith(WEIGHTS) for name in record["artefacts"]):
        raise ValueError(f"{path}: lists no {WEIGHTS} file")
    return run


def export(run: FinishedRun, folder: Path) -> Iterator[Path]:
    """Copy the weights and the record of a run; yield the files."""
    name = f"{run.folder.parent.name}-{run.folder.name}"
    for artefact in sorted(run.record["artefacts"]):
        if artefact.endswith(WEIGHTS):
            copy = folder / f"{name}-{artefact}"
            write_atomic(copy, partial(shutil.copyfile, run.folder / artefact))
            yield copy
    write_json(folder / f"{name}.json", run.record)
    yield folder / f"{name}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; 1 where a run was refused, 2 where there was none to export."""
    parser = Parser(
        prog="export_weights.py",
        description="Copy the weights of finished runs to a folder, with records and checksums.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="made where it is missing")
    parser.add_argument("--task", choices=tuple(TASKS), help="runs of one task (default: all)")
    parser.add_results()
    chosen = parser.parse_args(arguments)
    runs, left_out = [], 0
    for path in weight_runs(chosen.results / "runs", [chosen.task] if chosen.task else TASKS):
        try:
            runs.append(finished_run(path))
        except ValueError as error:
            print(f"refused: {error}", file=sys.stderr)
            left_out += 1
    if not runs:
        return refused(
            f"{chosen.results / 'runs'}: no finished run of {' or '.join(STAGES)}",
            "export_weights.py",
        )
    try:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        files = [path for run in runs for path in export(run, chosen.folder)]
        checksums.note(chosen.folder, files)
    except (OSError, ValueError) as error:
        return refused(error, "export_weights.py")
    print(f"{chosen.folder}: weights of {len(runs)} runs")
    return 1 if left_out else 0


if __name__ == "__main__":
    run_program(main)
