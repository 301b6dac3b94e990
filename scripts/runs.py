"""What runs there are, and which of a preset's are missing; runs no model.

    python scripts/runs.py list --task scan --status failed
    python scripts/runs.py missing table2 scale=demo

`list` shows the run folders under results/runs by their records. `missing` says whether the
committed rows already have all that the preset's table or figure shows; else it shows each job,
about how long those take that are left, and the one command that does them. Where the data of a job
are not here, its run folder has no name: then its committed rows alone tell whether it is done.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.frame.tasks import TASKS
from experiments.frame.terminal import run_program
from report.runs.listing import STATES, count, find_all, lines
from scripts._arguments import Parser, refused

if TYPE_CHECKING:
    from experiments.frame.options import AnyConfig

#: How many of the rows that lack numbers are named.
_FEW = 3


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The choices of a command line.

    They are command; of `list` task, status, results; of `missing` preset, words, config_dir.
    """
    parser = Parser(
        prog="runs.py", description="Runs that are there, and those that a preset lacks."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    listing = commands.add_parser("list", help="the run folders, by their records")
    listing.add_argument("--task", choices=tuple(TASKS), help="runs of one task (default: all)")
    listing.add_argument(
        "--status",
        choices=STATES,
        help="runs in one state (default: all); abandoned: its record says running, but no process "
        "of this machine works on it; empty: no record",
    )
    listing.add_results()
    missing = commands.add_parser("missing", help="the jobs of a preset and what is left to do")
    missing.add_argument(
        "preset",
        nargs="?",
        metavar="PRESET",
        help="what follows experiment= on run.py's command line",
    )
    # Without a default argparse would ask for them.
    missing.add_argument(
        "words", nargs="*", default=[], metavar="KEY=VALUE", help="run.py's further words"
    )
    missing.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="run.py's: a folder of further groups"
    )
    # argparse has done with the words where an option follows the preset.
    chosen, rest = parser.parse_known_args(arguments)
    if chosen.command == "missing" and not any(word.startswith("-") for word in rest):
        chosen.words += rest
    elif rest:
        options = {"list": "--task, --status, --results", "missing": "KEY=VALUE, --config-dir"}
        parser.error(f"{rest[0]} is not known; {chosen.command} takes {options[chosen.command]}")
    if chosen.command is None:
        parser.error("give a command: list or missing")
    if chosen.command == "missing" and chosen.preset is None:
        parser.error("missing needs a preset, such as: python scripts/runs.py missing table2")
    return chosen


def show_list(chosen: argparse.Namespace) -> int:
    """Print the run folders; 2 with one line on stderr where there is no such results folder."""
    if not chosen.results.is_dir():
        return refused(f"{chosen.results}: no such folder", "runs.py")
    print("\n".join(lines(find_all(chosen.results / "runs", chosen.task, chosen.status))))
    return 0


def show_missing(chosen: argparse.Namespace) -> int:
    """Print the jobs of a preset and the command that does those which are left.

    The status is 2, with one line on stderr, where run.py would refuse the words.
    """
    from experiments.frame.cli import BAD_INPUT, describe  # Hydra: not for a list
    from report.runs.earlier import estimate, read_history
    from report.runs.jobs import COMMITTED, asked, jobs

    words = [f"experiment={chosen.preset}", *chosen.words]
    own = [] if chosen.config_dir is None else ["--config-dir", str(chosen.config_dir)]
    found = []
    try:
        sweep = asked(words, chosen.config_dir)
        first = sweep[0].config
        history = read_history(Path(first.results), first.task.name)
        if all(history.holds(job.config) for job in sweep):
            lines, is_whole = _drawn(first)
            print("\n".join(lines), flush=True)
            if is_whole:
                return 0
        for job in jobs(sweep, history.holds):
            found.append(job)
            cells = (f"{job.state:16}", " ".join(job.words), job.folder.name if job.folder else "")
            print("  ".join(cells).rstrip(), flush=True)
            if job.reason:
                print(f"    {job.reason}")
    except BrokenPipeError:
        raise  # the reader has seen enough
    except BAD_INPUT as error:
        return refused(describe(error), "runs.py")
    states = [job.state for job in found]
    print(count("jobs", states))
    for why in dict.fromkeys(job.unnamed for job in found if job.unnamed):
        unnamed = sum(job.unnamed == why for job in found)
        print(f"{unnamed} of them are told by committed rows alone, not by run folders: {why}")
    if all(job.done for job in found):
        print("nothing is missing")
        return 0
    left = [each.config for each, job in zip(sweep, found, strict=True) if not job.done]
    print(estimate(history, left))
    if COMMITTED in states:
        print(f"the command also does the {states.count(COMMITTED)} committed jobs again:")
    print(shlex.join(["python", "run.py", *own, *words]))
    return 0


def _drawn(config: AnyConfig) -> tuple[list[str], bool]:
    """Return lines on a preset whose jobs all have committed rows; whether nothing is left."""
    from report.artefacts.catalogue import ARTEFACTS  # pandas: not for a list
    from report.artefacts.entry import build
    from report.cells import MISSING
    from report.figures import Figure
    from report.options import Options
    from report.results import load_results

    there = "all these jobs have rows in results/measured"
    if config.artefact not in ARTEFACTS:  # a preset of one's own may name none
        return [there], False
    entry, scales = ARTEFACTS[config.artefact], (config.scale.name,)
    results = load_results(Path(config.results), entry.tasks, scales)
    built = build(entry, results, Options(scales))
    if not built.commands:
        line = f"all rows are in results/measured; nothing to run to draw {config.artefact}"
        return [line], True
    table = built.digest if isinstance(built, Figure) else built
    lacking = [
        ", ".join(filter(None, (block.title, *row[: len(table.stub)])))
        for block in table.blocks
        for row in block.rows
        if MISSING in row
    ]
    lines = [
        f"{there}, but {len(lacking)} rows of {config.artefact} lack numbers:",
        *(f"    {name}" for name in lacking[:_FEW]),
        *([f"    and {len(lacking) - _FEW} more"] if len(lacking) > _FEW else []),
        "other runs give these, or runs that are newer than the committed ones:",
        *(f"    {command}" for command in built.commands),
    ]
    return lines, False


def main(arguments: Sequence[str] | None = None) -> int:
    """Show what the command line asks for, and return the exit status."""
    logging.basicConfig(format="%(message)s")
    chosen = parse_arguments(arguments)
    return show_list(chosen) if chosen.command == "list" else show_missing(chosen)


if __name__ == "__main__":
    run_program(main)
