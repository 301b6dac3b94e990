"""Turn the rows under `results/` into the paper's tables and figures; runs no model.

    python scripts/paper_figures.py --only table2 --scale paper

Prints each artefact and writes it as CSV, Markdown and LaTeX. See results/README.md for the rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

# Run as a file, Python puts this folder on the path, not its parent, which holds `scripts`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.text import Text

from experiments.frame.errors import unknown
from experiments.frame.rows import SCALES
from experiments.frame.terminal import run_program
from report.artefacts.catalogue import ARTEFACTS
from report.artefacts.entry import build
from report.options import SPREADS, Options, figures_folder
from report.results import load_results

# Where the output is a file or a pipe there is no screen to fit.
_FILE_WIDTH = 120


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The choices of a command line; of these `out` is None for figures/ under results."""
    parser = argparse.ArgumentParser(
        prog="paper_figures.py",
        description="Tables and figures of the paper from the rows under results/.",
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="results folder (default: results)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="where files are written (default: figures/ in the results folder, or demo/figures/)",
    )
    parser.add_argument("only", nargs="*", metavar="NAME", help="artefacts (default: all)")
    parser.add_argument(
        "--only", nargs="+", dest="named", default=[], metavar="NAME", help="the same"
    )
    parser.add_argument(
        "--scale",
        default="paper",
        metavar="SCALE",
        help=f"of our rows: {', '.join(SCALES)} or all (default: paper)",
    )
    parser.add_argument(
        "--spread",
        choices=SPREADS,
        default="sample",
        help="over seeds: the sample standard deviation (default) or the authors' smaller one",
    )
    parser.add_argument(
        "--variants",
        action="store_true",
        help="take in the rows of your runs that depart from the protocol, and say so",
    )
    chosen = parser.parse_intermixed_args(arguments)
    chosen.only = [*chosen.only, *chosen.named] or list(ARTEFACTS)
    for what, values, known in (
        ("artefact", chosen.only, ARTEFACTS),
        ("--scale", [chosen.scale], (*SCALES, "all")),
    ):
        for value in values:
            if value not in known:
                parser.exit(2, f"paper_figures.py: {unknown(what, value, known)}\n")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Show and write the chosen artefacts; 2 where the rows are refused, in one line."""
    chosen = parse_arguments(arguments)
    scales = SCALES if chosen.scale == "all" else (chosen.scale,)
    names = list(dict.fromkeys(chosen.only))
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    try:
        tasks = tuple(dict.fromkeys(task for name in names for task in ARTEFACTS[name].tasks))
        results = load_results(chosen.results, tasks, scales)
        options = Options(scales, chosen.spread, chosen.variants)
        artefacts = [build(ARTEFACTS[name], results, options) for name in names]
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    out = chosen.out or figures_folder(chosen.results, chosen.scale)
    for artefact in artefacts:
        artefact.show(console)
        artefact.write(out)
    skipped = f"Skipped runs: {results.skips}" if results.skips else ""
    for line in (*results.gaps, skipped, f"Written to {out}: {', '.join(names)}"):
        if line:
            console.print(Text(line), soft_wrap=True)
    return 0


if __name__ == "__main__":
    run_program(main)
