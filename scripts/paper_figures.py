"""Turn the rows under `results/` into the paper's tables and figures; runs no model.

    python scripts/paper_figures.py
    python scripts/paper_figures.py table2 figure8 --scale demo

Writes the artefacts that are named, or all, as CSV, Markdown and LaTeX. Prints those that are
named, or a line for each of all. See results/README.md for the rows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

# Run as a file, Python puts this folder on the path, not its parent, which holds `scripts`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.text import Text

from experiments.frame.rows import SCALES
from experiments.frame.terminal import run_program
from report.artefacts.catalogue import ARTEFACTS, listed
from report.artefacts.entry import build, show_summary
from report.options import SPREADS, Options, figures_folder
from report.results import load_results
from scripts._arguments import Parser, refused

# Where the output is a file or a pipe there is no screen to fit.
_FILE_WIDTH = 120


def _parser() -> Parser:
    parser = Parser(
        prog="paper_figures.py",
        description="Tables and figures of the paper from the rows under results/.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="tables and figures to write and print (default: write all, print a line for each)",
    )
    parser.add_argument("--all", action="store_true", help="write and print all")
    parser.add_argument("--list", action="store_true", help="print the names of all, and end")
    parser.add_results()
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where files are written (default: figures/ in the results folder, or demo/figures/)",
    )
    parser.add_scale("all")
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
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Show and write the chosen artefacts; 2 where the rows are refused, in one line."""
    parser = _parser()
    chosen = parser.parse_intermixed_args(arguments)
    if chosen.list:
        print(listed())
        return 0
    parser.check("artefact", chosen.names, ARTEFACTS, "python scripts/paper_figures.py --list")
    if chosen.out is not None:
        parser.check_folder("--out", chosen.out)
    scales = SCALES if chosen.scale == "all" else (chosen.scale,)
    names = list(ARTEFACTS if chosen.all else dict.fromkeys(chosen.names) or ARTEFACTS)
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    try:
        tasks = tuple(dict.fromkeys(task for name in names for task in ARTEFACTS[name].tasks))
        results = load_results(chosen.results, tasks, scales)
        options = Options(scales, chosen.spread, chosen.variants)
        artefacts = [build(ARTEFACTS[name], results, options) for name in names]
    except ValueError as error:
        return refused(error, "paper_figures.py")
    out = chosen.out or figures_folder(chosen.results, chosen.scale)
    for artefact in artefacts:
        artefact.write(out)
        if chosen.names or chosen.all:
            artefact.show(console)
    written = f"Written to {out}: {', '.join(names)}"
    if not chosen.names and not chosen.all:
        show_summary(artefacts, console)
        written = (
            f"Written to {out}; with a NAME its numbers are printed too, with --all those of all"
        )
    skipped = f"Skipped runs: {results.skips}" if results.skips else ""
    for line in (*results.gaps, skipped, written):
        if line:
            console.print(Text(line), soft_wrap=True)
    return 0


if __name__ == "__main__":
    run_program(main)
