"""The tasks, by name. A task's modules are imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from experiments.errors import unknown

if TYPE_CHECKING:
    from experiments.stages import Task

TASKS = {
    "clip": "experiments.clip.config",
    "cnn": "experiments.cnn.config",
    "dqn": "experiments.dqn.config",
    "fairness": "experiments.fairness.config",
    "scan": "experiments.scan.config",
}


def load_task(name: str) -> Task:
    """Return the description of a task.

    Args:
        name: The name in ``task=``.

    Raises:
        UserError: If there is no such task.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    task: Task = import_module(TASKS[name]).TASK
    return task
