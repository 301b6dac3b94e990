"""The source of a user's module: which files decide a run's numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.frame.modules import source_digests
from experiments.frame.options import AnyConfig
from experiments.frame.stages import name_run
from experiments.frame.tasks import load_task

Configure = Callable[..., AnyConfig]
#: Files of a user's folder, by path. `other.py` is imported by nobody.
FILES = {
    "mine.py": "import math, beside\nfrom kit import rewards\nfrom kit.deep import *\n"
    "register('Mine-v0', entry_point='named.envs:Mine')\nimport_module('loaded')\n",
    "named/__init__.py": "",
    "named/envs.py": "",
    "loaded.py": "",
    "beside.py": "def f():\n    import late\n",
    "late.py": "",
    "other.py": "",
    "kit/__init__.py": "",
    "kit/rewards.py": "from . import tables\nfrom .deep.below import name\n",
    "kit/tables.py": "import experiments.frame.files, numpy\n",
    "kit/unused.py": "",
    "kit/deep/__init__.py": "",
    "kit/deep/below.py": "from ..tables import name\n",
}
READ = sorted(FILES.keys() - {"other.py", "kit/unused.py"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    return tmp_path / "own"


def test_what_a_module_imports_from_beside_it_counts(folder: Path) -> None:
    before = source_digests("mine")
    assert list(before) == READ
    for name in FILES:
        (folder / name).write_text(FILES[name] + "# changed\n")
        after = source_digests("mine")
        assert {n for n in READ if after[n] != before[n]} == {name} & set(READ)
        before = after
    assert list(source_digests("kit.rewards")) == [n for n in READ if n.startswith("kit/")]


def test_of_an_installed_package_it_is_the_package_alone(folder: Path) -> None:
    found = source_digests("filelock")
    assert "filelock/__init__.py" in found
    assert all(name.startswith("filelock/") for name in found)
    own = "experiments/dqn/envs/pendulum.py"
    assert list(source_digests("experiments.dqn.envs.pendulum")) == [own]


def test_what_cannot_be_read_is_left_to_who_imports_it(folder: Path) -> None:
    assert source_digests("nowhere") == source_digests("nowhere.at.all") == {}
    assert source_digests("math") == source_digests("") == {}
    (folder / "mine.py").write_text("def broken(:")
    assert list(source_digests("mine")) == ["mine.py"]


def test_a_run_is_named_by_the_source_of_its_environment_and_simulator(
    configure: Configure, folder: Path
) -> None:
    def names(*words: str) -> list[str]:
        task, config = load_task("dqn"), configure("task=dqn", *words)
        return [name_run(task, task.stages[s], config).hash for s in ("pretrain", "evaluate")]

    own = ("dataset.environment=mine:Mine-v0",)
    copied = ("dataset.simulator=mine:make",)
    before = names(), names(*own), names(*copied)
    (folder / "late.py").write_text("REWARD = 2\n")
    after = names(), names(*own), names(*copied)
    assert before[0] == after[0]
    assert not set(before[1]) & set(after[1])
    assert before[2][0] == after[2][0] and before[2][1] != after[2][1]


def test_what_a_module_imports_from_elsewhere_counts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("shelf/tools.py", "shelf/box/__init__.py", "shelf/box/inner.py", "shelf/idle.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("import numpy, equitune, json\n")
    monkeypatch.syspath_prepend(str(tmp_path / "shelf"))
    (folder / "late.py").write_text("import tools\n")
    (tmp_path / "shelf" / "tools.py").write_text("from box.inner import x\n'run', 'scripts.runs'\n")
    before = source_digests("mine")
    assert list(before) == sorted([*READ, "tools.py", "box/__init__.py", "box/inner.py"])
    (tmp_path / "shelf" / "box" / "inner.py").write_text("x = 2\n")
    after = source_digests("mine")
    assert {name for name in before if after[name] != before[name]} == {"box/inner.py"}


def test_a_run_is_named_by_the_files_that_its_environment_is_given(
    configure: Configure, tmp_path: Path
) -> None:
    task, table, other = load_task("dqn"), tmp_path / "table.csv", tmp_path / "other.csv"
    given = (f"+dataset.arguments.table={table}", f"+dataset.arguments.more=[{{a:{other}}}]")
    config, names = configure("task=dqn", *given), set[str]()
    for path in (table, other, table):
        path.write_text(f"{len(names)}\n")
        names |= {name_run(task, task.stages[s], config).hash for s in ("pretrain", "evaluate")}
    assert len(names) == 6
    plain = configure("task=dqn", "+dataset.arguments.n=3")
    assert "files" not in task.stages["pretrain"].identity(plain)["environment"]
