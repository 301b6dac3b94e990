"""Robust output of a program to terminals, pipes, other encodings and closed streams."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn


def run_program(main: Callable[[], int | None]) -> NoReturn:
    """Run a program and exit with its status.

    A character that the terminal lacks is escaped (as in logging), output to a closed stream is
    discarded, and a reader that stops early, such as `head`, ends the program quietly.

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
            os.environ["PYTHONIOENCODING"] = f"{stream.encoding}:backslashreplace"  # for workers
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes the remaining output again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    sys.exit(status)


def open_descriptors() -> None:
    """Open closed standard descriptors on the null device.

    Otherwise the next opened file would take their numbers, and worker processes would fail.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
