"""What a stage reads while it works: values of its configuration, and files of the user's."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.frame import runner
from experiments.frame.stages import Stage

#: Of a value in a configuration: the keys that lead to it.
Keys = tuple[str, ...]


class Watcher:
    """Notes what each stage reads; a stage that another one needs is noted by itself.

    Attributes:
        values: Keys of the values that were read, by stage.
        files: Files that Python opened to read, by stage.
        needs: Pairs of stages: one that has asked for the run of another, and that one.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: dict[str, set[Keys]] = {}
        self.files: dict[str, set[Path]] = {}
        self.needs: set[tuple[str, str]] = set()
        self._stage: str | None = None
        work_of, ensure = Stage.work, runner.ensure

        def watched(stage: Stage) -> Any:
            work = work_of(stage)

            def execute(config: Any, run: Any) -> None:
                with self._within(stage.name):
                    work(config, run)

            return execute

        def unwatched(config: Any, stage: str, *given: Any, **options: Any) -> Any:
            if self._stage is not None:
                self.needs.add((self._stage, stage))
            with self._within(None):
                return ensure(config, stage, *given, **options)

        monkeypatch.setattr(Stage, "work", watched)
        monkeypatch.setattr(runner, "ensure", unwatched)
        _watchers.append(self)

    @contextlib.contextmanager
    def _within(self, stage: str | None) -> Iterator[None]:
        before, self._stage = self._stage, stage
        try:
            yield
        finally:
            self._stage = before

    def watch(self, section: Any, keys: Keys = ()) -> None:
        """Note what is read of a dataclass and of those in it, from now on."""
        kind, watcher = type(section), self

        def read(this: Any, name: str) -> Any:
            value = object.__getattribute__(this, name)
            # A copy of a section is not what was given.
            own = object.__getattribute__(this, "__dict__").get("_watched") == id(this)
            stage = watcher._stage
            leaf = name in kind.__dataclass_fields__ and not dataclasses.is_dataclass(value)
            if own and leaf and stage is not None:
                watcher.values.setdefault(stage, set()).add((*keys, name))
            return value

        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            if dataclasses.is_dataclass(value):
                self.watch(value, (*keys, field.name))
        section.__class__ = type(kind.__name__, (kind,), {"__getattribute__": read})
        section.__dict__["_watched"] = id(section)

    def opened(self, path: Path) -> None:
        """Note a file that is opened to be read."""
        if self._stage is not None:
            self.files.setdefault(self._stage, set()).add(path)

    def close(self) -> None:
        """Note no more files."""
        _watchers.remove(self)


_watchers: list[Watcher] = []


def _look(event: str, given: tuple[Any, ...]) -> None:
    if event != "open" or not _watchers or not isinstance(given[0], str | bytes | os.PathLike):
        return
    if not given[2] & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY):
        path = Path(os.fsdecode(given[0]))
        for watcher in _watchers:
            watcher.opened(path)


sys.addaudithook(_look)  # there is no way to remove one


def others(value: Any, choices: tuple[Any, ...]) -> list[Any]:
    """Return other values of the same type, or all others of the choices."""
    if choices:
        return [choice for choice in choices if choice not in (value, None)]
    found = other(value)
    return [] if found is None else [found]


def other(value: Any) -> Any:
    """Return another value of the same type; None where there is none."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 1.5 + 0.125
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, list | tuple):
        return [*value, value[-1]] if value else None
    if isinstance(value, dict):
        return {**value, next(iter(value)): other(next(iter(value.values())))} if value else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            if (changed := other(getattr(value, field.name))) is not None:
                return dataclasses.replace(value, **{field.name: changed})
    return None


def leaves(section: Any, keys: Keys = ()) -> Iterator[Keys]:
    """Yield the keys of all values of a dataclass and of those in it."""
    for field in dataclasses.fields(section):
        value, own = getattr(section, field.name), (*keys, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, own)
        else:
            yield own


def at(section: Any, keys: Keys) -> tuple[Any, str]:
    """Return the section that holds a value, and the value's own key."""
    *above, last = keys
    for key in above:
        section = getattr(section, key)
    return section, last
