"""What the README shows is what the committed rows say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import readme
from scripts.readme import main
from tests.scripts.conftest import ROOT, ran


@pytest.fixture(scope="module", autouse=True)
def rows_once() -> Iterator[None]:
    """Read rows and judge claims once: they are the same in every checkout here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("load_results", "make_report"):
            patch.setattr(readme, name, _once(getattr(readme, name)))
        yield


def _once(function: Callable[..., Any]) -> Callable[..., Any]:
    found: list[Any] = []

    def call(*arguments: Any) -> Any:
        found.extend([] if found else [function(*arguments)])
        return found[0]

    return call


def test_the_lines_that_are_to_be_pasted_print_what_stands_below_them() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, code, rest = re.split(
        r"```python\n|```\n", text.partition("## A first example")[2], maxsplit=2
    )
    expected = re.split(r"```\n", rest, maxsplit=2)[1]
    assert ran("-c", code).stdout == expected


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the program reads and writes, to be changed."""
    for name in (
        *("README.md", "docs/which-method.md", "docs/claims.md", "docs/rerun.md"),
        *("docs/model_card.md", "docs/images/figure10.svg", "docs/images/idea.svg"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((ROOT / name).read_bytes())
    for name in ("results", "tests", "conf"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_the_table_and_the_picture_are_those_of_the_rows(capsys: Any) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_what_was_changed_is_noticed_and_mended(checkout: Path, capsys: Any) -> None:
    picture, before = checkout / "docs" / "images" / "figure10.svg", {}
    changes = {
        "claims": ("**undecided", "**reproduced"),
        "model_card": ("| trivial | pretrained | ", "| trivial | pretrained | 9"),
    }
    for name, change in changes.items():
        page = checkout / "docs" / f"{name}.md"
        before[page] = page.read_text(encoding="utf-8")
        assert change[0] in before[page]
        page.write_text(before[page].replace(*change, 1), encoding="utf-8")
    picture.unlink()
    assert main(["--root", str(checkout), "--check"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(";")[0] for line in lines] == [
        f"out of date: {path}" for path in (*before, picture)
    ]
    assert main(["--root", str(checkout)]) == 0
    assert {page: page.read_text(encoding="utf-8") for page in before} == before
    assert picture.read_bytes() == (ROOT / "docs" / "images" / "figure10.svg").read_bytes()


def test_a_readme_without_a_place_for_the_table_is_refused(checkout: Path, capsys: Any) -> None:
    (checkout / "README.md").write_text("# other\n", encoding="utf-8")
    assert main(["--root", str(checkout)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"readme.py: {checkout / 'README.md'}: no lines '<!-- methods")
    assert error.count("\n") == 1
