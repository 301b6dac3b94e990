"""The report: one page with the rows of one scale, where they came from, and what is missing."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from markupsafe import escape

from report.artefacts.catalogue import ARTEFACTS
from report.figures import Figure
from report.options import Options
from report.results import Results, load_results
from report.sentences import SUFFIX
from report.tables import Table
from scripts import claims, paper_figures
from scripts.report import main, parse_arguments
from tests.report.conftest import ResultsTree, drawn

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "results").glob("measured/*/*.csv"))
MEASURED = [path for path in FILES if not path.stem.endswith(SUFFIX)]
_VOID = ("meta", "img", "br", "hr", "link")


class _Page(HTMLParser):
    """Collects what the tests ask of a page; an unbalanced tag is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.anchors: set[str] = set()
        self.targets: set[str] = set()
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            assert found["id"] not in self.anchors
            self.anchors.add(found["id"])
        for name in ("href", "src"):
            if found.get(name, "").startswith("#"):
                self.targets.add(found[name][1:])
            elif name in found:
                self.addresses.append(found[name])
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def written(results: Path, *options: str) -> str:
    """The report's HTML."""
    path = results / "page.html"
    assert main(["--results", str(results), "--out", str(path), *options]) == 0
    return path.read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    """The text of one article or section."""
    found = re.search(rf'<(article|section) id="{name}">(.*?)</\1>', page, re.DOTALL)
    assert found, name
    return re.sub(r"<[^>]*>", " ", found[2])


def _claimed(path: Path) -> ResultsTree:
    """A results folder with the claims and three methods of SCAN."""
    tree = ResultsTree(path)
    shutil.copy(ROOT / "results" / "paper" / "claims.yaml", path / "paper")
    rows = [
        *tree.rows([0.0, 0.1, 0.2], method="pretrained", group="trivial"),
        *tree.rows([10.0, 11.0, 12.0], method="equitune"),
        *tree.rows([75.0, 77.0, 79.0]),
    ]
    tree.measured(rows, "zero_shot")
    return tree


@pytest.fixture
def claimed(tmp_path: Path) -> ResultsTree:
    """A results folder of one test."""
    return _claimed(tmp_path / "results")


class Page(NamedTuple):
    """A results folder, which no test changes, and its page."""

    results: Path
    text: str


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of rows of two tasks and two scales, committed and fresh ones."""
    tree = _claimed(tmp_path_factory.mktemp("page") / "results")
    methods = ("pretrained", "equitune", "equizero")
    returns = [tree.returns([-400.0, -300.0, -200.0], method) for method in methods]
    tree.measured([row for rows in returns for row in rows], "figure2", task="dqn")
    # Neither the folder of runs nor a file of any name is taken for another.
    tree.measured(tree.rows([70.0], model="GRU"), "runs")
    tree.run("fresh", tree.rows([60.0], model="RNN"))
    tree.run("demo", tree.rows([33.0, 33.5, 34.0], scale="demo"))
    return Page(tree.path, written(tree.path))


def test_it_needs_nothing_else_and_every_link_leads_somewhere(page: Page) -> None:
    found = _Page(page.text)
    assert len(found.addresses) == 2
    assert found.targets and found.targets <= found.anchors
    assert all(address.startswith("data:image/svg+xml,") for address in found.addresses)
    tables = re.findall(r"<table class=.t\d+.><caption>[^<]+<", page.text)
    assert page.text.count("<table") == len(tables) > 4
    unnamed = re.sub(r'src="[^"]*"', "", page.text)
    assert not re.search(r"<script|@import|url\(|https?:", unnamed)


def test_rows_changed_by_hand_change_table_claim_and_picture(page: Page, tmp_path: Path) -> None:
    assert "77.0 (2.0)" in section(page.text, "table2")
    assert "+66.0" in section(page.text, "claim-scan-zero-shot")
    results = shutil.copytree(page.results, tmp_path / "results")
    for name, old, new in (("scan/zero_shot", "79.0", "49.0"), ("dqn/figure2", "-200.0", "-100.0")):
        path = results / "measured" / f"{name}.csv"
        text = path.read_text(encoding="utf-8")
        assert f",{old}," in text
        path.write_text(text.replace(f",{old},", f",{new},"), encoding="utf-8")
    after = written(results)
    assert "67.0 (15.6)" in section(after, "table2")
    assert "+56.0" in section(after, "claim-scan-zero-shot")
    pictures = [
        re.search(r'id="figure2">.*?src="([^"]*)"', text, re.DOTALL) for text in (page.text, after)
    ]
    assert pictures[0] and pictures[1] and pictures[0][1] != pictures[1][1]


def test_scales_are_never_mixed(page: Page, tmp_path: Path) -> None:
    results = shutil.copytree(page.results, tmp_path / "results")
    paper, demo = page.text, written(results, "--scale", "demo")
    assert "77.0 (2.0)" in paper and "33.5 (0.5)" not in paper
    assert "33.5 (0.5)" in demo and "77.0 (2.0)" not in demo
    assert "Scale: paper." in paper and "Scale: demo." in demo
    assert "measured/scan/zero_shot.csv" not in demo and "runs/scan" in demo
    # By default it is that of the paper.
    assert parse_arguments([]).scale == "paper"


#: Records that lack something, by the names of their files.
LACKING: dict[str, dict[str, Any]] = {
    "empty": {},
    "no-machine": {"cores": 2},
    "nothing-known": {"facts": None, "cpu_seconds": None, "commit": None, "started": None},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of files whose records tell much or little, each with rows of a model."""
    tree = _claimed(tmp_path_factory.mktemp("told") / "results")
    tree.measured(tree.rows([50.0], model="GRU"), "my runs")
    done: dict[str, Any] = {"status": "done"}
    known = done | {
        **{"commit": "0123456789abcdef", "dirty": True, "cpu_seconds": 7200.0},
        **{"started": "2026-03-04T05:06:07+00:00", "machine": "a machine", "cores": 2},
        **{"processor": "a processor", "accelerator": "a GPU"},
        "facts": {"device": "cpu"},
    }
    records = {"zero_shot": {"some-run": known}}
    for name, record in LACKING.items():
        tree.measured(tree.rows([50.0], model=name), name)
        records[name] = {"some-run": done | record}
    path = tree.measured(tree.rows([75.0, 77.0, 79.0], model="built"), "built")
    lines = path.read_text(encoding="utf-8").replace("some-run", "first").splitlines()
    lines[-1] = lines[-1].replace("first", "second")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    hour, facts = done | {"cpu_seconds": 3600.0}, {"pretrained_by": "base"}
    records["built"] = {
        **{"first": hour | {"facts": facts}, "second": hour | {"facts": facts}},
        **{"base": hour | {"commit": "fedcba9876"}, "other": hour},
    }
    for name, each in records.items():
        own = path.with_name(f"{name}.json")
        own.write_text(json.dumps(each), encoding="utf-8")
    return written(tree.path)


