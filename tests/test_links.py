"""Links between the project's own pages, and into its files, lead somewhere; no network is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "results").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
        *(ROOT / "equitune").glob("*.md"),
    ]
)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(
    r"`((?:docs|conf|tests|scripts|experiments|equitune|report|benchmarks|results/(?:paper|measured))"
    r"/[\w./-]*\w/?)`"
)
_DOTTED = re.compile(r"python -m (benchmarks\.\w+)")
_SCRIPT = re.compile(r"python (\w+(?:/\w+)*\.py)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made from their words."""
    text = _CODE.sub(lambda found: found[0].strip("`") if "\n" not in found[0] else "", _read(page))
    heads = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def _read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    for target in _LINK.findall(_CODE.sub("", _read(page))):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_command_that_a_page_names_is_there(page: Path) -> None:
    text = _read(page)
    named = [*_PATH.findall(text), *_SCRIPT.findall(text)]
    named += [name.replace(".", "/") + ".py" for name in _DOTTED.findall(text)]
    for name in named:
        # Capitals stand for what the reader puts in.
        if not re.search(r"[A-Z]{3}", name.removesuffix(".md")):
            assert (ROOT / name).exists(), name


def test_a_page_of_the_documentation_is_in_its_contents() -> None:
    listed = re.search(r"```\{toctree\}\n.*?\n\n(.*?)```", _read(ROOT / "docs/index.md"), re.DOTALL)
    assert listed
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert set(listed[1].split()) == pages


def test_the_search_itself_finds_links_and_paths() -> None:
    links = [link for page in PAGES for link in _LINK.findall(_read(page))]
    paths = [path for page in PAGES for path in _PATH.findall(_read(page))]
    assert len(links) > 50 and len(paths) > 30
