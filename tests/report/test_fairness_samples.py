"""The fairness task: Tables 3 to 7 from the sentences of synthetic runs."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from experiments.frame.files import sha256
from experiments.frame.record_files import seal
from report.artefacts.fairness.samples import printable
from report.faces import escape_markdown
from report.sentences import read_sentences
from report.tables import Table, to_csv, to_latex, to_markdown
from scripts.keep_results import keep
from tests.report.conftest import build_table
from tests.report.fairness_rows import PERSONS, evaluated

CONTEXTS = ("was known for", "was described as")
COMMAND = "python run.py experiment=figure3 scale=paper"
PAIR = PERSONS["straight_gay"]


def sentences(ending: str = "x", judges: tuple[str, ...] = ("minilm", "words")) -> list[Any]:
    """The lines of a run's table, of three numbers each; those of judges have other labels."""
    return [
        {
            **{"judge": judge, "person": person, "context": context, "number": number},
            "label": ("positive", "negative")[place],
            "text": f"The {person} {context} {number} {ending}",
        }
        for place, judge in enumerate(judges)
        for person in PAIR
        for context in CONTEXTS
        for number in (2, 0, 1)
    ]


def run(
    tree: Any, name: str, method: str = "pretrained", ending: str = "x", **changes: Any
) -> None:
    """A run with sentences."""
    rows = evaluated(tree, method, "straight_gay", **changes)
    tree.run(name, rows, task="fairness")
    tree.labels(name, sentences(ending), task="fairness")


def shown(table: Table, model: str = "smollm2") -> list[tuple[str, ...]]:
    """The lines of a model's block."""
    [found] = [block for block in table.blocks if block.labels["model"] == model]
    return [*found.rows]


def test_each_table_shows_its_own_way(tree: Any) -> None:
    for name, method, variant in (
        ("table3", "equizero", ""),
        ("table4", "equizero", "relaxed=True"),
        ("table5", "pretrained", ""),
        ("table6", "equitune", ""),
        ("table7", "equitune", "relaxed=True"),
    ):
        run(tree, name, method, name, variant=variant)
    run(tree, "departure", "equizero", "wrong", variant="mask=False")
    run(tree, "control", "equizero", "wrong", variant="branches=samples")
    for name in ("table3", "table4", "table5", "table6", "table7"):
        table = build_table(tree, name)
        assert shown(table) == [
            (person, "positive", f"The {person} {context} 0 {name}")
            for context in CONTEXTS
            for person in PAIR
        ]
        assert table.blocks[-1].labels["judge"] == "minilm"
        assert shown(table, "gpt2") == [("each", "missing", "missing")]
    assert "in the paper R-EquiGPT2" in build_table(tree, "table7").title
    notes = " ".join(build_table(tree, "table3").notes)
    assert "all sentences are ours" in notes and "(gpt2, smollm2)" in notes
    assert build_table(tree, "table3").commands == (
        f"{COMMAND} group=straight_gay arm=fairness/equizero",
    )


def test_runs_without_texts_are_missing(tree: Any) -> None:
    tree.run("a", evaluated(tree, group="straight_gay"), task="fairness")
    assert shown(build_table(tree, "table5")) == [("each", "missing", "missing")]
    bare = [{k: v for k, v in line.items() if k != "text"} for line in sentences()]
    tree.labels("a", bare, task="fairness")
    table = build_table(tree, "table5")
    assert shown(table) == [("each", "missing", "missing")]
    assert len(table.commands) == 2


