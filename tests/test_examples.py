"""Code that the pages of documentation show is the code of files that run.

    <!-- code of docs/examples/first.py -->
    ```python
    ...
    ```

A block below such a line stands, word for word, in that file. Building the documentation runs the
files of `docs/examples`; others are tests and what tests use.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^<!-- code of (\S+) -->\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = {page: _BLOCK.findall(page.read_text(encoding="utf-8")) for page in DOCS.glob("*.md")}
SHOWN = sorted(page for page, blocks in BLOCKS.items() if blocks)


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_code_on_a_page_stands_in_its_file(page: Path) -> None:
    for name, code in BLOCKS[page]:
        source = (ROOT / name).read_text(encoding="utf-8")
        assert f"\n{code}" in f"\n{source}", f"{page.name}: this is not in {name}:\n{code}"


def test_every_example_is_on_a_page() -> None:
    shown = {name for blocks in BLOCKS.values() for name, _ in blocks}
    assert shown >= {f"docs/examples/{path.name}" for path in (DOCS / "examples").glob("*.py")}


def test_every_page_can_be_read_as_a_plain_file() -> None:
    """No code is taken in only when the pages are built, and no line loses its block."""
    for page, blocks in BLOCKS.items():
        text = page.read_text(encoding="utf-8")
        assert "{literalinclude}" not in text, page.name
        assert text.count("<!-- code of ") == len(blocks), page.name
