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
