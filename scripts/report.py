"""Write the report: claims, figures, tables and how each was run, as one page; runs no model.

    python scripts/report.py

The page needs no network and no other file. See results/README.md for the rows.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

# Run as a file, Python puts this folder on the path, not its parent, which holds `scripts`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.frame.files import write_text
from experiments.frame.terminal import run_program
from report.page.page import write_page
from scripts._arguments import ROOT, Parser, refused

_NAMES = {"paper": "report.html", "demo": "report_demo.html"}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The choices of a command line: results, out (None: beside the rows), scale."""
    parser = Parser(
        prog="report.py",
        description="The paper, rerun: one page of HTML from the rows in results/.",
    )
    parser.add_results()
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file to write (default: report.html or report_demo.html in the results folder)",
    )
    parser.add_scale()
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; 2 where rows or claims are refused or it cannot be written, in one line."""
    chosen = parse_arguments(arguments)
    path = chosen.out or chosen.results / _NAMES[chosen.scale]
    try:
        page = write_page(chosen.results, chosen.scale, ROOT)
        write_text(path, page)
    except (ValueError, OSError) as error:
        return refused(error, "report.py")
    print(f"Written: {path}")
    return 0


if __name__ == "__main__":
    # It keeps what it makes until it ends: looking for garbage took a tenth of its time.
    gc.disable()
    run_program(main)
