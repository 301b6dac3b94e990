"""Stages: the kinds of runs that a task has, and how a run gets its name.

A stage is a kind of run. A run's identity is the part of the configuration that it depends on; the
hash of the identity is in the run's folder name, so equal work is done once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from experiments.frame.errors import UserError
from experiments.frame.files import digest
from experiments.frame.methods import METHODS, Kind, Method

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig


@dataclass(frozen=True)
class Number:
    """A number that the terminal shows of a run.

    Attributes:
        metric: Its metric. Rows ``<metric>_low`` and ``<metric>_high`` are its interval.
        name: Its name in words.
        unit: What stands behind the value.
        digits: How the value is written, a format specification.
        where: Texts of columns that its row has.
        told: Columns whose texts stand behind the name.
        place: Which of several such rows counts: -1 is the last, such as the end of a training.
    """

    metric: str
    name: str
    unit: str = ""
    digits: str = ".1f"
    where: Mapping[str, str] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    place: int = -1


@dataclass(frozen=True)
class Stage:
    """One kind of run of a task.

    Attributes:
        name: The value of ``stage=``.
        version: The result version: raised whenever a change of code alters the numbers, so that
            corrected code never returns old rows.
        identity: Returns the part of a configuration that decides the numbers, as plain data.
        label: Returns the readable part of the run's name.
        target: ``module:function`` of the code that does the work; imported only when it runs.
        blank: Columns of its rows that stay empty because the stage does not depend on them.
        shows: What the terminal shows of a run. The first of them that the run has is its main
            number, which tables of sweeps have; the others are what it is compared with.
    """

    name: str
    version: int
    identity: Callable[[AnyConfig], dict[str, Any]]
    label: Callable[[AnyConfig], str]
    target: str
    blank: tuple[str, ...] = ()
    shows: tuple[Number, ...] = ()

    def work(self) -> Callable[..., None]:
        """Import the code of the stage: a function of a configuration and its `Run`."""
        return _load(self.target)


@dataclass(frozen=True)
class Task:
    """Description of a task for the frame.

    Attributes:
        name: The value of ``task=``.
        sections: The dataclasses of the configuration sections task, model, dataset and group.
        stages: The stages by name.
        resolve: Completes a configuration in place (values of ``auto``, None for unread options)
            and raises UserError for an invalid combination.
        downloader: ``module:function`` that yields what downloads each file of a configuration into
            the caches; empty if nothing is needed.
        serves: The supported kinds of methods; by default all.
        refuses: Why methods with a property, an attribute of `Method`, make no sense here.
    """

    name: str
    sections: Mapping[str, type]
    stages: Mapping[str, Stage]
    resolve: Callable[[AnyConfig], None]
    downloader: str = ""
    serves: frozenset[Kind] = frozenset(Kind)
    refuses: Mapping[str, str] = field(default_factory=dict)

    def methods(self, having: Callable[[Method], object]) -> str:
        """Return the names of its methods that have a property, for messages."""
        served = (method for method in METHODS.values() if self._reason(method) is None)
        return ", ".join(method.name for method in served if having(method))

    def check_method(self, method: Method) -> None:
        """Refuse a method that makes no sense here.

        Raises:
            UserError: Says why, and names the methods that do.
        """
        reason = self._reason(method)
        if reason is not None:
            raise UserError(
                f"task={self.name} cannot run method={method.name} ({reason}); choose from: "
                f"{self.methods(bool)}"
            )

    def no_lambda(self, method: Method) -> UserError:
        """Return the error for stage=lambda with a method that learns nothing there."""
        learning = self.methods(lambda known: known.is_fitted)
        return UserError(f"stage=lambda belongs to method={learning}, not to method={method.name}")

    def _reason(self, method: Method) -> str | None:
        """Return why a method makes no sense here, or None."""
        for need, why in self.refuses.items():
            if getattr(method, need):
                return why
        return None if method.kind in self.serves else method.kind.value

    def downloads(self, config: AnyConfig) -> Iterator[partial[Any]]:
        """Yield what downloads each file that a configuration needs into the caches.

        A call raises UserError if it fails.
        """
        if self.downloader:
            yield from _load(self.downloader)(config)


def _load(target: str) -> Callable[..., Any]:
    """Import the object named by ``module:function``."""
    module, _, function = target.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def built_on(version: int, identity: dict[str, Any]) -> dict[str, Any]:
    """Return a stage's identity as a part of the identity of a later stage that builds on it.

    Args:
        version: The result version of the earlier stage; a new one repeats all later stages.
        identity: The identity of the earlier stage.
    """
    return {"result_version": version, **identity}


@dataclass(frozen=True)
class RunName:
    """The identity of one run and the folder name that follows from it."""

    task: str
    stage: str
    folder: str
    hash: str
    identity: dict[str, Any]


def name_run(task: Task, stage: Stage, config: AnyConfig) -> RunName:
    """Name the run of a stage by its content.

    Returns:
        The name; its folder is ``<stage>-<label>-<hash>``, the hash taken over the identity, the
        stage and the result version.
    """
    identity = {
        "task": task.name,
        "stage": stage.name,
        "result_version": stage.version,
        **stage.identity(config),
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    hashed = digest(text)[:12]
    label = re.sub(r"[^A-Za-z0-9_-]+", "-", stage.label(config))
    folder = f"{stage.name}-{label}-{hashed}"
    return RunName(task.name, stage.name, folder, hashed, identity)
