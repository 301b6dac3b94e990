"""What the list of artefacts holds: whose rows an artefact reads, and what builds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from rich.console import Console

from report.options import Options
from report.results import Results


class Artefact(Protocol):
    """What a builder returns: something that can be shown on a terminal and written to files."""

    def show(self, console: Console) -> None:
        """Print it."""

    def write(self, folder: Path) -> list[Path]:
        """Write its files into a folder, made if absent; return them."""


class Entry(NamedTuple):
    """One line of the list.

    Attributes:
        task: The task whose rows are loaded.
        sources: The committed files under `results/measured/<task>` that it shows rows of, or would
            if they had any.
    """

    task: str
    build: Callable[[Results, Options], Artefact]
    sources: tuple[str, ...] = ()
