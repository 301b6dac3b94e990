"""The container, the public workflow and the citation agree with the repository."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

import equitune

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Containerfile with what follows each, on one line."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line]


def test_the_container_copies_what_is_there_and_loads_nothing_by_address() -> None:
    copied = [words.split()[1:-1] for name, words in instructions() if name == "COPY"]
    assert copied and all((ROOT / source).exists() for sources in copied for source in sources)
    assert "ADD" not in dict(instructions())
    assert not re.search(r"https?://|curl|wget", (ROOT / "Containerfile").read_text())


def test_the_container_is_made_by_the_commands_of_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text()
    runs = [words for name, words in instructions() if name == "RUN"]
    assert "install --yes --no-install-recommends ca-certificates git make python3" in runs[0]
    targets = re.findall(r"make ([a-z-]+)", " ".join(runs[1:]))
    assert targets == ["setup", "torch"]
    assert all(re.search(rf"^{target}: ", makefile, re.MULTILINE) for target in targets)


def test_the_container_runs_the_experiments_as_a_user_without_rights() -> None:
    names = [name for name, _ in instructions()]
    assert names.count("USER") == 1 and dict(instructions())["USER"] == "10001"
    assert names.index("USER") < names.index("COPY")
    assert dict(instructions())["ENTRYPOINT"].endswith('/run.py"]')


def test_the_container_leaves_out_what_git_does() -> None:
    def names(file: str) -> set[str]:
        lines = (ROOT / file).read_text().splitlines()
        return {line.removeprefix("**").strip("/") for line in lines}

    assert names(".dockerignore") == names(".gitignore")


def test_the_workflow_calls_what_ci_runs_on_the_oldest_python() -> None:
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = flow["jobs"].values()
    used = {step["uses"].partition("@")[0]: step for step in job["steps"] if "uses" in step}
    assert set(used) == {"actions/checkout", "actions/setup-python"}
    assert (
        f">={used['actions/setup-python']['with']['python-version']}" == PROJECT["requires-python"]
    )
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_citation_is_of_this_version_and_names_the_paper() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == equitune.__version__
    assert cited["license"] == PROJECT["license"]
    assert cited["authors"] == PROJECT["authors"]
    (paper,) = cited["references"]
    assert paper["url"] == PROJECT["urls"]["Paper"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {cited['version']} ({cited['date-released']})" in changes
