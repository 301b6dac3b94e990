"""Wrong command lines of all programs of the folder: one line, before heavy imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "scripts"
PROGRAMS = sorted(path.name for path in FOLDER.glob("[!_]*.py"))
#: Of every program with an option, or a word, that has choices.
CHOICES = {
    "claims.py": ["--scale", "pepar"],
    "demo.py": ["--only", "clop"],
    "export_weights.py": ["weights", "--task", "clop"],
    "keep_results.py": ["clip", "name", "--scale", "pepar"],
    "paper_figures.py": ["--spread", "sdd"],
    "report.py": ["--scale", "pepar"],
    "runs.py": ["lits"],
}


def refusal(program: str, words: list[str]) -> str:
    """What a program says to wrong words, as one line, with status 2 and nothing else printed."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", str(FOLDER / program), *words],
        capture_output=True,
        text=True,
    )
    lines = ended.stderr.splitlines()
    said = [line for line in lines if not line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines if line not in said}
    assert (ended.returncode, ended.stdout, len(said)) == (2, "", 1), said
    assert not imported & {"torch", "transformers"}
    assert said[0].startswith(f"{program}: ")
    return said[0]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_misspelt_option_is_one_line(program: str) -> None:
    said = refusal(program, ["--hepl"])
    assert "option=--hepl is not known (did you mean --help?); choose from: --help" in said


#: Words that name a folder that is none.
FOLDERS = {
    "paper_figures.py": ["table2", "--out", "README.md/figures"],
    "claims.py": ["--out", "README.md"],
    "migrate_results.py": ["--results", "nowhere"],
}


@pytest.mark.parametrize(("program", "words"), FOLDERS.items())
def test_a_folder_that_is_none_is_one_line(program: str, words: list[str]) -> None:
    assert f"{words[-2]} {words[-1]}: " in refusal(program, words)


@pytest.mark.parametrize(("program", "words"), CHOICES.items())
def test_a_misspelt_choice_is_one_line(program: str, words: list[str]) -> None:
    said = refusal(program, words)
    assert f"={words[-1]} is not known" in said and "; choose from: " in said


#: Of programs that cannot do without words: words that are too few, and what is said.
TOO_FEW = {
    "export_weights.py": ([], "the following arguments are required: FOLDER"),
    "fetch.py": ([], "the following arguments are required: PRESET"),
    "keep_results.py": (["scan"], "the following arguments are required: NAME"),
    "runs.py": ([], "give a command: list or missing"),
}


@pytest.mark.parametrize(("program", "told"), TOO_FEW.items())
def test_a_missing_word_is_named_as_in_the_usage(program: str, told: tuple[list[str], str]) -> None:
    words, said = told
    assert refusal(program, words) == f"{program}: {said}"
