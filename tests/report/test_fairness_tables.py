"""The fairness task: differences, judges, lambda, and sentences (Tables 3 to 7)."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from experiments.frame.files import sha256
from experiments.frame.methods import METHODS, LambdaEquitune
from experiments.frame.record_files import seal
from report.artefacts.fairness.common import REFERENCE_COMMAND
from report.artefacts.fairness.tables import SAMPLES, printable
from report.faces import escape_markdown
from report.sentences import read_sentences
from report.tables import Table, to_csv, to_latex, to_markdown
from scripts.keep_results import keep
from tests.report.conftest import build_table, lines_of
from tests.report.fairness_rows import PERSONS, WAYS, all_ways, evaluated

DASH = "\N{EN DASH}"
COMMAND = "python run.py experiment="
SMOLLM = "scale=paper model=smollm2 task.regard_data=FOLDER"
PAIR = "man - woman"
GAPS = "scale=paper, protocol=paper, dataset=respect, model=smollm2, group=man_woman"
FIRST, SECOND = "minilm (optimised)", "words (not optimised)"
LOSS = "negative_log_likelihood"
ABSENT = [("each", "missing", "missing")]
GAY = PERSONS["straight_gay"]
CONTEXTS = ("was known for", "was described as")


def learned(tree: Any, group: str = "man_woman", seeds: int = 1, **changes: Any) -> list[Any]:
    """Rows of lambda, of which the gain alone has an interval."""
    columns = {
        **{"task": "fairness", "dataset": "respect", "model": "smollm2", "group": group},
        **{"method": "lambda_equitune", "split": "validation"},
    } | changes
    numbers = {"uniform": 2.5, "learned": 2.375, "gain": 0.125, "gain_low": 0.1, "gain_high": 0.15}
    return [
        row
        for name, value in numbers.items()
        for row in tree.rows([value] * seeds, metric=f"{LOSS}_{name}", **columns)
    ]


def test_every_judge_has_its_differences_and_the_first_the_rest(tree: Any) -> None:
    tree.measured(all_ways(tree, judges=("words", "minilm")), task="fairness")
    lines = lines_of(build_table(tree, "fairness_gaps"), GAPS, 3)
    assert list(lines) == [(judge, name, PAIR) for judge in (FIRST, SECOND) for name in WAYS]
    assert lines[SECOND, "Equi", PAIR] == (
        *(f"+25.0 ({DASH}) [+19.0, +31.0]", f"+5.0 ({DASH}) [-1.0, +11.0]"),
        *(f"+20.0 ({DASH}) [+12.0, +28.0]", f"10.0 ({DASH})", *[DASH] * 4, "1"),
    )
    assert lines[FIRST, "Equi", PAIR] == (
        *(f"+15.0 ({DASH}) [+9.0, +21.0]", f"-5.0 ({DASH}) [-11.0, +1.0]"),
        *(f"+20.0 ({DASH}) [+12.0, +28.0]", f"10.0 ({DASH})"),
        *(f"40.0 ({DASH}) [35.0, 45.0]", "0.0013", *[f"99.0 ({DASH})"] * 2, "1"),
    )


def test_regard_is_the_optimised_judge_s_and_what_is_missing_has_commands(tree: Any) -> None:
    tree.measured(all_ways(tree, judges=("words", "minilm"), seeds=2), task="fairness")
    table = build_table(tree, "fairness_regard")
    lines = lines_of(table, "scale=paper, protocol=paper, model=smollm2", 1)
    assert list(lines) == [(name,) for name in WAYS]
    # 15 and -5 points, and 2 more for the second seed.
    assert lines["Equi",] == ("16 / -4", *["missing"] * 5)
    assert f"{COMMAND}figure9 {SMOLLM}" in table.commands


def test_missing_differences_are_so_by_the_first_judge_with_commands(tree: Any) -> None:
    tree.run("a", evaluated(tree), task="fairness")
    table = build_table(tree, "fairness_gaps")
    lines = lines_of(table, GAPS, 3)
    assert lines[FIRST, "R-Equizero", PAIR] == (*["missing"] * 8, "0")
    assert (SECOND, "pretrained", PAIR) in lines and (SECOND, "R-Equizero", PAIR) not in lines
    absent = lines_of(table, GAPS.replace("man_woman", "straight_gay"), 3)
    assert list(absent) == [(FIRST, name, "each") for name in WAYS]
    assert {cell for line in absent.values() for cell in line} == {"missing", "0"}
    # One cell without a number is enough to be asked for.
    tree.run("a", all_ways(tree)[:-1], task="fairness")
    assert build_table(tree, "fairness_gaps").commands == (
        f"{COMMAND}figure3 scale=paper",
        f"{COMMAND}figure3 {SMOLLM} group=man_woman arm=fairness/lambda",
        f"{COMMAND}figure3 {SMOLLM} group=black_white,straight_gay",
        *(f"{COMMAND}figure9 scale=paper", f"{COMMAND}figure9 {SMOLLM}", REFERENCE_COMMAND),
    )


def test_real_text_has_neither_mirror_nor_error_and_three_groups_are_three_pairs(tree: Any) -> None:
    own = ("regard_gap", "mirrored", "equivariance")
    rows = evaluated(tree, model="gpt2_sentences")
    tree.run("a", [row for row in rows if not row["metric"].startswith(own)], task="fairness")
    table = build_table(tree, "fairness_gaps")
    lines = lines_of(table, GAPS.replace("smollm2", "gpt2_sentences"), 3)
    assert list(lines) == [("minilm", "pretrained", PAIR), ("words", "pretrained", PAIR)]
    assert lines["minilm", "pretrained", PAIR][2:6] == (DASH, f"10.0 ({DASH})", DASH, DASH)
    assert REFERENCE_COMMAND not in table.commands
    tree.run("b", evaluated(tree, group="black_white_asian", judges=("minilm",)), task="fairness")
    title = GAPS.replace("man_woman", "black_white_asian")
    lines = lines_of(build_table(tree, "fairness_gaps"), title, 3)
    own = ["Black man - White man", "Black man - Asian man", "White man - Asian man"]
    assert [about for _, name, about in lines if name == "pretrained"] == own


def test_judges_are_compared_once_however_many_runs_ask_them(tree: Any) -> None:
    table = build_table(tree, "fairness_scorers", scales=("paper", "demo"))
    assert [block.title for block in table.blocks] == ["scale=paper"]
    assert table.blocks[0].rows == (("regardv3", "gpt2, causal_lm", *["missing"] * 4),)
    other = evaluated(tree, group="straight_gay", dataset="occupation", judges=("minilm",))
    [wrong] = [row for row in other if (row["metric"], row["view"]) == ("scorer_accuracy", "dev")]
    wrong["value"] = "81.0"
    tree.run("a", all_ways(tree), task="fairness")
    tree.run("b", other, task="fairness")
    table = build_table(tree, "fairness_scorers")
    assert table.headers == (
        *("judge", "optimised by", "accuracy: dev", "accuracy: test", "accuracy: dev+test"),
        *(f"label flips: {PAIR}", "label flips: straight man - gay man"),
    )
    lines = lines_of(table, "scale=paper", 1)
    # What differs between runs stands side by side.
    assert lines["minilm",] == (
        *("smollm2", "80.0 [76.0, 84.0]; 81.0 [76.0, 84.0]", "90.0 [86.0, 94.0]"),
        *("84.0 [80.0, 88.0]", "6.0 [5.0, 7.0]", "6.0 [5.0, 7.0]"),
    )
    assert lines["words",][:2] == ("PlantedGPT2", "60.0 [56.0, 64.0]")
    assert lines["regardv3",] == ("gpt2, causal_lm", *["missing"] * 5)
    assert table.commands == (
        f"{COMMAND}figure3 scale=paper task.regard_data=FOLDER arm=fairness/plain",
    )


def test_lambda_is_compared_with_equal_weights(tree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*learned(tree), *learned(tree, group="black_white", seeds=2)]
    tree.run("a", rows, task="fairness")
    table, title = (
        build_table(tree, "fairness_lambda"),
        "scale=paper, protocol=paper, dataset=respect",
    )
    lines = lines_of(table, title, 2)
    assert lines["smollm2", "man_woman"] == (
        *(f"2.5000 ({DASH})", f"2.3750 ({DASH})", f"+0.1250 ({DASH}) [+0.1000, +0.1500]", "1"),
    )
    assert lines["smollm2", "black_white"][-2:] == ("+0.1250 (0.0000) [+0.1000, +0.1500]", "2")
    assert lines["smollm2", "straight_gay"] == ("missing", "missing", "missing", "0")
    arm = "arm=fairness/lambda"
    assert table.commands == (
        f"{COMMAND}figure3 scale=paper {arm}",
        f"{COMMAND}figure3 {SMOLLM} group=straight_gay {arm}",
        *(f"{COMMAND}figure9 scale=paper {arm}", f"{COMMAND}figure9 {SMOLLM} {arm}"),
    )
    further = type("Further", (LambdaEquitune,), {"name": "further", "label": "further method"})
    monkeypatch.setitem(METHODS, "further", further())
    tree.run("b", learned(tree, method="further"), task="fairness")
    found = lines_of(build_table(tree, "fairness_lambda"), title, 3)
    assert {key[:2]: line for key, line in found.items() if key[2] == "lambda-Equi"} == lines
    assert found["smollm2", "man_woman", "further method"] == lines["smollm2", "man_woman"]


def run(tree: Any, name: str, way: str = "pretrained", ending: str = "x", **changes: str) -> None:
    """A run with three sentences of each person and context; judges label them differently."""
    method, variant = WAYS[way]
    chosen = {"variant": variant} | changes
    tree.run(name, evaluated(tree, method, "straight_gay", **chosen), task="fairness")
    tree.labels(name, sentences(ending), task="fairness")


def sentences(ending: str = "x") -> list[Any]:
    return [
        {
            **{"judge": judge, "person": person, "context": context, "number": number},
            **{"label": label, "text": f"The {person} {context} {number} {ending}"},
        }
        for judge, label in (("minilm", "positive"), ("words", "negative"))
        for person in GAY
        for context in CONTEXTS
        for number in (2, 0, 1)
    ]


def shown(table: Table, model: str = "smollm2") -> list[tuple[str, ...]]:
    """The lines of a model's block."""
    [found] = [block for block in table.blocks if block.labels["model"] == model]
    return [*found.rows]


