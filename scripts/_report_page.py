"""Report: the whole page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from experiments.rows import SCALES
from scripts._artefacts import ARTEFACTS
from scripts._claims_cells import Cell
from scripts._claims_report import Report, make_report
from scripts._claims_statistics import overall
from scripts._claims_tables import COUNTED, grouped
from scripts._figures import Figure
from scripts._options import Options
from scripts._report_html import artefact, badge, element, fold, notes, plain_table, table
from scripts._report_sources import Source, find_sources
from scripts._results import Results, load_results
from scripts._tables import Table

_STYLE = Path(__file__).with_name("report.css")
_NUMBERED = re.compile(r"(figure|table)(\d+)([a-z]?)")
_TITLES = {
    "scan": "SCAN: compositional generalisation",
    "dqn": "Deep Q-learning",
    "cnn": "CNNs on turned images",
    "clip": "CLIP: zero-shot classification",
    "fairness": "Fairness in language generation",
    "none": "Cost and theory",
}
_SCALES = {
    "paper": "Rows at the scale “paper” alone: the paper's protocol and budget, on the models "
    "that are named with each number. Where the paper's own models could not be had, others stand "
    "in, and it says so.",
    "demo": "Rows at the scale “demo” alone: small models, small data, minutes of training. They "
    "show that everything runs and what the shapes look like; they do not say whether the paper is "
    "right. The paper's own numbers, where they stand beside, are at its own scale.",
}
_HEADERS = (
    *("protocol", "model", "data", "seeds", "runs", "rows", "commit", "ran on", "begun"),
    "CPU hours",
)


def write_page(folder: Path, scale: str, root: Path) -> str:
    """Write the report.

    Args:
        folder: The results folder.
        scale: Scale of our rows.
        root: The folder in which the names of tests begin.

    Returns:
        A page of HTML that needs no other file.

    Raises:
        ValueError: The claims or the rows are refused. One line.
    """
    tasks = tuple(dict.fromkeys(entry.task for entry in ARTEFACTS.values()))
    results = load_results(folder, tasks, (scale,))
    claims = make_report(folder, scale, root)
    sources = find_sources(folder, results, scale)
    sections = [_claims(claims), *(_task(task, results, sources, scale) for task in tasks)]
    sections.append(_runs(sources, results))
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        + element("title", f"equitune: report, scale {scale}")
        + element("style", _STYLE.read_text(encoding="utf-8"))
    )
    body = _header(scale, claims, tasks) + element("main", *sections)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _header(scale: str, claims: Report, tasks: Sequence[str]) -> str:
    groups = grouped(claims.cells)
    counts = Counter(overall([cell.verdict for cell in inside]) for inside in groups.values())
    chips = "".join(
        element("li", badge(verdict), f" {count}") for verdict, count in sorted(counts.items())
    )
    links = {"claims": "Claims", **{task: _TITLES[task] for task in tasks}, "runs": "Runs"}
    menu = "".join(
        element("a", escape(title.partition(":")[0]), href=f"#{anchor}")
        for anchor, title in links.items()
    )
    others = ", ".join(name for name in SCALES if name != scale)
    return element(
        "header",
        element("h1", "Equivariant transfer learning, rerun"),
        element(
            "p",
            "Figures, tables and claims of “Efficient Equivariant Transfer Learning from "
            "Pretrained Models” (Basu et al., NeurIPS 2023), made again from rows of real runs.",
        ),
        element(
            "p",
            element("strong", f"Scale: {scale}. "),
            escape(_SCALES[scale]),
            f" Rows at other scales ({others}) are not on this page.",
            class_=f"scale {scale}",
        ),
        element("ul", chips, class_="chips"),
        element("nav", menu),
    )


def _claims(report: Report) -> str:
    statements, verdicts, cells = report.tables
    said = {row[0]: row[1:] for block in statements.blocks for row in block.rows}
    groups = grouped(report.cells)
    parts = []
    for block in verdicts.blocks:
        task = block.labels["task"]
        parts.append(element("h3", _TITLES.get(task, task)))
        for claim in dict.fromkeys(row[0] for row in block.rows):
            lines = [row[1:] for row in block.rows if row[0] == claim]
            inside = [each for key, each in groups.items() if key[0] == claim]
            parts.append(_claim(claim, said[claim], lines, inside, verdicts, cells))
    return element(
        "section",
        element("h2", "What the paper claims"),
        element(
            "p",
            "Each claim is a comparison of rows, decided by an interval of paired differences. "
            f"Cells are counted as {' / '.join(COUNTED)}.",
        ),
        *parts,
        notes(verdicts.notes, verdicts.commands),
        id="claims",
    )


def _claim(
    name: str,
    said: Sequence[str],
    lines: Sequence[Sequence[str]],
    groups: Sequence[Sequence[Cell]],
    verdicts: Table,
    cells: Table,
) -> str:
    statement, place, decided = said
    badges = dict.fromkeys(overall([cell.verdict for cell in inside]) for inside in groups)
    headers = verdicts.groups[0].headers
    blocks = [block for block in cells.blocks if block.labels["claim"] == name]
    return element(
        "article",
        element("p", *map(badge, badges), " ", escape(statement), class_="claim"),
        element("p", f"{escape(place)} · ", element("code", name), class_="origin"),
        fold(
            "How it was decided",
            element("p", escape(decided)),
            plain_table(headers, lines),
            table(cells, blocks),
        ),
        id=f"claim-{name}",
    )


def _label(name: str) -> str:
    found = _NUMBERED.fullmatch(name)
    if found:
        return f"{found[1].capitalize()} {found[2]}{found[3]}"
    found = _NUMBERED.match(name)
    rest = name.replace("_", " ")
    return (
        f"{found[1].capitalize()} {found[2]}{found[3]}, {rest.split(' ', 1)[1]}" if found else rest
    )


def _task(task: str, results: Results, sources: Sequence[Source], scale: str) -> str:
    parts = []
    for name, entry in ARTEFACTS.items():
        if entry.task != task:
            continue
        built = entry.build(results, Options((scale,)))
        assert isinstance(built, Table | Figure)
        shown = {
            _anchor(source): source.path
            for source in sources
            if source.task == task and source.name in (*entry.sources, "runs")
        }
        parts.append(artefact(built, _label(name), shown))
    return element("section", element("h2", _TITLES[task]), *parts, id=task)


def _anchor(source: Source) -> str:
    return f"rows-{source.task}-{source.name}"


def _runs(sources: Sequence[Source], results: Results) -> str:
    parts = []
    for source in sources:
        rows = [
            (
                *(each.labels[name] for name in ("protocol", "model", "dataset")),
                _seeds(each.seeds),
                *(str(len(each.runs)), str(each.rows)),
                *(each.commits, each.hardware, each.started, f"{each.hours:.2f}"),
            )
            for each in source.lines
        ]
        parts.append(
            element(
                "article",
                element("h3", escape(source.path)),
                plain_table(_HEADERS, rows),
                id=_anchor(source),
            )
        )
    skipped = _skipped(results.skipped)
    return element(
        "section",
        element("h2", "How it was run"),
        element(
            "p",
            "One line per protocol, model and data set. The column ",
            element("code", "run"),
            " of a file names the run of each row; its record, with configuration, versions and "
            "checksums, is in the file of the same name that ends in ",
            element("code", ".json"),
            ", or in the run's own folder. Time is that of these runs, without the pretraining "
            "that they build on; a star marks uncommitted changes of the code.",
        ),
        *(parts or [element("p", "No rows at this scale.", class_="missing")]),
        element("p", escape(skipped)) if skipped else "",
        id="runs",
    )


def _skipped(skipped: Mapping[str, int]) -> str:
    if not skipped:
        return ""
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
    return f"Runs that are not done and not counted: {counts}."


def _seeds(seeds: set[str]) -> str:
    numbers = sorted(seeds, key=lambda text: (len(text), text))
    whole = [str(number) for number in range(len(numbers))]
    return f"0-{len(numbers) - 1}" if len(numbers) > 2 and numbers == whole else ", ".join(numbers)
