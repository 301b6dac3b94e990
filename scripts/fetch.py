"""Fetch what the jobs of a preset need from the network, for machines that have none.

    python scripts/fetch.py figure8
    python scripts/fetch.py figure3 model=gpt2 --config-dir DIR

Weights, tokenizers and data go to the caches of their libraries, where the jobs find them; what is
there already is checked, and not fetched again. Nothing is computed.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.frame.cli import BAD_INPUT, describe
from experiments.frame.errors import STOPPED, Interrupted, UserError
from experiments.frame.stopping import catch_signals
from experiments.frame.tasks import load_task
from experiments.frame.terminal import run_program
from report.runs.jobs import asked
from scripts._arguments import Parser, refused


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The choices of a command line: preset, words, config_dir."""
    parser = Parser(
        prog="fetch.py", description="Fetch what the jobs of a preset need from the network."
    )
    parser.add_argument(
        "preset", metavar="PRESET", help="what follows experiment= on run.py's command line"
    )
    # Without a default argparse would ask for them.
    parser.add_argument(
        "words", nargs="*", default=[], metavar="KEY=VALUE", help="run.py's further words"
    )
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="run.py's: a folder of further groups"
    )
    return parser.parse_intermixed_args(arguments)


def fetch(words: Sequence[str], config_dir: Path | None = None) -> list[str]:
    """Fetch what the jobs of a command line need: the words after `python run.py`.

    Returns:
        A line on each thing that cannot be fetched; none where all is there.

    Raises:
        UserError: The words are refused.
        Interrupted: The process was asked to stop.
    """
    lacking: dict[str, None] = {}
    failed: list[object] = []
    with catch_signals():
        for job in asked(words, config_dir):
            for download in load_task(job.config.task.name).downloads(job.config):
                what = download.func, download.args
                if what in failed:
                    continue
                try:
                    download()
                except UserError as error:
                    lacking[str(error)] = None
                    failed.append(what)
    return [*lacking]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch, and say what the jobs' machines need.

    The status is 2, with a line for each thing that is missing, where something is wrong, and 143
    or 130 where it was stopped.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    chosen = parse_arguments(arguments)
    try:
        lacking = fetch([f"experiment={chosen.preset}", *chosen.words], chosen.config_dir)
    except Interrupted as stopped:
        print(f"fetch.py: {stopped}; the same command goes on", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        print("fetch.py: interrupted; the same command goes on", file=sys.stderr)
        return 130
    except BAD_INPUT as error:
        return refused(describe(error), "fetch.py")
    for line in lacking:
        refused(line, "fetch.py")
    if lacking:
        return 2
    print(f"all that {chosen.preset} needs is here; on machines without a network:")
    caches = [f"{name}={os.environ[name]}" for name in _CACHES if name in os.environ]
    print(" ".join(("export HF_HUB_OFFLINE=1", *caches)))
    return 0


#: Variables that move the caches; the machines that compute must have the same.
_CACHES = ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME")


if __name__ == "__main__":
    run_program(main)
