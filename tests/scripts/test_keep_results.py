"""Committing rows: the tables read what was copied, with the records of all runs behind it."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from scripts._results import load_results
from scripts.keep_results import keep


def test_kept_rows_read_back_with_their_records(tree: Any) -> None:
    path = tree.run("evaluate-a", [tree.row(70.0), tree.row(71.0, split="validation")])
    record = json.loads(path.with_name("record.json").read_text())
    path.with_name("record.json").write_text(
        json.dumps(record | {"facts": {"pretrained_by": "pretrain-b"}})
    )
    tree.run("pretrain-b", [tree.row(1.0, method="")], stage="pretrain")
    tree.run("evaluate-demo", [tree.row(10.0, scale="demo")])
    tree.run("evaluate-failed", [tree.row(11.0)], status="failed")
    written, runs = keep(tree.path, "scan", "zero_shot", {"scale": "paper"})
    assert runs == 1
    records = json.loads(written.with_suffix(".json").read_text())
    assert set(records) == {"evaluate-a", "pretrain-b"}
    shutil.rmtree(tree.path / "runs")
    results = load_results(tree.path)
    assert sorted(results.ours["value"]) == [70.0, 71.0]
    assert set(results.ours["origin"]) == {"measured"}


def test_nothing_to_keep_is_said(tree: Any) -> None:
    with pytest.raises(ValueError, match="no finished run of task scan"):
        keep(tree.path, "scan", "none", {"model": "LSTM"})