def test_it_says_how_rows_were_run(told: str) -> None:
    said = section(told, "rows-scan-zero_shot")
    place = "cpu; machine a processor, a machine, a GPU, 2 cores"
    for words in ("0123456*", "2.00", "2026-03-04", place, "LSTM", "0-2"):
        assert words in said


def test_time_includes_what_runs_build_on_and_counts_it_once(told: str) -> None:
    said = section(told, "rows-scan-built")
    assert "3.00 CPU hours in all, each run counted once" in said
    # Of equizero two runs, and what both build on.
    assert re.search(r"equizero\s.*?2.00\s+3.00", said, re.DOTALL) and "fedcba9" in said


@pytest.mark.parametrize("name", LACKING)
def test_what_a_record_does_not_say_is_said_to_be_missing(told: str, name: str) -> None:
    said = section(told, f"rows-scan-{name}")
    assert "not recorded CPU hours in all" in said and said.count("not recorded") >= 5


def test_a_file_of_any_name_is_named_below_what_shows_its_rows(told: str) -> None:
    assert "measured/scan/my runs.csv" in section(told, "table2")
    assert _Page(told).targets <= _Page(told).anchors


def test_it_begins_with_which_method_to_use_and_has_claims_of_our_own(page: Page) -> None:
    places = [
        page.text.index(f'<section id="{name}">') for name in ("comparison", "claims", "scan")
    ]
    assert places == sorted(places)
    assert "not run yet" in section(page.text, "which_method")
    assert "<h3>Our own</h3>" in page.text


def test_what_was_not_run_is_named_with_its_command(page: Page) -> None:
    assert "Not run at this scale" in section(page.text, "cnn")
    assert "No rows at this scale" in section(page.text, "figure5b")
    assert "python run.py experiment=figure5b" in section(page.text, "figure5b")


def test_refused_rows_give_one_line_and_leave_the_old_page(
    claimed: ResultsTree, capsys: Any
) -> None:
    path, old = claimed.measured([claimed.row("nan")], "bad"), claimed.path / "page.html"
    old.write_text("old", encoding="utf-8")
    assert main(["--results", str(claimed.path), "--out", str(old)]) == 2
    assert capsys.readouterr().err == (
        f"report.py: {path}:2: value 'nan' is not finite; NaN and infinity are refused\n"
    )
    assert old.read_text(encoding="utf-8") == "old"


