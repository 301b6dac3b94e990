"""The demo's display: one line per step, kept current on a terminal, one after another in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_STYLES = {WAITING: "dim", RUNNING: "cyan", DONE: "green", FAILED: "bold red"}


class Display:
    """A context: inside it, `show` keeps the line of a step current."""

    def __init__(self, titles: Mapping[str, str], console: Console | None = None) -> None:
        """Begin with all steps waiting: `titles` says what each is; default: standard output."""
        self._titles = titles
        self._states = dict.fromkeys(titles, WAITING)
        self._notes = dict.fromkeys(titles, "")
        self._begun: dict[str, float] = {}
        self._console = console or Console(soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Draw it, if there is a screen."""
        if self._console.is_terminal:
            self._live.start()
            self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        if self._console.is_terminal:
            self._live.stop()

    def show(self, name: str, state: str, note: str) -> None:
        """Say how a step is, in one of the four states, and what else there is to say."""
        changed = self._states[name] != state
        if state == RUNNING:
            self._begun.setdefault(name, time.monotonic())
        self._states[name], self._notes[name] = state, note
        if self._console.is_terminal:
            self._draw()
        elif changed:
            words = f"{name}: {state}: {self._titles[name] if state == RUNNING else note}"
            self._console.print(Text(words))

    def say(self, text: str) -> None:
        """Print lines above the display."""
        self._console.print(Text(text))

    def _draw(self) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        # A path in it must stay whole.
        table.add_column(overflow="fold")
        for name, title in self._titles.items():
            state, note = self._states[name], self._notes[name]
            if state == RUNNING:
                note = f"{time.monotonic() - self._begun[name]:.0f} s {note}"
            table.add_row(name, Text(state, _STYLES[state]), title, note)
        self._live.update(table, refresh=True)
