"""The committed rows are covered by checksums: an edit or a cut is seen and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from report import checksums
from report.results import load_results
from scripts.keep_results import keep, parse_condition
from scripts.paper_figures import main

MEASURED = Path(__file__).resolve().parents[2] / "results" / "measured"


@pytest.fixture
def kept(tree: Any) -> Path:
    """A committed file of two rows."""
    tree.run("a", [tree.row(70.0)])
    tree.run("b", [tree.row(71.0, seed=1)])
    path, _ = keep(tree.path, "scan", "own", [])
    return path


def test_every_committed_file_is_as_it_was_kept() -> None:
    files = {path.relative_to(MEASURED).as_posix() for path in MEASURED.glob("*/*")}
    assert set(checksums.read(MEASURED)) == files
    tasks = {name.partition("/")[0] for name in files}
    assert [list(checksums.changed(MEASURED, task)) for task in tasks] == [[]] * len(tasks)


@pytest.mark.parametrize("name", ["own.csv", "own.json"])
@pytest.mark.parametrize("change", ["edit", "cut"])
def test_a_change_is_named_and_counts(
    tree: Any, kept: Path, capsys: Any, name: str, change: str
) -> None:
    assert load_results(tree.path).gaps == ()
    path = kept.with_name(name)
    text = path.read_text(encoding="utf-8")
    if change == "edit":
        path.write_text(text.replace("70.0", "90.0") + ("" if "70.0" in text else " "))
    elif name == "own.csv":
        path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    else:
        path.write_text(text.rstrip())
    line = f"{path} is not as it was kept (SHA256SUMS): its numbers count as they are now"
    assert load_results(tree.path).gaps == (line,)
    assert load_results(tree.path, ("dqn",)).gaps == ()
    assert main(["--results", str(tree.path), "table2"]) == 0
    assert line in capsys.readouterr().out


def test_keeping_again_writes_them_anew(tree: Any, kept: Path) -> None:
    before = checksums.read(kept.parents[1])
    tree.run("c", [tree.row(72.0, seed=2)])
    keep(tree.path, "scan", "own", [])
    keep(tree.path, "scan", "other", [parse_condition("seed=2")])
    after = checksums.read(kept.parents[1])
    assert before["scan/own.csv"] != after["scan/own.csv"] and len(after) == 4
    assert load_results(tree.path).gaps == ()
    kept.with_name("other.csv").unlink()
    kept.with_name("other.json").unlink()
    keep(tree.path, "scan", "own", [])
    assert sorted(checksums.read(kept.parents[1])) == ["scan/own.csv", "scan/own.json"]


def test_without_the_file_nothing_is_compared_and_a_strange_one_is_refused(
    tree: Any, kept: Path
) -> None:
    sums = kept.parents[1] / checksums.NAME
    sums.write_text("no checksum\n")
    with pytest.raises(ValueError, match=r"SHA256SUMS:1: not a SHA-256, two spaces and a path"):
        load_results(tree.path)
    sums.unlink()
    kept.write_text(kept.read_text().replace("70.0", "90.0"))
    assert load_results(tree.path).gaps == ()
