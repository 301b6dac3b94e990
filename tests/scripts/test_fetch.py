"""What a preset needs of the network: fetched once, and the variable that other machines need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.fetch import main
from tests.experiments.emulated import emulated_hub, publish
from tests.experiments.hub_server import Behaviour, HubServer

FILES = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"weights"}
#: A preset of seven jobs that needs one model.
WORDS = (
    "figure3",
    "group=man_woman",
    "model=causal_lm",
    "task.judges=[words]",
    "task.scorer=words",
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with emulated_hub(monkeypatch, tmp_path / "cache") as server:
        publish(server, "owner/model", FILES)
        yield server


def test_everything_is_fetched_once_and_the_variable_is_named(
    hub: HubServer, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", "/shared/hub")
    monkeypatch.delenv("TORCH_HOME", raising=False)
    words = (*WORDS, "model.source=owner/model")
    assert main(words) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("export HF_HUB_OFFLINE=1 HF_HOME=/shared/hub")
    assert {path.name for path in tmp_path.glob("cache/*/snapshots/*/*")} == set(FILES)
    hub.clear()
    assert main(words) == 0
    assert hub.requests == []


def test_what_cannot_be_fetched_is_one_line(hub: HubServer, capsys: Any) -> None:
    hub.behaviour = Behaviour(status=503)
    assert main([*WORDS, "model.source=owner/model"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fetch.py: ") and "owner/model" in line and "503" in line


def test_a_preset_that_needs_nothing_asks_nothing(hub: HubServer, capsys: Any) -> None:
    assert main(["table2", "seed=0", "method=equitune", "protocol=paper"]) == 0
    assert main(["figure20"]) == 2
    assert "figure20" in capsys.readouterr().err
    assert hub.requests == []


def test_each_thing_that_is_missing_is_a_line(
    hub: HubServer, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that need no network help nobody whose images need one too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["figure8", "model=RN50,ViT-B-32"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1:4] for line in lines] == [
        ["the", "weights", "openai"],
        ["uoft-cs/cifar100", "cannot", "be"],
        ["the", "weights", "openai"],
    ]
    assert main(["figure8", "model=SmallCLIP", "seed=0,1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fetch.py: uoft-cs/cifar100 cannot be fetched")
    assert main(["figure3", "group=man_woman", "model=gpt2", "arm=fairness/equizero"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "openai-community/gpt2" in lines[0] and "regard" in lines[1]
