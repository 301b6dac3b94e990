"""The tasks, by name. A task's modules are imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.frame.errors import unknown

if TYPE_CHECKING:
    from experiments.frame.stages import Task

#: A task is a folder of ``experiments/`` with a module ``task``, which ends in ``TASK``.
TASKS = {
    path.parent.name: f"experiments.{path.parent.name}.task"
    for path in sorted(Path(__file__).parents[1].glob("*/task.py"))
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
