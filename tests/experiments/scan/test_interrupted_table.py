"""A table of the paper that is killed again and again: the same numbers, nothing trained twice."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from tests.experiments.conftest import ROOT, command
from tests.experiments.scan.test_runs import kill_at_a_random_moment

TABLE = (
    "experiment=table12",
    "dataset=add_jump",
    "arm=scan/finetuned_equitune,scan/finetuned_equizero",
    "protocol=reference",
    "seed=0",
    "task.max_commands=20",
    "task.pretrain.iterations=3000",
    "task.pretrain.evaluations=2",
    "task.pretrain.checkpoint_every=1000",
    "task.finetune.iterations=2000",
    "task.finetune.checkpoint_every=1000",
)


def finished(results: Path) -> dict[str, tuple[str, dict[str, str], int]]:
    """Return the rows, checksums and number of attempts of every finished run, by folder."""
    found = {}
    for path in (results / "runs" / "scan").glob("*/record.json"):
        record = json.loads(path.read_text())
        if record["status"] == "done":
            rows = (path.parent / "metrics.csv").read_text()
            found[path.parent.name] = (rows, record["artefacts"], record["attempts"])
    return found


@pytest.mark.slow
def test_a_table_killed_at_random_moments_ends_with_the_same_numbers(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    subprocess.run(command(undisturbed, *TABLE), cwd=ROOT, check=True, capture_output=True)
    moments, kills = random.Random(11), 0
    seen: dict[str, int] = {}
    for _ in range(3):
        kills += kill_at_a_random_moment(disturbed, *TABLE, moments=moments, latest=0.5)
        seen = {name: attempts for name, (_, _, attempts) in finished(disturbed).items()} | seen
    assert kills >= 2
    subprocess.run(command(disturbed, *TABLE), cwd=ROOT, check=True, capture_output=True)
    expected, found = finished(undisturbed), finished(disturbed)
    assert len(found) == 5  # a model, two fine-tunings, two evaluations
    assert {name: run[:2] for name, run in found.items()} == {
        name: run[:2] for name, run in expected.items()
    }
    # What was finished before a kill was not begun again.
    assert {name: found[name][2] for name in seen} == seen
