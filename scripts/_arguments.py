"""Command lines of programs: a mistake is one line on stderr, with status 2."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import NoReturn

from experiments.frame.errors import unknown


class Parser(argparse.ArgumentParser):
    """A parser that does not repeat how the program is used where it refuses a word."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(2, f"{self.prog}: {message}\n")

    def check(
        self, what: str, values: Iterable[str], known: Iterable[str], listed: str = ""
    ) -> None:
        """End the program where a value is not known; the arguments are those of `unknown`."""
        names = list(known)
        for value in values:
            if value not in names:
                self.error(str(unknown(what, value, names, listed)))
