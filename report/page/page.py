"""Report: the whole page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from experiments.frame.rows import SCALES
from report.artefacts.catalogue import ARTEFACTS, TITLES
from report.cells import EN_DASH, NOT_REPORTED
from report.claims.statistics import TESTED, overall
from report.claims.tables import COUNTED, grouped
from report.claims.verdicts import Report, make_report
from report.departures import build, numbers
from report.options import Options
from report.page.html import artefact, badge, element, fold, notes, plain_table, table
from report.page.sources import KEYS, Source, find_sources, hours
from report.results import Results, load_results
from report.tables import Table

_STYLE = Path(__file__).with_name("report.css")
_VERDICT = 3  # the cell of a line of the table of verdicts, after the claim's name
_TITLES = TITLES | {"theory": "Theory"}
_SCALES = {
    "paper": "Rows at the scale “paper” alone: full-scale runs, on the models that are named with "
    "each number, by the text (protocol paper) or as the authors' code does it (reference). Where "
    "the paper's own models could not be had, others stand in. Smaller than in the paper are the "
    "budgets of Figure 5a (steps), Table 1 (images) and of the sentences in Figures 3 and 9; what "
    "was run is in their titles, variants and notes.",
    "demo": "Rows at the scale “demo” alone: small models, small data, minutes of training. They "
    "show that everything runs and what the shapes look like; they do not say whether the paper is "
    "right. The paper's own numbers, where they stand beside, are at its own scale.",
}
_HEADERS = (
    *("protocol", "model", "data", "method", "variant", "seeds", "runs", "rows"),
    *("commits", "ran on", "begun", "CPU hours", "with what they build on"),
)


def write_page(folder: Path, scale: str, root: Path) -> str:
    """The report: a page of HTML that needs no other file.

    Names of tests begin in `root`. Refused claims or rows are a ValueError of one line.
    """
    tasks = tuple(dict.fromkeys(entry.task for entry in ARTEFACTS.values()))
    results = load_results(folder, tasks, (scale,))
    claims = make_report(folder, scale, root, results)
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
    body = _header(scale, claims, tasks, results.gaps) + element("main", *sections)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _header(scale: str, claims: Report, tasks: Sequence[str], gaps: Sequence[str]) -> str:
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
        *(element("p", escape(gap), class_="scale gap") for gap in gaps),
        element("p", "Verdicts on claims, one for each protocol and kind of models:"),
        element("ul", chips, class_="chips"),
        element("nav", menu),
    )


def _claims(report: Report) -> str:
    statements, verdicts, cells = report.tables
    said = {row[0]: row[1:] for block in statements.blocks for row in block.rows}
    parts = []
    for block in verdicts.blocks:
        parts.append(element("h3", _claims_title(block.labels["task"])))
        for claim in dict.fromkeys(row[0] for row in block.rows):
            lines = [row[1:] for row in block.rows if row[0] == claim]
            parts.append(_claim(claim, said[claim], lines, verdicts, cells))
    return element(
        "section",
        element("h2", "What the paper claims"),
        element(
            "p",
            "Each claim is a comparison of rows, decided by an interval of paired differences, in "
            "each of its cells (a data set, a model, a pair of methods); it has the worst verdict "
            "of its cells.",
        ),
        *parts,
        notes(verdicts.notes, verdicts.commands),
        id="claims",
    )


def _claim(
    name: str,
    said: Sequence[str],
    lines: Sequence[Sequence[str]],
    verdicts: Table,
    cells: Table,
) -> str:
    statement, place, decided = said
    headers = verdicts.groups[0].headers
    blocks = [block for block in cells.blocks if block.labels["claim"] == name]
    return element(
        "article",
        element("p", escape(statement), class_="claim"),
        element("ul", *map(_verdict, lines), class_="verdicts"),
        # Of theory there is no number: what was found is in words.
        element("p", escape(decided)) if lines[0][_VERDICT] == TESTED else "",
        element("p", f"{escape(place)} · ", element("code", name), class_="origin"),
        fold(
            "How it was decided",
            element("p", escape(decided)),
            plain_table(f"Verdicts on the claim {name}", headers, lines),
            table(cells, blocks, f"Cells of the claim {name}"),
        ),
        id=f"claim-{name}",
    )


def _claims_title(tasks: str) -> str:
    return "All tasks" if ", " in tasks else escape(_TITLES.get(tasks, tasks))


def _verdict(line: Sequence[str]) -> str:
    """Write one line of a claim: its verdict, whose it is, and what the paper's numbers say."""
    protocol, models, counts, verdict, _, _, theirs = line
    about = [] if protocol == EN_DASH else [f"protocol {protocol}"]
    about += [] if models == EN_DASH else [models]
    numbers = zip(counts.split(" / "), COUNTED, strict=True)
    cells = [f"{number} {name}" for number, name in numbers if number != "0"]
    about += [f"cells: {', '.join(cells)}"] if about and cells else []
    about += [] if theirs == NOT_REPORTED else [f"by the paper's own numbers it {theirs}"]
    return element("li", badge(verdict), " ", escape(" · ".join(about)))


