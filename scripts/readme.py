"""Write what README and docs show: claims, which method to use, two pictures.

    python scripts/readme.py

Numbers are of committed rows; runs on this machine do not count. With --check nothing is written,
and what is out of date is named.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

# Run as a file, Python puts this folder on the path, not its parent, which holds `scripts`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.frame.terminal import run_program
from report.artefacts.catalogue import ARTEFACTS, TASKS
from report.artefacts.comparison.choice import NOT_YET
from report.cells import EN_DASH, NOT_REPORTED
from report.claims.headlines import HEADLINES, found_headlines
from report.claims.model import OURS, PAPER
from report.claims.statistics import NOT_RUN, REPRODUCED, TESTED, overall
from report.claims.tables import MEANINGS, grouped
from report.claims.verdicts import Report, make_report
from report.excerpts import fill_tables, markdown
from report.figures import Figure, pictures
from report.options import Options
from report.plots.idea import draw_idea
from report.rerun import rerun_page
from report.results import Results, load_results
from report.tables import Table
from scripts._arguments import ROOT, Parser, refused

PICTURE, CHOICE = "figure10", "which_method"
PAGE, CLAIMS = Path("docs") / "which-method.md", Path("docs") / "claims.md"
RERUN = Path("docs") / "rerun.md"
_HEAD = (
    "| claim | where | our runs (protocol: cells reproduced) | the paper's own numbers |\n"
    "|---|---|---|---|\n"
)
_HEADLINE_HEAD = "| what the paper says | here | in the paper | verdict |\n|---|---|---|---|\n"
_OWN = "the paper's models"
_OURS = "\nClaims of our own, judged in the same way:\n\n"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The choices of a command line: root, check."""
    parser = Parser(
        prog="readme.py", description="What README and docs show of the rows under results/."
    )
    parser.add_argument(
        "--root", type=Path, default=ROOT, metavar="FOLDER", help="the checkout (default: this one)"
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    return parser.parse_args(arguments)


def claims_table(report: Report) -> str:
    """The tables of claims as Markdown, the paper's and ours: one line per claim."""
    statements, verdicts, _ = report.tables
    groups = grouped(report.cells)
    stand_ins = {claim for claim, _, stands_in in groups if stands_in}
    ours: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (claim, protocol, stands_in), cells in groups.items():
        found = [cell.verdict for cell in cells]
        names = ", ".join(dict.fromkeys(cell.models for cell in cells))
        models = f" on {names}" if stands_in else f" on {_OWN}" if claim in stand_ins else ""
        verdict = overall(found)
        unrun = found.count(NOT_RUN)
        share = f" {found.count(REPRODUCED)} of {len(found) - unrun}" * (verdict != NOT_RUN)
        share += f"; {unrun} not run" * (bool(share) and unrun > 0)
        ours[claim][f"**{verdict}**{models}"] += [f"{protocol}{share}"] * bool(protocol)
    papers = {row[0]: row[-1] for block in verdicts.blocks for row in block.rows}
    claimant = {cell.claim.id: cell.claim.of for cell in report.cells}
    lines: dict[str, list[str]] = {PAPER: [], OURS: []}
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
            lines[claimant[claim]].append(f"| {' | '.join(row)} |\n")
    own = [_OURS, _HEAD, *lines[OURS]] if lines[OURS] else []
    meanings = (f"- **{verdict}**: {meaning}.\n" for verdict, meaning in MEANINGS.items())
    return "".join([*meanings, "\n", _HEAD, *lines[PAPER], *own])


def headlines(report: Report) -> str:
    """The table of `HEADLINES` as Markdown; a ValueError unless each is found once."""
    found = found_headlines(report)
    if [each.headline for each in found] != list(HEADLINES):
        raise ValueError("rows of a headline are missing, or two of its cells have some")
    lines = (
        f"| {each.headline.words} | {each.ours} | {each.paper} | {each.verdict} |\n"
        for each in found
    )
    return "".join([_HEADLINE_HEAD, *lines])


def _choice(table: Table) -> str:
    """The lines of a table as Markdown, without its notes."""
    return markdown(table.names, (row for block in table.blocks for row in block.rows))


def _brief(table: Table) -> str:
    """The same without what is upright, and with situations of one answer in one line."""
    shown = [place for place, name in enumerate(table.names) if name not in ("upright", "best of")]
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in (row for block in table.blocks for row in block.rows):
        found[tuple(row[place] for place in shown[1:])].append(row[0])
    lines = ((" or ".join(situations), *cells) for cells, situations in found.items())
    return markdown((table.names[place] for place in shown), lines)


def _unrun(table: Table) -> str:
    """A sentence with the situations without rows, task by task."""
    found: dict[str, list[str]] = defaultdict(list)
    for situation, task, *cells in (row for block in table.blocks for row in block.rows):
        if NOT_YET in cells:
            found[task].append(situation)
    texts = (f"{task} ({', '.join(own)})" for task, own in found.items())
    return f"Not run yet: {'; '.join(texts)}." if found else ""


def filled(path: Path, content: str, **texts: str) -> str:
    """The content of a file with texts between the marks of their names.

    A file without the marks is a ValueError of one line.
    """
    for name, text in texts.items():
        marks = f"<!-- {name}: written by scripts/readme.py -->\n", f"<!-- end of {name} -->\n"
        before, start, rest = content.partition(marks[0])
        _, end, after = rest.partition(marks[1])
        if not (start and end):
            raise ValueError(f"{path}: no lines {marks[0].strip()!r} and {marks[1].strip()!r}")
        content = f"{before}{start}\n{text}\n{end}{after}"
    return content


def contents(root: Path) -> dict[Path, bytes]:
    """The content of what is written, by path in a checkout.

    Refused rows or claims, or a file without the marks, are a ValueError of one line.
    """
    with TemporaryDirectory() as folder:
        results = Path(folder)
        for name in ("paper", "measured"):
            (results / name).symlink_to(root / "results" / name)
        # Loaded once: each claim, table and picture selects its rows of all.
        loaded = load_results(results, TASKS, ("paper",))
        report = make_report(results, "paper", root, loaded)
    picture, choice = ARTEFACTS[PICTURE].build(loaded, Options()), _table(loaded, CHOICE)
    assert isinstance(picture, Figure)
    table, readme = cache(partial(_table, loaded)), root / "README.md"
    known = choice.without(NOT_YET)
    parts = {
        readme: {"methods": _brief(known), "headlines": headlines(report)},
        root / PAGE: {"methods": f"{_choice(known)}\n{_unrun(choice)}\n"},
        root / CLAIMS: {"claims": claims_table(report)},
        root / RERUN: {"presets": rerun_page(root, loaded)},
    }
    paths = {*(root / "docs").glob("*.md"), *parts}
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(paths)}
    images = root / "docs" / "images"
    return {
        **{
            path: filled(path, fill_tables(path, text, table), **parts.get(path, {})).encode()
            for path, text in pages.items()
        },
        images / "idea.svg": pictures(draw_idea, "svg")["svg"],
        images / f"{PICTURE}.svg": picture.pictures("svg")["svg"],
    }


def _table(loaded: Results, name: str) -> Table:
    built = ARTEFACTS[name].build(loaded, Options())
    return built.digest if isinstance(built, Figure) else built


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare; 1 where something is out of date, 2 where rows or claims are refused."""
    chosen = parse_arguments(arguments)
    if not (chosen.root / "results").is_dir():
        return refused(f"--root {chosen.root}: no folder with results/", "readme.py")
    try:
        made = contents(chosen.root)
    except (ValueError, OSError) as error:
        return refused(error, "readme.py")
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
