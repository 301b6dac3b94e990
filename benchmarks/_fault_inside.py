"""What is done to a run's process from inside: killed at a file operation, renames, the clock."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir")


@dataclass
class KillAt:
    """SIGKILL just before an operation on a file: opened to be written, renamed, removed, made.

    Attributes:
        folder: Where operations count.
        count: Before which operation.
        ending: Of the names of the files that count: what is opened, removed or made, or the new
            name of what is renamed.
    """

    folder: Path
    count: int
    ending: str = ""

    def install(self) -> None:
        """Watch from now on."""
        left = self.count

        def kill() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        _watch(self.folder, self.ending, kill)


@dataclass
class CountOperations:
    """The operations before which `KillAt` can kill are counted.

    Attributes:
        folder: Where operations count.
        written: The file that says how many there were, when the process has ended.
    """

    folder: Path
    written: Path

    def install(self) -> None:
        """Watch from now on."""
        found: list[None] = []
        _watch(self.folder, "", lambda: found.append(None))
        # A forked process runs no other handlers at its end.
        Finalize(None, lambda: self.written.write_text(str(len(found))), exitpriority=0)


def _watch(folder: Path, ending: str, do: Callable[[], object]) -> None:
    """Call a function before each operation."""
    begin = str(folder)

    def look(event: str, given: tuple[Any, ...]) -> None:
        if event not in _EVENTS or (event == "open" and not _writes(given)):
            return
        path = str(given[1] if event == "os.rename" else given[0])
        if path.startswith(begin) and path.endswith(ending):
            do()

    sys.addaudithook(look)


def _writes(given: tuple[Any, ...]) -> bool:
    flags = given[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


@dataclass
class FailingRename:
    """Renaming fails from some call on.

    Attributes:
        after: How many calls succeed.
        number: The error's number.
    """

    after: int
    number: int = errno.EIO

    def install(self) -> None:
        """Put a function that fails into the place of ``os.replace``."""
        real, left = os.replace, self.after

        def replace(source: Any, target: Any, **options: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(self.number, os.strerror(self.number), str(target))
            real(source, target, **options)

        setattr(os, "replace", replace)  # noqa: B010  (its type is another one)


@dataclass
class JumpingClock:
    """The time of day jumps back, again and again.

    Attributes:
        seconds: How far each time.
        every: After how many looks at it.
    """

    seconds: float
    every: int

    def install(self) -> None:
        """Put a clock that jumps into the place of ``time.time``."""
        real, looks = time.time, 0

        def jumping() -> float:
            nonlocal looks
            looks += 1
            return real() - self.seconds * (looks // self.every)

        time.time = jumping
