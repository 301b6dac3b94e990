"""Files made to do harm are refused by one line, or computed again, and none of their code is run.

Elsewhere: pickles as weights of CNNs, CLIPs and language models (`cnn/test_backbones.py`,
`clip/test_open_clip.py`, `fairness/test_models.py`); archives that leave their folder
(`images/test_numbered.py`).
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from experiments.frame.record_files import RECORD, parse_record, seal
from experiments.frame.records import FinishedRun, find_finished
from experiments.frame.runner import execute
from experiments.images import cifar
from experiments.images.cifar import LAYOUTS
from experiments.images.sets import load_images
from scripts.keep_results import with_needed
from tests.experiments.emulated import emulated_hub
from tests.experiments.images.conftest import Dataset, dataset
from tests.experiments.program import Program

__all__ = ["dataset"]

Configure = Callable[..., AnyConfig]
RunPy = Callable[..., "subprocess.CompletedProcess[str]"]
SMALL = {
    "scan": ("model=RNN", "task.max_commands=5"),
    "dqn": ("task=dqn", "dataset=gridworld", "task.episodes=2"),
}


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """What a pickle makes if it is read; no test may leave it there."""
    return tmp_path / "evil"


@pytest.mark.parametrize("task", SMALL)
@pytest.mark.parametrize("name", ["evil.pt", "evil.safetensors"])
def test_a_pickle_is_no_checkpoint(
    configure: Configure, tmp_path: Path, evil: Path, task: str, name: str
) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Program(evil)))
    config = configure(*SMALL[task], f"model.checkpoint={tmp_path / name}")
    kind = "file of tensors alone" if name.endswith(".pt") else "safetensors file"
    with pytest.raises(UserError, match=f"{name}: not a complete {kind}") as refused:
        execute(config)
    assert "\n" not in str(refused.value)
    assert not evil.exists()


def test_a_pickle_is_refused_on_the_command_line_in_one_line(
    run_py: RunPy, tmp_path: Path, evil: Path
) -> None:
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Program(evil)))
    result = run_py(*SMALL["scan"], f"model.checkpoint={tmp_path / 'evil.pt'}")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith(f"run.py: {tmp_path}/evil.pt: ")
    assert not evil.exists()


@pytest.mark.parametrize(
    ("kind", "folder", "files"),
    [
        ("cifar10", "cifar-10-batches-py", ("data_batch_1", "test_batch", "batches.meta")),
        ("cifar100", "cifar-100-python", ("train", "test", "meta")),
    ],
)
def test_the_pickles_of_cifar_are_not_read(
    dataset: Dataset, tmp_path: Path, evil: Path, kind: str, folder: str, files: tuple[str, ...]
) -> None:
    (tmp_path / folder).mkdir()
    for name in files:
        (tmp_path / folder / name).write_bytes(pickle.dumps(Program(evil)))
    for root in (tmp_path, tmp_path / folder):
        with pytest.raises(UserError, match=r"has neither \w+/train-0"):
            load_images(dataset(kind, root=str(root)), "train")
    assert not evil.exists()


@pytest.mark.parametrize("where", ["there before", "from the server", "of the right digest"])
def test_another_archive_in_the_place_of_cifar_is_not_unpacked(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("../../escaped", str(tmp_path / "escaped"), "cifar-10-batches-bin/x"):
            archive.addfile(tarfile.TarInfo(name))
    layout, message = LAYOUTS["cifar10"], "its md5 is .* and not"
    if where == "of the right digest":
        layout = layout._replace(md5=hashlib.md5(buffer.getvalue()).hexdigest())
        message = "cannot be unpacked"
    if where == "there before":
        path = tmp_path / "data" / "cifar10" / layout.archive
        path.parent.mkdir(parents=True)
        path.write_bytes(buffer.getvalue())
    monkeypatch.setitem(LAYOUTS, "cifar10", layout)
    monkeypatch.chdir(tmp_path)
    with emulated_hub(monkeypatch, tmp_path / "cache") as hub:
        url = hub.add_file(layout.archive, buffer.getvalue())
        monkeypatch.setattr(cifar, "SERVER", url.removesuffix(layout.archive))
        with pytest.raises(UserError, match=message) as refused:
            load_images(dataset("cifar10"), "train")
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("escaped")) and not list(tmp_path.rglob("x"))


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", ".."])
def test_a_record_names_files_of_its_own_folder_only(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "run"
    folder.mkdir()
    damage = FinishedRun(folder, {"artefacts": {name: "0" * 64}}).damage()
    assert damage is not None and damage.endswith("which is no file of its folder")


def test_a_record_without_artefacts_is_damaged(tmp_path: Path) -> None:
    for artefacts in ({}, {"artefacts": ["a"]}):
        damage = FinishedRun(tmp_path, artefacts).damage()
        assert damage is not None and damage.endswith("lists no artefacts")


def test_a_record_of_another_run_is_not_taken(
    configure: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = ("task.pretrain.iterations=1", "task.pretrain.evaluations=1")
    finished = execute(configure(*SMALL["scan"], *small, "task.pretrain.backend=torch"))
    other = finished.folder.with_name("evaluate-another")
    finished.folder.rename(other)
    assert find_finished(other) is None
    assert "is of another run" in caplog.text


def test_a_record_that_was_changed_is_not_read() -> None:
    text = json.dumps(seal({"status": "done", "facts": {"images": 5}, "wall_seconds": 1.5}))
    assert parse_record(text)["facts"] == {"images": 5}
    with pytest.raises(ValueError, match="does not match its checksum"):
        parse_record(text.replace("5}", "6}"))
    with pytest.raises(ValueError, match="not an object"):
        parse_record("[]")
    # Those of earlier versions have no checksum.
    assert parse_record('{"status": "done"}') == {"status": "done"}


def test_a_record_is_sealed_as_it_is_read_back() -> None:
    record = {"facts": {2: (1, 2.5), 10: None}, "b": float("inf"), "a": "ü"}
    text = json.dumps(seal(record), indent=2)
    assert parse_record(text)["facts"] == {"2": [1, 2.5], "10": None}
    # As committed, with the keys in another order.
    assert parse_record(json.dumps(json.loads(text), sort_keys=True))["a"] == "ü"


@pytest.mark.parametrize(
    "edges",
    [{"facts": {"pretrained_by": "../../secret"}}, {"built_on": {"pretrain": "../../secret"}}],
)
def test_a_record_that_leaves_the_results_folder_is_refused(
    tmp_path: Path, edges: dict[str, Any]
) -> None:
    runs = tmp_path / "runs" / "scan"
    for path in (runs / "evaluate-a", tmp_path / "secret"):
        path.mkdir(parents=True)
        record = {"status": "done", **(edges if path.parent == runs else {})}
        (path / RECORD).write_text(json.dumps(record))
    with pytest.raises(ValueError, match="is not the name of a run") as refused:
        with_needed(["evaluate-a"], runs)
    assert "\n" not in str(refused.value)
