"""Write what the README shows of the committed rows: the table of claims, and a picture.

    python scripts/readme.py

Runs on this machine do not count. With --check nothing is written, and what is out of date is
named.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

# Run as a file, Python puts this folder on the path, not its parent, which holds `scripts`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.frame.terminal import run_program
from report.artefacts.catalogue import ARTEFACTS
from report.cells import EN_DASH, NOT_REPORTED
from report.claims.statistics import NOT_RUN, REPRODUCED, TESTED, overall
from report.claims.tables import grouped
from report.claims.verdicts import Report, make_report
from report.figures import Figure
from report.options import Options
from report.results import load_results

ROOT = Path(__file__).resolve().parents[1]
PICTURE = "figure10"
_MARKS = ("<!-- claims: written by scripts/readme.py -->\n", "<!-- end of claims -->\n")
_HEAD = (
    "| claim | where | our runs (protocol: cells reproduced) | the paper's own numbers |\n"
    "|---|---|---|---|\n"
)
_OWN = "the paper's models"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The choices of a command line: root, check."""
    parser = argparse.ArgumentParser(
        prog="readme.py", description="The README's table of claims and picture, from results/."
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    return parser.parse_args(arguments)


def claims_table(report: Report) -> str:
    """The table of claims as Markdown: one line per claim."""
    statements, verdicts, _ = report.tables
    groups = grouped(report.cells)
    stand_ins = {claim for claim, _, stands_in in groups if stands_in}
    ours: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (claim, protocol, stands_in), cells in groups.items():
        found = [cell.verdict for cell in cells]
        names = ", ".join(dict.fromkeys(cell.models for cell in cells))
        models = f" on {names}" if stands_in else f" on {_OWN}" if claim in stand_ins else ""
        verdict = overall(found)
        share = "" if verdict == NOT_RUN else f" {found.count(REPRODUCED)} of {len(found)}"
        ours[claim][f"**{verdict}**{models}"] += [f"{protocol}{share}"] * bool(protocol)
    papers = {row[0]: row[-1] for block in verdicts.blocks for row in block.rows}
    lines = []
    for block in statements.blocks:
        for claim, statement, place, note in block.rows:
            # Of theory there is no number: what was found is in words.
            said = f": {note}" if f"**{TESTED}**" in ours[claim] else ""
            parts = (
                f"{text} ({', '.join(shares)})" if shares else text
                for text, shares in ours[claim].items()
            )
            paper = EN_DASH if papers[claim] == NOT_REPORTED else papers[claim]
            row = (statement, place, f"{'<br>'.join(parts)}{said}", paper)
            lines.append(f"| {' | '.join(row)} |\n")
    return _HEAD + "".join(lines)


def contents(root: Path) -> dict[Path, bytes]:
    """The content of the README of a checkout and of its picture, by path.

    Refused rows or claims, or a README without the marks, are a ValueError of one line.
    """
    with TemporaryDirectory() as folder:
        results = Path(folder)
        for name in ("paper", "measured"):
            (results / name).symlink_to(root / "results" / name)
        table = claims_table(make_report(results, "paper", root))
        entry = ARTEFACTS[PICTURE]
        built = entry.build(load_results(results, (entry.task,), ("paper",)), Options())
    assert isinstance(built, Figure)
    readme = root / "README.md"
    before, start, rest = readme.read_text(encoding="utf-8").partition(_MARKS[0])
    _, end, after = rest.partition(_MARKS[1])
    if not (start and end):
        raise ValueError(f"{readme}: no lines {_MARKS[0].strip()!r} and {_MARKS[1].strip()!r}")
    return {
        readme: f"{before}{start}\n{table}\n{end}{after}".encode(),
        root / "docs" / "images" / f"{PICTURE}.svg": built.pictures("svg")["svg"],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare; 1 where something is out of date, 2 where rows or claims are refused."""
    chosen = parse_arguments(arguments)
    try:
        made = contents(chosen.root)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    stale = [path for path, text in made.items() if not path.is_file() or path.read_bytes() != text]
    for path in stale:
        if chosen.check:
            print(f"out of date: {path}; python scripts/readme.py writes it", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made[path])
            print(f"Written: {path}")
    return 1 if stale and chosen.check else 0


if __name__ == "__main__":
    run_program(main)
