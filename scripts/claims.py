"""Judge the paper's claims by the rows under `results/`; runs no model.

    python scripts/claims.py

Prints the verdicts and writes them as CSV, Markdown and LaTeX. The claims are data, in
results/paper/claims.yaml; see results/README.md.
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

from experiments.frame.rows import SCALES
from experiments.frame.terminal import run_program
from report.claims.verdicts import make_report
from report.options import figures_folder

ROOT = Path(__file__).resolve().parents[1]
# Where the output is a file or a pipe there is no screen to fit.
_FILE_WIDTH = 160


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The choices of a command line: results, out (None: figures/ under results), scale."""
    parser = argparse.ArgumentParser(
        prog="claims.py", description="The paper's claims, judged by the rows under results/."
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="results folder (default: results)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="where files are written (default: figures/ in the results folder, or demo/figures/)",
    )
    parser.add_argument(
        "--scale", choices=SCALES, default="paper", help="scale of our rows (default: paper)"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Show and write the verdicts; 2 where the rows or the claims are refused, in one line."""
    chosen = parse_arguments(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    try:
        report = make_report(chosen.results, chosen.scale, ROOT)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report.show(console)
    paths = report.write(chosen.out or figures_folder(chosen.results, chosen.scale))
    console.print(Text(f"Written: {', '.join(map(str, paths))}"), soft_wrap=True)
    return 0


if __name__ == "__main__":
    run_program(main)
