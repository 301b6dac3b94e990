"""The list of artefacts, by name: what the folder of each task or topic adds as `ARTEFACTS`.

A new table or figure is a module in the folder of its task and a line in its ``__init__.py``.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from report.artefacts.entry import Entry

#: In the order of the paper's sections; what is over all of them comes first.
_TASKS = ("comparison", "scan", "dqn", "cnn", "clip", "fairness")


def _folders() -> list[str]:
    found = [path.parent.name for path in sorted(Path(__file__).parent.glob("*/__init__.py"))]
    return [*_TASKS, *(name for name in found if name not in _TASKS)]


_MODULES = {task: import_module(f"report.artefacts.{task}") for task in _folders()}
#: Of each task or topic, on the page.
TITLES: dict[str, str] = {task: module.TITLE for task, module in _MODULES.items()}
ARTEFACTS: dict[str, Entry] = {
    name: entry for module in _MODULES.values() for name, entry in module.ARTEFACTS.items()
}
#: All tasks whose rows some artefact shows.
TASKS: tuple[str, ...] = tuple(dict.fromkeys(t for e in ARTEFACTS.values() for t in e.tasks))


def listed() -> str:
    """The names of all artefacts, below the title of their task or topic."""
    return "\n".join(f"{TITLES[task]}\n    {' '.join(_MODULES[task].ARTEFACTS)}" for task in TITLES)
