"""Run the tutorial and write it, with its outputs, as a page and as a notebook.

    python scripts/tutorial.py                  over the files in docs/
    python scripts/tutorial.py --out FOLDER     into another folder; docs/ stays as it is

The source is `docs/notebooks/tutorial.py`: cells after lines `# %%`, texts after `# %% [markdown]`.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Run as a file, Python puts this folder on the path, not its parent, which holds `equitune`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.frame.terminal import run_program
from scripts._arguments import ROOT, Parser

SOURCE = Path("docs") / "notebooks" / "tutorial.py"
PAGE, NOTEBOOK = Path("docs") / "tutorial.md", Path("docs") / "notebooks" / "tutorial.ipynb"
PICTURE = Path("docs") / "images" / "tutorial.png"


class Cell(NamedTuple):
    """A text, or code."""

    text: str
    is_code: bool


def cells(source: str) -> list[Cell]:
    """The cells of a source; the marks of comments are taken from texts."""
    found = []
    for part in re.split(r"^# %%", source, flags=re.MULTILINE)[1:]:
        kind, _, body = part.partition("\n")
        if kind.strip():
            found.append(Cell(re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip(), False))
        else:
            found.append(Cell(body.strip(), True))
    return found


class Output(NamedTuple):
    """What a cell of code has printed, and the picture that it has shown, as PNG."""

    text: str
    picture: bytes


def run(found: list[Cell]) -> Iterator[Output]:
    """Run the cells one after the other; a text has no output."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    names: dict[str, Any] = {"__name__": "tutorial"}
    for cell in found:
        printed, picture = io.StringIO(), io.BytesIO()
        if cell.is_code:
            with contextlib.redirect_stdout(printed):
                exec(compile(cell.text, str(SOURCE), "exec"), names)
            if plt.get_fignums():
                plt.savefig(picture, format="png", dpi=110, metadata={"Software": None})
                plt.close("all")
        yield Output(printed.getvalue(), picture.getvalue())


def page(found: list[Cell], outputs: list[Output]) -> str:
    """The tutorial as Markdown."""
    parts = []
    for cell, output in zip(found, outputs, strict=True):
        parts.append(f"```python\n{cell.text}\n```" if cell.is_code else cell.text)
        if output.text:
            parts.append(f"```text\n{output.text}```")
        if output.picture:
            parts.append(f"![Accuracy on turned letters of each method](images/{PICTURE.name})")
    return "\n\n".join(parts) + "\n"


def notebook(found: list[Cell], outputs: list[Output]) -> str:
    """The tutorial as a notebook of format 4.5."""
    parts: list[dict[str, Any]] = []
    for place, (cell, output) in enumerate(zip(found, outputs, strict=True)):
        common = {"id": f"cell{place}", "metadata": {}, "source": cell.text.splitlines(True)}
        if not cell.is_code:
            parts.append({"cell_type": "markdown", **common})
            continue
        shown: list[dict[str, Any]] = []
        if output.text:
            lines = output.text.splitlines(True)
            shown.append({"output_type": "stream", "name": "stdout", "text": lines})
        if output.picture:
            data = {"image/png": base64.b64encode(output.picture).decode()}
            shown.append({"output_type": "display_data", "data": data, "metadata": {}})
        parts.append({"cell_type": "code", "execution_count": None, "outputs": shown, **common})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    whole = {"cells": parts, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and write; print the paths of what was written."""
    parser = Parser(description="Run the tutorial and write its page and its notebook.")
    text = "folder to write to (default: this checkout, over its files in docs/)"
    parser.add_argument("--out", type=Path, default=ROOT, help=text)
    out: Path = parser.parse_args(arguments).out
    parser.check_folder("--out", out)
    found = cells((ROOT / SOURCE).read_text(encoding="utf-8"))
    outputs = list(run(found))
    written = {
        PAGE: page(found, outputs).encode(),
        NOTEBOOK: notebook(found, outputs).encode(),
        PICTURE: next(output.picture for output in outputs if output.picture),
    }
    for path, content in written.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(content)
        print(f"wrote {out / path}")


if __name__ == "__main__":
    run_program(main)
