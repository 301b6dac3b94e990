"""Command lines of programs: a mistake is one line on stderr, with status 2."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from experiments.frame.errors import unknown
from experiments.frame.rows import SCALES

ROOT = Path(__file__).resolve().parents[1]

#: A word that names an option; -1 is a number.
_OPTION = re.compile(r"--?[A-Za-z]")


class Parser(argparse.ArgumentParser):
    """A parser that does not repeat how the program is used where it refuses a word."""

    def add_results(self) -> None:
        """Add the option that names the results folder."""
        text = "results folder (default: results)"
        self.add_argument(
            "--results", type=Path, default=Path("results"), metavar="FOLDER", help=text
        )

    def add_scale(self, *more: str) -> None:
        """Add the option that chooses the scale of rows; `more` may be chosen, too."""
        self.add_argument(
            "--scale",
            choices=(*SCALES, *more),
            default=SCALES[0],
            help=f"scale of the rows (default: {SCALES[0]})",
        )

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

    def check_folder(self, option: str, path: Path) -> None:
        """End the program where a folder to write to is a file, or lies below one."""
        there = next((p for p in (path, *path.absolute().parents) if p.exists()), path)
        if not there.is_dir():
            self.error(f"{option} {path}: {there} is a file; give a folder")

    def parse_known_args(  # type: ignore[override]  # overloads of one type each
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse an unknown option first: argparse would complain of missing words before it."""
        words = list(sys.argv[1:] if args is None else args)
        self._check_options(words)
        return super().parse_known_args(words, namespace)

    def _check_options(self, words: Iterable[str]) -> None:
        words = takewhile(lambda word: word != "--", words)
        if self._subparsers is not None:  # the words after a command are the command's
            words = takewhile(_OPTION.match, words)
        known = [name for action in self._actions for name in action.option_strings]
        long = [name for name in known if name.startswith("--")]
        for word in filter(_OPTION.match, words):
            name = word.partition("=")[0]
            if name not in known and not any(each.startswith(name) for each in long):
                self.error(str(unknown("option", name, long)))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None:
            self.check((*action.option_strings, action.dest)[0], [value], action.choices)


def refused(error: Exception | str, program: str) -> int:
    """Say in one line why a program did nothing, and return the status."""
    print(f"{program}: {error}", file=sys.stderr)
    return 2
