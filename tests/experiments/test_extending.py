"""What the page on extending says can be typed does work."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
#: The least that a run of these tasks can do.
TINY_SCAN = (
    *("model=RNN", "task.max_commands=20", "task.pretrain.iterations=1"),
    *("task.pretrain.evaluations=1", "task.pretrain.backend=torch"),
)


def words_of(start: str) -> list[str]:
    """The words of the one command on the page that starts so."""
    (line,) = re.findall(rf"^    (python {re.escape(start)}.*)$", PAGE, re.MULTILINE)
    return shlex.split(line)[1:]


def run(words: list[str], results: Path) -> dict[str, str]:
    """Run a command and return the record of its evaluation."""
    command = [sys.executable, *words, "logger=none", f"results={results}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    (path,) = (results / "runs").glob("*/evaluate-*/record.json")
    record: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return record


def test_a_group_of_ones_own_needs_only_the_file_on_the_page(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n# my/(group/\w+\.yaml)\n(.*?)```", PAGE, re.DOTALL)
    (name, text), *_ = blocks
    path = tmp_path / "my" / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    words = words_of("run.py --config-dir my")
    words[words.index("my")] = str(tmp_path / "my")
    record = run([*words, *TINY_SCAN], tmp_path / "results")
    assert record["status"] == "done" and "verb_look" in record["name"]

    path.write_text(text.replace("[[jump, look]]", "[[jump, hop]]"), encoding="utf-8")
    command = [sys.executable, *words, *TINY_SCAN, f"results={tmp_path}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and len(ran.stderr.splitlines()) == 1 and "hop" in ran.stderr


@pytest.mark.slow
def test_images_of_ones_own_need_only_a_folder(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 4)):
        for name in ("circles", "squares"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = noise.integers(0, 255, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    words = [
        word.replace("FOLDER", str(tmp_path / "images"))
        for word in words_of("run.py task=cnn dataset=images")
    ]
    record = run([*words, "task.pretrain.epochs=1"], tmp_path / "results")
    assert record["status"] == "done" and "images" in record["name"]
