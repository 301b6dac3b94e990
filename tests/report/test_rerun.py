"""The page on running a figure again: every preset, its commands, what its runs took."""

from __future__ import annotations

import json
import re

import pytest

from report.rerun import rerun_page
from tests.report.conftest import ROOT


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    parts = re.split(r"^## (\w+)$", rerun_page(ROOT), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_preset_has_a_section_with_its_trial(sections: dict[str, str]) -> None:
    presets = {path.stem: path for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    assert sections.keys() == presets.keys()
    for name, path in presets.items():
        for line in path.read_text().splitlines():
            if line.startswith("# Trial (minutes): "):
                command = line.removeprefix("# Trial (minutes): ")
                assert f"\n\nTrial (minutes):\n\n    {command}\n" in sections[name]


def test_times_are_those_of_the_records(sections: dict[str, str]) -> None:
    records = json.loads((ROOT / "results" / "measured" / "scan" / "few_shot.json").read_text())
    minutes = sum(record.get("cpu_seconds", 0) for record in records.values()) / 60
    memory = max(record.get("peak_memory_mib", 0) for record in records.values())
    said = f"The {len(records)} committed runs of `few_shot` took {minutes:.0f} CPU-minutes"
    assert said in sections["figure10"]
    assert f"at most {memory:.0f} MiB each;" in sections["figure10"]


def test_what_has_no_rows_says_so(sections: dict[str, str]) -> None:
    assert "No rows are committed yet" in sections["figure11a"]
