"""How a program meets its terminal, or what stands there: a pipe, another encoding, nothing."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn


def run_program(main: Callable[[], int | None]) -> NoReturn:
    """Run a program and exit with its status.

    A character that the terminal lacks is written as its number (as logging does), an output that
    is closed takes everything and keeps nothing, and a reader that leaves early, as `head` does,
    ends the program quietly.

    Args:
        main: Returns the exit status, None for 0.
    """
    open_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            os.environ["PYTHONIOENCODING"] = f"{stream.encoding}:backslashreplace"  # of workers
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes what is left once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    sys.exit(status)


def open_descriptors() -> None:
    """Open those of the standard descriptors that are closed, on nothing.

    Else the next file that is opened takes their place, and workers that are started fail.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It gets the first number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
