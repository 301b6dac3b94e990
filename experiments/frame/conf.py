"""The folder ``conf/``: the options of its groups and the content of their files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf

from experiments.frame.errors import unknown
from experiments.frame.tasks import load_task

CONF = Path(__file__).parents[2] / "conf"
SectionT = TypeVar("SectionT")
#: The key of Hydra's list of defaults.
_DEFAULTS = "defaults"


def options(section: str, task: str) -> list[str]:
    """Return the options of a config group that belong to a task."""
    names = [path.stem for path in sorted((CONF / section).glob("*.yaml"))]
    named = {name: OmegaConf.select(read(f"{section}/{name}"), "task") for name in names}
    return [name for name, tasks in named.items() if task in owners(tasks)]


def groups_of(task: str) -> list[str]:
    """Return the groups that act on some data set of a task."""
    found, kind = dict[str, None](), load_task(task).sections["dataset"]
    for name in options("dataset", task):
        found |= dict.fromkeys(groups_in(read(f"dataset/{name}"), kind))
    return list(found)


def groups_in(values: Any, kind: type) -> Any:
    """Return the groups that act on a data set: its own, or the defaults of its dataclass.

    Args:
        values: The content of its file.
        kind: The dataclass.
    """
    usual = OmegaConf.select(OmegaConf.structured(kind), "groups")
    return OmegaConf.select(values, "groups", default=usual)


def choices_of(group: str) -> list[str]:
    """Return the options of a config group, those in folders of it as ``FOLDER/NAME``."""
    folder = CONF / group
    return sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml"))


def owners(value: Any) -> list[str]:
    """Return the tasks that a file names: one, or a list."""
    return list(value) if OmegaConf.is_list(value) else [str(value)]


def section(group: str, name: str, kind: type[SectionT], task: str) -> SectionT:
    """Read another option of a config group, besides the run's.

    Args:
        group: The group, a folder of ``conf/``.
        name: The option.
        kind: Its dataclass.
        task: The task that must own it.

    Raises:
        UserError: If there is no such option for this task.
    """
    choices = options(group, task)
    if name not in choices:
        raise unknown(group, name, choices)
    values = {key: value for key, value in read(f"{group}/{name}").items() if key != _DEFAULTS}
    merged = OmegaConf.merge(OmegaConf.structured(kind), values)
    found = OmegaConf.to_object(merged)
    assert isinstance(found, kind)
    return found


def read(option: str) -> Any:
    """Return the content of ``GROUP/NAME``, as OmegaConf reads it; empty if there is no file.

    It belongs to all callers: do not change it.
    """
    return _parsed(CONF / f"{option}.yaml", changed(option))


def changed(option: str) -> int | None:
    """Return when the file of ``GROUP/NAME`` was last changed, in ns; None if there is no file."""
    path = CONF / f"{option}.yaml"
    return path.stat().st_mtime_ns if path.is_file() else None


@cache  # each version of a file is parsed once
def _parsed(path: Path, changed: int | None) -> Any:
    return OmegaConf.create({}) if changed is None else OmegaConf.load(path)
