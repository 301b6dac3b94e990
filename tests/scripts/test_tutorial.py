"""The tutorial: page and notebook are its source, and running it gives about what they show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts import tutorial
from scripts.tutorial import NOTEBOOK, PAGE, PICTURE, SOURCE, Cell, Output, cells, main, run
from tests.scripts.conftest import ROOT

FOUND = cells((ROOT / SOURCE).read_text(encoding="utf-8"))
#: Accuracies on turned letters may differ by so many points between processors.
POINTS = 6.0


def accuracies(text: str) -> dict[str, float]:
    """The accuracies on turned letters that a text shows."""
    found = re.findall(r"^(\S.*?) +upright +[\d.]+ +turned +([\d.]+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_the_notebook_and_the_page_are_the_source() -> None:
    notebook = json.loads((ROOT / NOTEBOOK).read_text(encoding="utf-8"))
    assert [
        Cell("".join(cell["source"]), cell["cell_type"] == "code") for cell in notebook["cells"]
    ] == FOUND
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    places = [page.index(cell.text) for cell in FOUND]
    assert places == sorted(places) and len(places) > 10


def test_running_it_gives_about_the_numbers_that_are_shown() -> None:
    shown = accuracies((ROOT / PAGE).read_text(encoding="utf-8"))
    outputs = list(run(FOUND))
    now = accuracies("".join(output.text for output in outputs))
    assert len(shown) == 6 and now.keys() == shown.keys()
    assert all(abs(now[name] - shown[name]) < POINTS for name in shown)
    assert now["pretrained"] < now["equitune"] < now["equizero"] < now["prior"]
    assert outputs[-1].picture.startswith(b"\x89PNG")


def test_it_says_what_it_wrote_and_leaves_docs_alone_if_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tutorial, "run", lambda found: [Output("", b"png")] * len(found))
    main(["--out", str(tmp_path / "own")])
    paths = [tmp_path / "own" / path for path in (PAGE, NOTEBOOK, PICTURE)]
    assert capsys.readouterr().out.splitlines() == [f"wrote {path}" for path in paths]
    assert paths[2].read_bytes() == b"png"
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "file")])
