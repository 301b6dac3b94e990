"""Judge the paper's claims by the rows under `results/`; runs no model.

    python scripts/claims.py
    python scripts/claims.py clip-order

Prints a line for each claim, or some claims with all their cells, and writes all verdicts as CSV,
Markdown and LaTeX. The claims are data, in results/paper/claims.yaml; see results/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

# Run as a file, Python puts this folder on the path, not its parent, which holds `scripts`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.text import Text

from experiments.frame.terminal import run_program
from report.claims.summary import show_summary
from report.claims.verdicts import Report, make_report
from report.options import figures_folder
from scripts._arguments import ROOT, Parser, refused

# Where the output is a file or a pipe there is no screen to fit.
_FILE_WIDTH = 160


def _parser() -> Parser:
    parser = Parser(
        prog="claims.py", description="The paper's claims, judged by the rows under results/."
    )
    parser.add_argument(
        "names", nargs="*", metavar="CLAIM", help="claims to show with every cell, by their names"
    )
    parser.add_argument("--all", action="store_true", help="show every cell of all claims")
    parser.add_results()
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where files are written (default: figures/ in the results folder, or demo/figures/)",
    )
    parser.add_scale()
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Show and write the verdicts; 2 where the rows or the claims are refused, in one line."""
    parser = _parser()
    chosen = parser.parse_intermixed_args(arguments)
    if chosen.out is not None:
        parser.check_folder("--out", chosen.out)
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    try:
        report = make_report(chosen.results, chosen.scale, ROOT)
    except ValueError as error:
        return refused(error, "claims.py")
    parser.check(
        "claim", chosen.names, [claim.id for claim in report.claims], "python scripts/claims.py"
    )
    paths = report.write(chosen.out or figures_folder(chosen.results, chosen.scale))
    _show(report, chosen.names, chosen.all, console)
    console.print(Text(f"Written: {', '.join(map(str, paths))}"), soft_wrap=True)
    return 0


def _show(report: Report, names: Sequence[str], whole: bool, console: Console) -> None:
    if whole:
        report.show(console)
        return
    for claim in report.of(names).claims:
        console.print(Text(f"{claim.statement} ({claim.where})", style="bold"))
        console.print(Text(claim.note))
        report.of([claim.id]).show(console)
    if not names:
        show_summary(report, console)
        console.print(Text("--all shows every cell; the name of a claim, the cells of that claim."))


if __name__ == "__main__":
    run_program(main)
