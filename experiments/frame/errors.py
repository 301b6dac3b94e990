"""The errors that a user can cause. Each is one line that names the valid choices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Exit status of a run that was asked to stop, as a shell reports SIGTERM.
STOPPED = 143


class UserError(Exception):
    """Bad input: reported as one line, without a traceback, with a non-zero exit status."""


class RunFailed(UserError):
    """A run ended with an exception; its record holds the traceback."""


class Interrupted(BaseException):
    """The process was asked to stop; the run has saved its state and can be resumed.

    Not an Exception, so that it ends a whole sweep and not just the job that noticed it.
    """


#: Words of other libraries, and the suite's names for them.
_OTHER_NAMES = {
    **{"c2": "rot180", "c4": "rot90", "d4": "dihedral", "flip": "mirror"},
    **dict.fromkeys(("lambda", "lambda-equitune", "λ-equitune"), "lambda_equitune"),
    **{"lr": "learning_rate", "wd": "weight_decay", "bs": "batch_size", "batch": "batch_size"},
    **{"epoch": "epochs", "iters": "iterations", "checkpoint_path": "checkpoint"},
    "gpu": "cuda",
}


def usual_name(name: str) -> str:
    """Return the suite's name for a dotted name whose last part may be another library's."""
    section, dot, last = name.lower().rpartition(".")
    return f"{section}{dot}{_OTHER_NAMES.get(last, last)}"


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def unknown(what: str, value: object, choices: Iterable[object], listed: str = "") -> UserError:
    """Build the error for a value outside a closed set.

    Args:
        what: The name of the thing, as the user writes it, for example ``task.score``.
        value: What was given.
        choices: The valid values.
        listed: The command that lists them, where they are too many for a line.

    Returns:
        An error whose line names the nearest valid value, if one is near, and all valid values or
        the command.
    """
    names = [str(choice) for choice in choices]
    # Compare without case, as wrong case is the most common mistake.
    folded = {name.lower(): name for name in names}
    given = str(value).lower()
    meant = usual_name(given)
    near = [meant] if meant in folded else difflib.get_close_matches(given, folded, n=1)
    hint = f" (did you mean {folded[near[0]]}?)" if near else ""
    known = f"{listed} lists all" if listed else f"choose from: {', '.join(names)}"
    return UserError(f"{what}={value} is not known{hint}; {known}")
