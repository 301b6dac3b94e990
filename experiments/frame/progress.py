"""Progress of long work: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

#: Seconds between two lines where there is no terminal.
INTERVAL = 30.0
#: Seconds of work left from which a warning says what makes it shorter, and those that an estimate
#: rests on.
LONG, SETTLED = 300.0, 10.0


class Progress:
    """Reports how far a piece of work has come; made by :func:`progress`."""

    def __init__(self, label: str, total: int, start: int, shorter: str) -> None:
        self.label, self.total, self.done, self._shorter = label, total, start, shorter
        self._first = (time.monotonic(), start)
        self._last_line = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` of the total units are finished, with an optional note.

        Once, a warning says what makes the work shorter, where minutes of it are left.
        """
        self.done = done
        elapsed = time.monotonic() - self._first[0]
        if self._shorter and elapsed > SETTLED and self._left() > LONG:
            minutes = self._left() / 60
            log.warning("%s: about %.0f minutes left; %s", self.label, minutes, self._shorter)
            self._shorter = ""
        self.show(note)

    def show(self, note: str) -> None:
        """Write a line if the last one is long enough ago."""
        now = time.monotonic()
        if now - self._last_line < INTERVAL:
            return
        self._last_line = now
        left = self._left()
        log.info("%s: %d of %d, %.0f s left %s", self.label, self.done, self.total, left, note)

    def _left(self) -> float:
        """Return the seconds that the rest takes at the pace so far."""
        begun, start = self._first
        return (time.monotonic() - begun) / max(1, self.done - start) * (self.total - self.done)


@contextmanager
def progress(label: str, total: int, start: int = 0, shorter: str = "") -> Iterator[Progress]:
    """Report the progress of a loop.

    Args:
        label: What is being done.
        total: The number of units.
        start: Units that were finished before, by an earlier attempt.
        shorter: What to say where it takes long: the keys that make it shorter.

    Yields:
        An object whose ``update(done, note)`` is called now and then.
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