def test_each_table_shows_its_own_way(tree: Any) -> None:
    ways = ("Equizero", "R-Equizero", "pretrained", "Equi", "R-Equi")
    for name, way in zip(SAMPLES, ways, strict=True):
        run(tree, name, way, name)
    run(tree, "departure", "Equizero", "wrong", variant="mask=False")
    run(tree, "control", "best of 2", "wrong")
    for name in SAMPLES:
        table = build_table(tree, name)
        assert shown(table) == [
            (person, "positive", f"The {person} {context} 0 {name}")
            for context in CONTEXTS
            for person in GAY
        ]
        assert table.blocks[-1].labels["judge"] == "minilm" and shown(table, "gpt2") == ABSENT
    assert "in the paper R-EquiGPT2" in table.title and "(gpt2, smollm2)" in " ".join(table.notes)
    assert table.commands == (
        f"{COMMAND}figure3 scale=paper group=straight_gay arm=fairness/r_equi",
    )


def test_committed_sentences_are_found_without_the_runs(tree: Any) -> None:
    run(tree, "evaluate-a")
    run(tree, "evaluate-b", "Equi", "mirrored")

    def tables() -> list[Any]:
        return [build_table(tree, name).blocks for name in ("table5", "table6")]

    before = tables()
    path, _ = keep(tree.path, "fairness", "figure3", [])
    committed, aside = path.with_name("figure3_sentences.csv"), tree.path / "aside.csv"
    kept = committed.read_text("utf-8").splitlines()
    first = "evaluate-a,minilm,straight man,was known for,0,positive,"
    assert kept[1] == f"{first}The straight man was known for 0 x"
    # Of one judge, two numbers of two persons and two contexts.
    assert len(kept) == 1 + 2 * 2 * 2 * 2
    # Rows that are committed too: the folder is still there.
    assert tables() == before
    committed.rename(aside)
    assert tables() == before
    shutil.rmtree(tree.path / "runs")
    assert shown(build_table(tree, "table5")) == ABSENT
    aside.rename(committed)
    assert tables() == before


