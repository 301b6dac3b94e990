"""Report: the whole page, from the template `page.html.j2`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from experiments.frame.rows import SCALES
from report.artefacts.catalogue import ARTEFACTS, TASKS, TITLES
from report.artefacts.comparison.choice import NOT_YET
from report.artefacts.entry import build
from report.cells import EN_DASH, MISSING, NOT_REPORTED
from report.claims.headlines import Outcome, found_headlines
from report.claims.model import OURS, PAPER
from report.claims.statistics import (
    CONTRARY,
    FAILS,
    HOLDS,
    NOT_RUN,
    REPRODUCED,
    TESTED,
    UNDECIDED,
    overall,
)
from report.claims.tables import COUNTED, grouped
from report.claims.verdicts import Report, make_report
from report.faces import render
from report.figures import Figure
from report.options import Options
from report.page.pictures import Picture, embedded
from report.page.sources import KEYS, Source, find_sources, hours
from report.results import Results, load_results, seed_order
from report.tables import Block, Table

#: What the page begins with, of the headlines (by their claims) and of the figures.
FINDINGS = ("scan-zero-shot", "clip-order", "cnn-equizero-untrained", "fairness-debias")
FIRST = ("figure10", "figure8", "pareto_cnn", "figure3")
CHOICE = "which_method"
_BADGES = {
    REPRODUCED: "yes",
    HOLDS: "yes",
    CONTRARY: "no",
    FAILS: "no",
    UNDECIDED: "open",
    NOT_RUN: "none",
    TESTED: "test",
}
_VERDICT = 3  # the cell of a line of the table of verdicts, after the claim's name
_TITLES = TITLES | {"theory": "Theory"}
_SCALES = {
    "paper": "Rows at the scale “paper” alone: full-scale runs, on the models that are named with "
    "each number, by the text (protocol paper) or as the authors' code does it (reference). Where "
    "the paper's models could not be downloaded, others take their place. Smaller than in the "
    "paper are the budgets of Figure 5a (steps), Table 1 (images) and of the sentences in Figures "
    "3 and 9; what was run is in their titles, variants and notes.",
    "demo": "Rows at the scale “demo” alone: small models, small data, minutes of training. They "
    "show that everything runs and what the shapes look like; they do not say whether the paper is "
    "right. The paper's own numbers, where they stand beside, are at its own scale.",
}
_HEADERS = (
    *("protocol", "model", "data", "method", "variant", "seeds", "runs", "rows"),
    *("commits", "ran on", "begun", "CPU hours", "with what they build on"),
)


class Shown(NamedTuple):
    """A table or figure on the page.

    Attributes:
        table: The table, or the digest of the figure.
        picture: The drawing; None for a table and where nothing is drawn.
        rows: Anchors to paths of the rows that it may show; empty where it shows none of ours.
        command: The shell command that writes its files.
    """

    table: Table
    is_figure: bool
    picture: Picture | None
    rows: Mapping[str, str]
    command: str

    @property
    def short(self) -> str:
        """Its name in a list: the number in the paper, or the title."""
        numbered = re.fullmatch(r"(figure|table)(\d+[a-z]?)", self.table.name)
        return f"{numbered[1].title()} {numbered[2]}" if numbered else self.table.title


class Task(NamedTuple):
    """The tables and figures of a task or topic: those with rows of ours, and those without."""

    name: str
    title: str
    shown: list[Shown]
    empty: list[Shown]


class Listed(NamedTuple):
    """A claim.

    Attributes:
        decided: How it is.
        lines: Its verdicts, and what each is about.
        in_words: There is no number: `decided` tells what was found.
        verdicts: The same with all columns.
    """

    name: str
    statement: str
    place: str
    decided: str
    lines: list[tuple[str, str]]
    in_words: bool
    verdicts: Table
    cells: Table


class Styles(dict[tuple[str, ...], str]):
    """The style of each row of headers: on a narrow screen it writes them beside the cells."""

    def __missing__(self, headers: tuple[str, ...]) -> str:
        """Name a new one."""
        self[headers] = name = f"t{len(self)}"
        return name

    @property
    def rules(self) -> str:
        """CSS, one rule for each column."""
        return "".join(
            f".{name} td:nth-child({place})::before{{content:{_css(header)}}}"
            for headers, name in self.items()
            for place, header in enumerate(headers, 1)
            if header
        )


def _css(text: str) -> str:
    # A style ends where it has a tag.
    return json.dumps(f"{text}: ", ensure_ascii=False).replace("<", "\\3c ")


class Origin(NamedTuple):
    """A file of rows or a folder of runs, and a table of its runs."""

    anchor: str
    path: str
    hours: str
    table: Table


def write_page(folder: Path, scale: str, root: Path) -> str:
    """The report: a page of HTML that needs no other file.

    Names of tests begin in `root`. Refused claims or rows are a ValueError of one line.
    """
    results = load_results(folder, TASKS, (scale,))
    claims = make_report(folder, scale, root, results)
    sources = find_sources(folder, results, scale)
    groups = grouped([cell for cell in claims.cells if cell.claim.of == PAPER])
    counts = Counter(overall([cell.verdict for cell in inside]) for inside in groups.values())
    blank = replace(results, ours=results.ours.head(0))
    found = {name: _task(name, results, blank, sources, scale) for name in TITLES}
    first = [task for name, task in found.items() if name not in TASKS]
    tasks = [task for name, task in found.items() if name in TASKS]
    shown = {each.table.name: each for task in (*first, *tasks) for each in task.shown}
    return render(
        "page.html",
        scale=scale,
        findings=_findings(claims),
        front=[shown[name] for name in FIRST if name in shown],
        choice=shown.get(CHOICE),
        not_yet=NOT_YET,
        styles=Styles(),
        about=_SCALES[scale],
        others=[name for name in SCALES if name != scale],
        gaps=results.gaps,
        counts=sorted(counts.items()),
        claims=_claims(claims),
        verdicts=claims.tables[1],
        first=first,
        tasks=tasks,
        sources=[_origin(source) for source in sources],
        skips=results.skips,
        badges=_BADGES,
        dash=EN_DASH,
        absent=(MISSING, NOT_REPORTED),
    )


def _findings(report: Report) -> list[Outcome]:
    """The first headline of each claim of `FINDINGS`."""
    found = {each.headline.claim: each for each in reversed(found_headlines(report))}
    return [found[claim] for claim in FINDINGS if claim in found]


def _claims(report: Report) -> dict[str, list[Listed]]:
    """Claims by the titles of their tasks."""
    statements, verdicts, cells = report.tables
    said = {row[0]: row for block in statements.blocks for row in block.rows}
    headers = verdicts.groups[0].headers
    claims: dict[str, list[Listed]] = {}
    for block in verdicts.blocks:
        task = block.labels["task"]
        title = "All tasks" if ", " in task else _TITLES.get(task, task)
        listed = claims.setdefault("Our own" if task.endswith(f"({OURS})") else title, [])
        for name in dict.fromkeys(row[0] for row in block.rows):
            lines = [row[1:] for row in block.rows if row[0] == name]
            blocks = tuple(each for each in cells.blocks if each.labels["claim"] == name)
            _, statement, place, decided = said[name]
            listed.append(
                Listed(
                    *(name, statement, place, decided),
                    lines=[(line[_VERDICT], _about(line)) for line in lines],
                    in_words=lines[0][_VERDICT] == TESTED,
                    verdicts=_plain(f"Verdicts on the claim {name}", headers, lines),
                    cells=replace(cells, title=f"Cells of the claim {name}", blocks=blocks),
                )
            )
    return claims


def _plain(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return Table("", title, tuple(headers), (), (Block({}, tuple(map(tuple, rows))),))


def _about(line: Sequence[str]) -> str:
    """Write whose verdict a line of a claim is, and what the paper's numbers say."""
    protocol, models, counts, _, _, _, theirs = line
    about = [] if protocol == EN_DASH else [f"protocol {protocol}"]
    about += [] if models == EN_DASH else [models]
    numbers = zip(counts.split(" / "), COUNTED, strict=True)
    cells = [f"{number} {name}" for number, name in numbers if number != "0"]
    about += [f"cells: {', '.join(cells)}"] if about and cells else []
    about += [] if theirs == NOT_REPORTED else [f"by the paper's own numbers it {theirs}"]
    return " · ".join(about)