def _linked(folder: Path, without: Path | None = None) -> Path:
    """A results folder with the committed files but one."""
    for path in (ROOT / "results").rglob("*"):
        target = folder / path.relative_to(ROOT / "results")
        if target.parts[len(folder.parts)] in ("paper", "measured") and path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            if path != without:
                target.symlink_to(path)
    return folder


class Built(NamedTuple):
    """Artefacts by name, what each shows and its commands; and the rows that they are made of."""

    rows: Results
    shown: Mapping[str, tuple[Any, ...]]
    commands: Mapping[str, tuple[str, ...]]


Build = Callable[[str, Path | None], Built]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build every artefact of a task from all committed rows, but those of one file; each once."""
    folder = _linked(tmp_path_factory.mktemp("results"))

    @cache
    def rows(task: str) -> Results:
        return load_results(folder, (task,), ("paper",))

    @cache
    def built(task: str, without: Path | None) -> Built:
        found = rows(task)
        if without is not None and without.stem.endswith(SUFFIX):
            less = _linked(tmp_path_factory.mktemp("less"), without)
            found = load_results(less, (task,), ("paper",))
        elif without is not None:
            name = str(folder / without.relative_to(ROOT / "results"))
            files = found.ours["where"].str.rpartition(":")[0]
            found = replace(found, ours=found.ours[files != name])
        return _of(task, found)

    return built


def _of(task: str, rows: Results) -> Built:
    shown, commands = {}, {}
    for name, entry in ARTEFACTS.items():
        if entry.task == task:
            made = entry.build(rows, Options())
            table = made.digest if isinstance(made, Figure) else made
            assert isinstance(table, Table)
            shown[name] = (made.rows if isinstance(made, Figure) else (), table)
            commands[name] = table.commands
    return Built(rows, shown, commands)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_without_any_one_file_all_is_built_and_a_gap_is_named(
    path: Path, tmp_path: Path, build: Build
) -> None:
    task, sentences = path.parent.name, path.stem.endswith(SUFFIX)
    folder = _linked(tmp_path / "less", path)
    gone = f"{folder / path.relative_to(ROOT / 'results')} is missing: its rows are not counted"
    found = load_results(folder, (task,), ("paper",)).gaps
    assert [gap.partition(";")[0] for gap in found] == ([] if sentences else [gone])
    whole, less = build(task, None), build(task, path)
    assert len(whole.shown) > 2
    for name, commands in less.commands.items():
        lost = whole.shown[name] != less.shown[name]
        # A table that rests on this file alone names the commands that make its rows.
        if lost and (sentences or (path.stem,) == ARTEFACTS[name].sources):
            assert commands and all("python run.py" in line for line in commands)


def test_without_the_paper_s_numbers_all_is_built_and_it_says_so(
    claimed: ResultsTree, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each is drawn, once, but no file is made of it: that does not depend on rows.
    monkeypatch.setattr(
        Figure, "pictures", lambda figure, *_: {"svg": repr(figure.draw()).encode()}
    )

    def words(folder: Path) -> str:
        return f"{folder / 'paper' / 'reported.csv'} is missing: none of the paper's numbers is"

    missing = ROOT / "results" / "paper" / "reported.csv"
    results = _linked(tmp_path / "linked", missing)
    for program in (paper_figures, claims):
        assert program.main(["--results", str(results)]) == 0
        assert words(results) in capsys.readouterr().out
    monkeypatch.undo()
    (claimed.path / "paper" / "reported.csv").unlink()
    assert escape(words(claimed.path)) in written(claimed.path)


@pytest.mark.parametrize("task", sorted({path.parent.name for path in MEASURED}))
def test_the_files_that_an_artefact_names_are_those_whose_rows_it_shows(
    task: str, build: Build
) -> None:
    files = [path for path in MEASURED if path.parent.name == task]
    rows = build(task, None).rows
    blank = _of(task, replace(rows, ours=rows.ours.head(0))).shown
    for name, whole in build(task, None).shown.items():
        shown = {path.stem for path in files if build(task, path).shown[name] != whole}
        # What no file has yet cannot be shown.
        there = {path.stem for path in files}.intersection(ARTEFACTS[name].sources)
        assert shown in (there, set()), name
        assert shown or whole == blank[name], name


@pytest.mark.parametrize("task", sorted({path.parent.name for path in MEASURED}))
def test_names_below_an_axis_are_apart_in_every_committed_figure(task: str, build: Build) -> None:
    rows = build(task, None).rows
    for name, entry in ARTEFACTS.items():
        made = entry.build(rows, Options()) if entry.task == task else None
        for axes in drawn(made).axes if isinstance(made, Figure) and made.rows else ():
            level = [text for text in axes.get_xticklabels() if text.get_rotation() == 0]
            boxes = [text.get_window_extent() for text in level if text.get_text()]
            for left, right in itertools.pairwise(boxes):
                assert left.x1 < right.x0, name


def test_every_file_is_shown_by_some_artefact() -> None:
    shown = {(entry.task, name) for entry in ARTEFACTS.values() for name in entry.sources}
    assert {(path.parent.name, path.stem) for path in MEASURED} <= shown


@pytest.mark.slow
def test_the_committed_rows_make_a_page_that_every_screen_shows(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser: neither chromium nor google-chrome is installed")
    results = _linked(tmp_path / "results")
    page = written(results)
    assert len(page.encode()) < 1.5e6
    assert page.count("<li><span") >= 4 and page.index('id="found"') < page.index('id="choice"')
    assert page.index('id="choice"') < page.index("<figure>") < page.index('id="claims"')
    # On paper: no list of links, and nothing hidden.
    paper = page.replace("@media print", "@media all")
    (results / "paper.html").write_text(paper, encoding="utf-8")
    screens = (("paper", 700, False), ("page", 1200, False), ("page", 1200, True))
    printed, folded, *light = _seen(browser, tmp_path, (*screens, ("page", 390, True)))
    assert printed["wide"] == [] and printed["nav"] == "none"
    assert printed["folded"] == 0 and folded["folded"] > 0
    dark = _seen(browser, tmp_path, [("page", 390, True)], _DARK)
    for width, seen, is_dark in zip((1200, 390, 390), (*light, *dark), (0, 0, 1), strict=True):
        assert seen["width"] <= width and seen["wide"] == []
        assert len(seen["images"]) >= 8 and min(seen["images"]) > 100
        assert seen["sections"] == 10 and seen["nav"] == "block"
        ends = _brightness(seen["ground"]), _brightness(seen["ink"])
        assert (min(ends) < 60 and max(ends) > 200) and (ends[0] < ends[1]) == is_dark


_DARK = "--blink-settings=preferredColorScheme=0"


def _seen(
    browser: str, folder: Path, screens: Sequence[tuple[str, int, bool]], *options: str
) -> Sequence[Mapping[str, Any]]:
    """What a browser shows of pages on screens of a width, with all details opened or not.

    `wide` are the ids around what has hidden columns.
    """
    frame = folder / "frame.html"
    frames = "".join(
        f'<iframe width="{width}" height="800" src="results/{name}.html"'
        f' data-opened="{str(opened).lower()}"></iframe>'
        for name, width, opened in screens
    )
    frame.write_text(
        f"{frames}<script>window.onload = () => {{"
        "const facts = [...document.querySelectorAll('iframe')].map(screen => {"
        "const page = screen.contentDocument, opened = screen.dataset.opened == 'true';"
        "page.querySelectorAll('details').forEach(part => { part.open = opened; });"
        "const style = screen.contentWindow.getComputedStyle(page.body);"
        "return {width: page.documentElement.scrollWidth,"
        "images: [...page.images].map(i => i.naturalWidth),"
        "sections: page.querySelectorAll('section').length,"
        "folded: [...page.querySelectorAll('details > :not(summary)')]"
        ".filter(part => !part.checkVisibility()).length,"
        "nav: getComputedStyle(page.querySelector('nav')).display,"
        "wide: [...page.querySelectorAll('.scroll,figure,pre')]"
        ".filter(part => part.scrollWidth > part.clientWidth)"
        ".map(part => part.closest('[id]').id),"
        "ground: style.backgroundColor, ink: style.color}; });"
        "document.body.innerHTML = `<pre>${JSON.stringify(facts)}</pre>`; }</script>",
        encoding="utf-8",
    )
    return _facts(browser, frame, folder, "--window-size=1600,1200", *options)


def _facts(browser: str, page: Path, home: Path, *options: str) -> Sequence[Mapping[str, Any]]:
    ran = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
            *("--allow-file-access-from-files", f"--user-data-dir={home / 'browser'}"),
            *("--virtual-time-budget=10000", *options, "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r"<pre>(\[.*\])</pre>", ran.stdout)
    assert found, ran.stdout[-300:]
    facts: list[dict[str, Any]] = json.loads(found[1])
    return facts


def _brightness(colour: str) -> float:
    numbers = [float(number) for number in re.findall(r"[0-9.]+", colour)[:3]]
    return sum(numbers) / 3
