"""The presets of ``conf/experiment``: what they run, and commands for what is missing of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from report.aggregate import Labels

# Read without OmegaConf, whose import takes longer than building a table.
_CONF = Path(__file__).parents[1] / "conf"
_OVERRIDE = "override /"


@cache
def axes(preset: str) -> Mapping[str, tuple[str, ...]]:
    """The options that a preset or its task chooses, with the values that it sweeps over.

    Of an option that neither names there are none: the root configuration chooses it.
    """
    content = _read("experiment", preset)
    chosen = _chosen(content)
    chosen = _chosen(_read("task", *chosen["task"])) | chosen
    swept = content["hydra"]["sweeper"]["params"]
    return chosen | {name: tuple(str(text).split(",")) for name, text in swept.items()}


@cache
def arms(preset: str) -> tuple[Labels, ...]:
    """The method of each arm that a preset sweeps over, with the options of its task."""
    read = [_read("arm", name) for name in axes(preset)["arm"]]
    return tuple({"method": _chosen(arm)["method"][0], **arm.get("task", {})} for arm in read)


def _read(group: str, name: str) -> dict[str, Any]:
    text = (_CONF / group / f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def _chosen(content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The options of the list `defaults`, such as `override /dataset@_global_.dataset: symbols`."""
    return {
        str(name).removeprefix(_OVERRIDE).partition("@")[0]: (str(value),)
        for entry in content["defaults"]
        for name, value in entry.items()
    }


def command(preset: str, missing: Sequence[Labels], words: Iterable[str]) -> str:
    """The shell command for missing numbers.

    It names the scale always, and of the other `words` those whose values differ from the preset's.
    The word `task.regime` stands for the label `regime`; a word without a label is left out.
    """
    chosen = []
    for word in words:
        label = word.rpartition(".")[2]
        values = ",".join(dict.fromkeys(own[label] for own in missing if label in own))
        if word == "scale" or values not in ("", ",".join(axes(preset).get(word, ()))):
            chosen.append(f"{word}={values}")
    return " ".join(["python run.py", f"experiment={preset}", *chosen])
