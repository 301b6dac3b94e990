"""Exported weights: whole files with their records and checksums, and none of a doubtful run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.frame.files import load_tensors, save_tensors, sha256, write_json
from experiments.frame.record_files import RECORD, parse_record, seal
from report import checksums
from scripts.export_weights import main

NAME = "pretrain-cifar100-SmallCLIP-seed0-b39204247f42"
WEIGHTS, METRICS = "model.safetensors", "metrics.csv"


def write_run(results: Path, task: str, name: str, status: str = "done") -> Path:
    """The folder of a run as the frame leaves it, with one tensor."""
    folder = results / "runs" / task / name
    folder.mkdir(parents=True)
    save_tensors(folder / WEIGHTS, {"weight": torch.arange(3.0)})
    (folder / METRICS).write_text("metric,value\n")
    facts = {"artefacts": {WEIGHTS: sha256(folder / WEIGHTS)}}
    record = {"status": status, "name": name, "metrics_sha256": sha256(folder / METRICS), **facts}
    write_json(folder / RECORD, seal(record))
    return folder


def exported(tmp_path: Path, *words: str) -> tuple[int, list[str]]:
    """The status of the command, and the names of the files that it wrote."""
    out = tmp_path / "out"
    status = main([str(out), "--results", str(tmp_path), *words])
    return status, sorted(path.name for path in out.glob("*"))


def test_weights_have_plain_names_records_and_checksums(tmp_path: Path) -> None:
    source = write_run(tmp_path, "clip", NAME)
    write_run(tmp_path, "cnn", "lambda-cifar10-ResNet20-seed0-0123456789ab")
    write_run(tmp_path, "clip", "evaluate-cifar100-SmallCLIP-seed0-0123456789ab")
    assert exported(tmp_path, "--task", "clip") == (
        *(0, ["SHA256SUMS", f"clip-{NAME}-{WEIGHTS}", f"clip-{NAME}.json"]),
    )
    out = tmp_path / "out"
    tensors, _ = load_tensors(out / f"clip-{NAME}-{WEIGHTS}")
    assert tensors["weight"].tolist() == [0, 1, 2]
    assert parse_record((out / f"clip-{NAME}.json").read_text()) == json.loads(
        (source / RECORD).read_text()
    )
    status, names = exported(tmp_path)
    assert status == 0 and len(names) == 5
    sums = checksums.read(out)
    assert sums == {name: sha256(out / name) for name in names if name != checksums.NAME}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("status", "not finished, its status is interrupted"),
        ("no record", "no such file"),
        ("record", "not a whole record"),
        ("renamed", "the record of another run"),
        ("metrics", "missing, or not as it was recorded"),
        ("weights", "does not match the checksum"),
        ("no weights", "is missing"),
    ],
)
def test_a_doubtful_run_is_refused_in_one_line(
    tmp_path: Path, capsys: Any, damage: str, said: str
) -> None:
    folder = write_run(tmp_path, "clip", NAME, "interrupted" if damage == "status" else "done")
    record = folder / RECORD
    if damage == "no record":
        record.unlink()
    elif damage == "record":
        record.write_text(record.read_text().replace("b3920", "c3920"))
    elif damage == "renamed":
        folder.rename(folder.with_name(f"{NAME}0"))
    elif damage == "metrics":
        (folder / METRICS).write_text("metric,value\naccuracy,100\n")
    elif damage == "weights":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1] + b"\1")
    elif damage == "no weights":
        (folder / WEIGHTS).unlink()
    assert exported(tmp_path) == (2, [])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("refused: ") and said in lines[0]
    assert lines[1].startswith("export_weights.py: ")
    write_run(tmp_path, "clip", "pretrain-whole")
    status, names = exported(tmp_path)
    assert status == 1 and len(names) == 3 and not [name for name in names if NAME in name]
