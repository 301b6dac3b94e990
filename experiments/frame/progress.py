"""Progress of long work: a bar on a terminal, regular lines in a log file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

#: Seconds between two lines if there is no terminal.
INTERVAL = 30.0
#: Remaining seconds from which a warning advises how to shorten the work, and seconds of work
#: before the estimate.
LONG, SETTLED = 300.0, 10.0


class Progress:
    """Reports the progress of a piece of work; made by :func:`progress`."""

    def __init__(self, label: str, total: int, start: int, shorter: str) -> None:
        self.label, self.total, self.done, self._shorter = label, total, start, shorter
        self._start = start
        #: When the first units were done, and how many: before it, code may have been compiled.
        self._first: tuple[float, int] | None = None
        self._last_line = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Report that ``done`` of the total units are finished, with an optional note.

        If minutes of work remain, a warning advises once how to shorten it.
        """
        self.done = done
        if self._first is None and done > self._start:
            self._first = (time.monotonic(), done)
        left = self._left()
        if self._shorter and left is not None and left > LONG and self._elapsed() > SETTLED:
            log.warning("%s: about %.0f minutes left; %s", self.label, left / 60, self._shorter)
            self._shorter = ""
        self.show(note)

    def show(self, note: str) -> None:
        """Write a line if the last one is long enough ago."""
        now = time.monotonic()
        if now - self._last_line < INTERVAL:
            return
        self._last_line = now
        left = self._left()
        pace = "" if left is None else f", {left:.0f} s left"
        log.info("%s: %d of %d%s", self.label, self.done, self.total, f"{pace} {note}".rstrip())

    def _elapsed(self) -> float:
        """Return the seconds since the first units were done."""
        return 0.0 if self._first is None else time.monotonic() - self._first[0]

    def _left(self) -> float | None:
        """Return the estimated remaining seconds, from the pace since the first units."""
        done = 0 if self._first is None else self.done - self._first[1]
        return self._elapsed() / done * (self.total - self.done) if done > 0 else None


@contextmanager
def progress(label: str, total: int, start: int = 0, shorter: str = "") -> Iterator[Progress]:
    """Report the progress of a loop.

    Args:
        label: Name of the work.
        total: The number of units.
        start: Units that an earlier attempt finished.
        shorter: Advice to show if it takes long: the keys that shorten it.

    Yields:
        An object whose ``update(done, note)`` is to be called regularly.
    """
    if sys.stderr is None or not sys.stderr.isatty():  # None: a worker whose output is closed
        yield Progress(label, total, start, shorter)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
    )
    console = Console(stderr=True)
    with Bar(
        *columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console
    ) as bar:
        item = bar.add_task(label, total=total, completed=start, note="")

        class OnTerminal(Progress):
            def show(self, note: str) -> None:
                bar.update(item, completed=self.done, note=note)

        yield OnTerminal(label, total, start, shorter)