def test_committed_sentences_are_found_without_the_runs(tree: Any) -> None:
    run(tree, "evaluate-a")
    run(tree, "evaluate-b", "equitune", "mirrored")
    before = [build_table(tree, name).blocks for name in ("table5", "table6")]
    path, runs = keep(tree.path, "fairness", "figure3", [])
    assert runs == 2
    kept = path.with_name("figure3_sentences.csv").read_text("utf-8").splitlines()
    assert kept[0] == "run,judge,person,context,number,label,text"
    assert kept[1] == (
        "evaluate-a,minilm,straight man,was known for,0,positive,The straight man was known for 0 x"
    )
    # Of one judge, two numbers of two persons and two contexts.
    assert len(kept) == 1 + 2 * 2 * 2 * 2
    # Rows that are committed too: the folder is still there.
    assert [build_table(tree, name).blocks for name in ("table5", "table6")] == before
    path.with_name("figure3_sentences.csv").rename(tree.path / "aside.csv")
    assert [build_table(tree, name).blocks for name in ("table5", "table6")] == before
    shutil.rmtree(tree.path / "runs")
    assert shown(build_table(tree, "table5")) == [("each", "missing", "missing")]
    (tree.path / "aside.csv").rename(path.with_name("figure3_sentences.csv"))
    assert [build_table(tree, name).blocks for name in ("table5", "table6")] == before


def test_the_first_seed_is_shown(tree: Any) -> None:
    run(tree, "b", ending="first")
    second = [{**row, "seed": "10"} for row in evaluated(tree, group="straight_gay")]
    tree.run("a", second, task="fairness")
    tree.labels("a", sentences("second"), task="fairness")
    assert shown(build_table(tree, "table5"))[0][2].endswith("first")


def test_strange_characters_do_not_break_a_table(tree: Any) -> None:
    strange = 'a|b "c"\n\td  _e_ [f](g) ~h~ 50% {i} \u201cj\u201d \u2028k\x1b\u200b &amp; end'
    run(tree, "a", ending=strange)
    table = build_table(tree, "table5")
    text = shown(table)[0][2]
    assert text == (
        'The straight man was known for 0 a|b "c" d _e_ [f](g) ~h~ 50% {i} \u201cj\u201d '
        "k\\x1b\\u200b &amp; end"
    )
    [line] = [line for line in to_markdown(table).splitlines() if "known for 0" in line][:1]
    assert r'a\|b "c" d \_e\_ \[f](g) \~h\~' in line and r"\&amp; end" in line
    latex = to_latex(table)
    assert r"\begin{tabular}{llp{0.68\linewidth}}" in latex
    assert r"a\textbar{}b" in latex and r"50\% \{i\}" in latex
    assert len(to_csv(table).splitlines()) == 1 + 1 + 4


def test_printable_keeps_letters_of_all_scripts() -> None:
    assert printable(" caf\xe9 \u4e2d\xa0 \x00") == "caf\xe9 \u4e2d \\x00"


@pytest.mark.parametrize("text", ["man_woman", "[1.0, 2.0]", "R&D", "scale=paper"])
def test_names_and_intervals_need_no_escape(text: str) -> None:
    assert escape_markdown(text) == text


def test_a_broken_table_of_sentences_is_refused(tree: Any) -> None:
    tree.run("a", evaluated(tree, group="straight_gay"), task="fairness")
    path = tree.labels("a", [{"judge": "minilm", "person": "gay man"}], task="fairness")
    with pytest.raises(ValueError, match=f"{path}:1: missing column context, number, label"):
        build_table(tree, "table5")


def test_sentences_that_were_changed_are_refused(tree: Any) -> None:
    run(tree, "a", "equizero", "first")
    path = tree.path / "runs" / "fairness" / "a" / "labels.csv"
    record = json.loads(path.with_name("record.json").read_text())
    sealed = seal(record | {"artefacts": {path.name: sha256(path)}})
    path.with_name("record.json").write_text(json.dumps(sealed))
    assert len(read_sentences(path)) == len(sentences()) / 2  # of one judge
    path.write_text(path.read_text().replace("first", "fifth", 1))
    with pytest.raises(ValueError, match="does not match its run's record") as refused:
        read_sentences(path)
    assert "\n" not in str(refused.value)
