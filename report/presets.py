"""The presets of ``conf/experiment``: what they run, and commands for what is missing of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from report.aggregate import Labels

# Read without OmegaConf, whose import takes longer than building a table.
_CONF = Path(__file__).parents[1] / "conf"
_OVERRIDE = "override /"
#: Options that no label names: rows tell them.
_TRAINED = "finetune.iterations"
#: Options that make another one needless.
_NEEDLESS = {"maximum": "loss"}
_OF_ARM = ("method", "model")
_IN_ROWS = (*_OF_ARM, _TRAINED, "finetune.evaluate_every", "over_equitune")
# In C where yaml was built with it.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def axes(preset: str) -> Mapping[str, tuple[str, ...]]:
    """The options that a preset or its task chooses, with the values that it sweeps over.

    Of an option that neither names there are none: the root configuration chooses it.
    """
    content = _read("experiment", preset)
    chosen = _chosen(content)
    chosen = _chosen(_read("task", *chosen["task"])) | chosen
    return chosen | {name: tuple(str(text).split(",")) for name, text in _swept(preset).items()}


def artefact(preset: str) -> str:
    """The table or figure that shows the rows of a preset."""
    name = _read("experiment", preset).get("artefact")
    if name is None:
        raise ValueError(
            f"conf/experiment/{preset}.yaml: no artefact, the table that shows its rows"
        )
    return str(name)


def _swept(preset: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _read("experiment", preset)["hydra"]["sweeper"]["params"]
    return found


@cache
def arms(preset: str) -> tuple[Labels, ...]:
    """The method of each arm that a preset sweeps over, with the options of its task and its own.

    Options of options have a dot in their names. A preset without arms sweeps over methods. The
    method is empty where an arm leaves it to the preset.
    """
    if "arm" not in axes(preset):
        return tuple({"method": method} for method in axes(preset).get("method", ("",)))
    read = [_read("arm", name) for name in axes(preset)["arm"]]
    return tuple(
        {"method": _chosen(arm).get("method", ("",))[0]}
        | {name: texts[0] for name, texts in _chosen(arm).items() if name == "model"}
        | _flat(arm.get("task", {}))
        | _flat(arm.get("method", {}))
        for arm in read
    )


def is_job(preset: str, cells: Labels, steps: Collection[str], departures: Labels) -> bool:
    """Whether a run is one of a preset's jobs.

    Args:
        preset: The preset.
        cells: The columns of its rows, the same in all of them but for the step.
        steps: Those of all its rows.
        departures: The options by which it departs from the protocol, as texts.
    """
    if cells["task"] != axes(preset)["task"][0]:
        return False
    return any(_fits(preset, arm, cells, steps, departures) for arm in arms(preset))


def _fits(
    preset: str, arm: Labels, cells: Labels, steps: Collection[str], departures: Labels
) -> bool:
    """Whether a run has the options of an arm of a preset, and departs by no other."""
    chosen = axes(preset)
    texts = {**chosen, **{name: (arm[name],) for name in _OF_ARM if arm.get(name)}}
    # A model that is equivariant by construction has a group of its own.
    alone = cells["group"] == "trivial" or "model" in arm
    texts["group"] = () if alone else groups(preset, cells["dataset"])
    if any(texts.get(name) and text not in texts[name] for name, text in cells.items()):
        return False
    options = {**fixed(preset), **arm}
    if cells["task"] == "scan" and options.get(_TRAINED, "") not in steps:
        return False
    unread = {*_IN_ROWS, *(_NEEDLESS.get(name) for name in options)}
    wanted: dict[str, tuple[str, ...]] = {
        name: (text,) for name, text in options.items() if name not in unread
    }
    wanted |= {n.removeprefix("task."): swept for n, swept in chosen.items() if "." in n}
    where = cells["task"], cells["protocol"], cells["method"]
    return departures.keys() <= wanted.keys() and all(
        departures.get(name, default(*where, name) or valid[0]) in valid
        for name, valid in wanted.items()
    )


@cache
def fixed(preset: str) -> Labels:
    """The options of the task that a preset sets for all of its runs."""
    return _flat(_read("experiment", preset).get("task", {}))


@cache
def default(task: str, protocol: str, method: str, name: str) -> str:
    """The value of an option of a task or of a method where nothing chooses it; empty for none."""
    own: dict[str, Any] = {}
    # Each overrides those above it.
    for group, file in (
        ("task", task),
        ("task_scale", f"{task}_paper"),
        ("task_protocol", f"{task}_{protocol}"),
        ("method", method),
        ("task_method", f"{task}_{method}"),
        ("task_protocol_method", f"{task}_{protocol}_{method}"),
    ):
        if (_CONF / group / f"{file}.yaml").is_file():
            content = _read(group, file)
            own |= {**content, **_flat(content), **_flat(content.get("task", {}))}
    value = str(own.get(name))
    return "" if value in ("None", "???") else value


@cache
def groups(preset: str, dataset: str) -> tuple[str, ...]:
    """The groups of a preset on a data set: those of its sweep, or the data set's own."""
    own = _chosen(_read("dataset", dataset)).get("group", ())
    return axes(preset)["group"] if "group" in _swept(preset) or not own else own


def _flat(section: Mapping[str, Any]) -> dict[str, str]:
    """The options of a section as texts, by their names: `lambda_net.steps`."""
    found: dict[str, str] = {}
    for name, value in section.items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": text for key, text in _flat(value).items()}
        else:
            found[name] = str(value)
    return found


@cache
def _read(group: str, name: str) -> Mapping[str, Any]:
    text = (_CONF / group / f"{name}.yaml").read_text(encoding="utf-8")
    content: Mapping[str, Any] = yaml.load(text, _Loader)
    return content


def _chosen(content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The options of the list `defaults`, such as `override /dataset@_global_.dataset: symbols`."""
    return {
        str(name).removeprefix(_OVERRIDE).partition("@")[0]: (str(value),)
        for entry in content.get("defaults", ())
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
