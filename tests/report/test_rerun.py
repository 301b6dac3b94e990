"""The page on running a figure again: every preset, its commands, what its runs took."""

from __future__ import annotations

import json
import re

import pytest

from report.artefacts.catalogue import TASKS
from report.rerun import is_own, rerun_page
from report.results import load_results
from report.runs.earlier import History, committed_runs
from report.runs.jobs import asked
from tests.report.conftest import ROOT


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    parts = re.split(
        r"^## (\w+)$",
        rerun_page(ROOT, load_results(ROOT / "results", TASKS, ("paper",))),
        flags=re.MULTILINE,
    )[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_preset_has_a_section_with_its_trial(sections: dict[str, str]) -> None:
    presets = {path.stem: path for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    assert sections.keys() == presets.keys()
    for name, path in presets.items():
        for line in path.read_text().splitlines():
            if line.startswith("# Trial (minutes): "):
                command = line.removeprefix("# Trial (minutes): ")
                assert f"\n\nTrial (minutes):\n\n    {command}\n" in sections[name]


def test_times_are_those_of_the_presets_own_runs(sections: dict[str, str]) -> None:
    records = json.loads((ROOT / "results" / "measured" / "scan" / "few_shot.json").read_text())
    minutes = sum(record.get("cpu_seconds", 0) for record in records.values()) / 60
    memory = max(record.get("peak_memory_mib", 0) for record in records.values())
    assert "54 committed runs are its own. They took, with the 81 that" in sections["figure10"]
    assert f"build on, {minutes:.0f} CPU-minutes" in sections["figure10"]
    assert f"at most {memory:.0f} MiB each." in sections["figure10"]
    # Other presets have runs in the same files, and other seeds.
    assert "48 committed runs are its own. They took, with the 6 that" in sections["table2"]


def test_what_has_no_rows_says_so(sections: dict[str, str]) -> None:
    nothing = "None of its runs is committed"
    assert f"{nothing}; when some are, " in sections["figure4"]
    assert f"{nothing}; when some are, " in sections["figure11a"]
    assert re.search(
        f"{nothing}. `[^`]+ figure8` shows committed rows of other", sections["figure8"]
    )


@pytest.mark.parametrize("name", ["table2", "scan_rates", "clip_variants", "figure2_tuned"])
def test_the_runs_of_a_preset_are_those_that_its_jobs_would_do(name: str) -> None:
    sweep = asked([f"experiment={name}"])
    runs, records = committed_runs(ROOT / "results" / "measured" / sweep[0].config.task.name)
    own = [run for run in runs if is_own(name, run)]
    for job in sweep[::5]:
        held = [History((*found,), (), records).holds(job.config) for found in (own, runs)]
        assert held[0] == held[1]
    for run in own[::9]:
        assert any(History((run,), (), records).holds(job.config) for job in sweep)
