"""Records of earlier versions get the options that their rows' labels name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.frame.record_files import SEAL, parse_record, seal
from report import checksums
from report.results import departing, load_results, option
from scripts.migrate_results import departures_of, main

LABEL = "draw=batch, judges=['a', 'b'], finetune.rate=0.01, mask=False, checkpoint=12345678"


def old(path: Path, **changes: Any) -> None:
    """Take away what a record of an earlier version has not."""
    record = json.loads(path.read_text()) | changes
    del record["departures"]
    path.write_text(json.dumps(seal(record)))


def test_a_label_is_taken_apart_into_typed_values() -> None:
    assert departures_of(LABEL) == {
        "draw": "batch",
        "judges": ["a", "b"],
        "finetune.rate": 0.01,
        "mask": False,
        "checkpoint": 12345678,
    }
    assert departures_of("rate=1e-05") == {"rate": 1e-05}
    assert departures_of("source=007") == {"source": "007"}
    assert departures_of("second encoder") == {}


def test_runs_and_committed_rows_are_brought_up_to_date(tree: Any, capsys: Any) -> None:
    fresh = tree.run("a", tree.rows([70.0], variant=LABEL)).with_name("record.json")
    plain = tree.run("b", tree.rows([71.0], model="GRU")).with_name("record.json")
    kept = tree.measured(tree.rows([72.0], variant="score=emitted", model="RNN"))
    old(fresh)
    old(plain)
    records = json.loads(kept.with_suffix(".json").read_text())
    del records["some-run"]["departures"]
    kept.with_suffix(".json").write_text(json.dumps(records))
    checksums.note(tree.path / "measured", [kept, kept.with_suffix(".json")])
    before = {path: path.read_bytes() for path in tree.path.rglob("*.*")}
    with pytest.raises(ValueError, match=r"does not tell the options of 'score=emitted'; python s"):
        load_results(tree.path)

    assert main(["--results", str(tree.path)]) == 0  # a dry run
    assert "2 files would change" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in tree.path.rglob("*.*")} == before
    assert main(["--results", str(tree.path), "--write"]) == 0
    assert plain.read_bytes() == before[plain]
    assert SEAL in parse_record(fresh.read_text())
    results = load_results(tree.path)
    assert not results.gaps  # the checksums are those of the new files
    rows = results.ours
    assert list(departing(rows)) == list(rows["variant"])
    one = rows[rows["variant"] == LABEL]
    assert option(one, "finetune.rate").item() == 0.01
    rest = departing(one, "judges", "mask").item()
    assert rest == "draw=batch, finetune.rate=0.01, checkpoint=12345678"
    assert main(["--results", str(tree.path), "--write"]) == 0
    assert "0 files changed" in capsys.readouterr().out


def test_a_record_that_cannot_be_read_is_one_line(tree: Any, capsys: Any) -> None:
    path = tree.run("a", tree.rows([70.0], variant="x=1")).with_name("record.json")
    path.write_text("{")
    assert main(["--results", str(tree.path), "--write"]) == 1
    assert capsys.readouterr().err.startswith("migrate_results.py: after 0 files: ")


def test_a_row_s_own_text_is_no_option(tree: Any) -> None:
    tree.measured(tree.rows([1.0], variant="second encoder"))
    rows = load_results(tree.path).ours
    assert list(departing(rows, "training")) == ["second encoder"]
    assert option(rows, "training").isna().all()