def _task(task: str, results: Results, sources: Sequence[Source], scale: str) -> str:
    blank = replace(results, ours=results.ours.head(0))
    options = Options((scale,))
    # The rows of a file that no entry names, and those of fresh runs, may be in any.
    named = {name for entry in ARTEFACTS.values() if entry.task == task for name in entry.sources}
    shown: list[str] = []
    empty: list[str] = []
    for name, entry in ARTEFACTS.items():
        if entry.task != task:
            continue
        built = build(entry, results, options)
        rows = {
            _anchor(source): source.path
            for source in sources
            if source.task == task and (source.name in entry.sources or source.name not in named)
        }
        ours = numbers(built) != numbers(build(entry, blank, options))
        command = f"python scripts/paper_figures.py --only {name} --scale {scale}"
        (shown if ours else empty).append(artefact(built, rows if ours else {}, command))
    if empty:
        shown.append(fold(f"Not run at this scale: {len(empty)} tables and figures", *empty))
    return element("section", element("h2", _TITLES[task]), *shown, id=task)


def _anchor(source: Source) -> str:
    name = re.sub(r"[^\w.-]", "-", source.name)
    return f"rows-{source.task}-{name}" if name else f"runs-{source.task}"


def _runs(sources: Sequence[Source], results: Results) -> str:
    parts = []
    for source in sources:
        rows = [
            (
                *(each.labels[name] for name in KEYS),
                *(_seeds(each.seeds), str(len(each.runs)), str(each.rows)),
                *(each.commits, each.hardware, each.started),
                *(hours(each.runs.values()), hours([*each.runs.values(), *each.bases.values()])),
            )
            for each in source.lines
        ]
        total = f"{hours(source.records.values())} CPU hours in all, each run counted once."
        parts.append(
            element(
                "article",
                element("h3", escape(source.path)),
                element("p", total),
                plain_table(f"Runs of {source.path}", _HEADERS, rows),
                id=_anchor(source),
            )
        )
    skips = (
        f"Runs on this machine, of any scale, that are not done and not counted: {results.skips}."
    )
    return element(
        "section",
        element("h2", "How it was run"),
        element(
            "p",
            "One line per protocol, model, data set, method and variant. The column ",
            element("code", "run"),
            " of a file names the run of each row; its record, with configuration, versions and "
            "checksums, is in the file of the same name that ends in ",
            element("code", ".json"),
            ", or in the run's own folder. Runs that others build on (a pretraining) are in the "
            "last column of each line that needs them, and in its commits; a star marks "
            "uncommitted changes of the code.",
        ),
        *(parts or [element("p", "No rows at this scale.", class_="absent")]),
        element("p", escape(skips)) if results.skips else "",
        id="runs",
    )


def _seeds(seeds: set[str]) -> str:
    numbers = sorted(seeds, key=lambda text: (len(text), text))
    whole = [str(number) for number in range(len(numbers))]
    return f"0-{len(numbers) - 1}" if len(numbers) > 2 and numbers == whole else ", ".join(numbers)