def _task(
    task: str, results: Results, blank: Results, sources: Sequence[Source], scale: str
) -> Task:
    options = Options((scale,))
    # The rows of a file that no entry names, and those of fresh runs, may be in any.
    named = {
        (each, name)
        for entry in ARTEFACTS.values()
        for each in entry.tasks
        for name in entry.sources
    }
    found = Task(task, _TITLES[task], [], [])
    for name, entry in ARTEFACTS.items():
        if entry.task != task:
            continue
        built = build(entry, results, options)
        ours = built.numbers != build(entry, blank, options).numbers
        rows = {
            _anchor(source): source.path
            for source in sources
            if source.task in entry.tasks
            and (source.name in entry.sources or (source.task, source.name) not in named)
        }
        command = f"python scripts/paper_figures.py {name} --scale {scale}"
        (found.shown if ours else found.empty).append(_shown(built, rows if ours else {}, command))
    return found


def _shown(built: Table | Figure, rows: Mapping[str, str], command: str) -> Shown:
    if isinstance(built, Table):
        return Shown(built, False, None, rows, command)
    picture = embedded(built) if built.rows else None
    return Shown(built.digest, True, picture, rows, command)


def _anchor(source: Source) -> str:
    name = re.sub(r"[^\w.-]", "-", source.name)
    return f"rows-{source.task}-{name}" if name else f"runs-{source.task}"


def _origin(source: Source) -> Origin:
    rows = [
        (
            *(each.labels[name] for name in KEYS),
            *(_seeds(each.seeds), str(len(each.runs)), str(each.rows)),
            *(each.commits, each.hardware, each.started),
            *(hours(each.runs.values()), hours([*each.runs.values(), *each.bases.values()])),
        )
        for each in source.lines
    ]
    table = _plain(f"Runs of {source.path}", _HEADERS, rows)
    return Origin(_anchor(source), source.path, hours(source.records.values()), table)


def _seeds(seeds: set[str]) -> str:
    numbers = sorted(seeds, key=seed_order)
    whole = [str(number) for number in range(len(numbers))]
    return f"0-{len(numbers) - 1}" if len(numbers) > 2 and numbers == whole else ", ".join(numbers)