def test_the_first_seed_is_shown_if_it_has_texts(tree: Any) -> None:
    tree.run("b", evaluated(tree, group="straight_gay"), task="fairness")
    assert shown(build_table(tree, "table5")) == ABSENT
    bare = [{k: v for k, v in line.items() if k != "text"} for line in sentences()]
    tree.labels("b", bare, task="fairness")
    assert shown(build_table(tree, "table5")) == ABSENT
    run(tree, "b", ending="first")
    second = [{**row, "seed": "10"} for row in evaluated(tree, group="straight_gay")]
    tree.run("a", second, task="fairness")
    tree.labels("a", sentences("second"), task="fairness")
    assert shown(build_table(tree, "table5"))[0][2].endswith("first")


def test_strange_characters_do_not_break_a_table(tree: Any) -> None:
    assert printable(" caf\xe9 \u4e2d\xa0 \x00") == "caf\xe9 \u4e2d \\x00"
    for text in ("man_woman", "[1.0, 2.0]", "R&D", "scale=paper"):
        assert escape_markdown(text) == text
    run(tree, "a", ending='a|b "c"\n\td  _e_ [f](g) ~h~ 50% {i} \u201cj\u201d \u2028k\x1b &amp;')
    table = build_table(tree, "table5")
    assert shown(table)[0][2] == (
        'The straight man was known for 0 a|b "c" d _e_ [f](g) ~h~ 50% {i} \u201cj\u201d '
        "k\\x1b &amp;"
    )
    [line] = [line for line in to_markdown(table).splitlines() if "known for 0" in line][:1]
    assert r'a\|b "c" d \_e\_ \[f](g) \~h\~' in line and r"\&amp;" in line
    latex = to_latex(table)
    assert r"\begin{tabular}{llp{0.68\linewidth}}" in latex
    assert r"a\textbar{}b" in latex and r"50\% \{i\}" in latex
    assert len(to_csv(table).splitlines()) == 1 + 1 + 4


def test_broken_and_changed_tables_of_sentences_are_refused(tree: Any) -> None:
    run(tree, "a")
    path = tree.labels("a", [{"judge": "minilm", "person": "gay man"}], task="fairness")
    with pytest.raises(ValueError, match=f"{path}:1: missing column context, number, label"):
        build_table(tree, "table5")
    tree.labels("a", sentences("first"), task="fairness")
    record = json.loads(path.with_name("record.json").read_text())
    sealed = seal(record | {"artefacts": {path.name: sha256(path)}})
    path.with_name("record.json").write_text(json.dumps(sealed))
    assert len(read_sentences(path)) == len(sentences()) / 2  # of one judge
    path.write_text(path.read_text().replace("first", "fifth", 1))
    with pytest.raises(ValueError, match="does not match its run's record"):
        read_sentences(path)
