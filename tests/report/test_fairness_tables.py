"""The fairness task: differences, judges and lambda from synthetic rows."""

from __future__ import annotations

from typing import Any

from report.artefacts.fairness.places import REFERENCE_COMMAND
from tests.report.conftest import build_table, lines_of
from tests.report.fairness_rows import NAMES, all_ways, evaluated

DASH = "\N{EN DASH}"
COMMAND = "python run.py experiment="
SMOLLM = "scale=paper model=smollm2 task.regard_data=FOLDER"
PAIR = "man - woman"
GAPS = "scale=paper, protocol=paper, dataset=respect, model=smollm2, group=man_woman"
LOSS = "negative_log_likelihood"


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
    judges = ("minilm (optimised)", "words (not optimised)")
    assert list(lines) == [(judge, name, PAIR) for judge in judges for name in NAMES]
    assert lines[judges[1], "Equi", PAIR] == (
        *(f"+25.0 ({DASH}) [+19.0, +31.0]", f"+5.0 ({DASH}) [-1.0, +11.0]"),
        *(f"+20.0 ({DASH}) [+12.0, +28.0]", f"10.0 ({DASH})", *[DASH] * 4, "1"),
    )
    assert lines[judges[0], "Equi", PAIR] == (
        *(f"+15.0 ({DASH}) [+9.0, +21.0]", f"-5.0 ({DASH}) [-11.0, +1.0]"),
        *(f"+20.0 ({DASH}) [+12.0, +28.0]", f"10.0 ({DASH})"),
        *(f"40.0 ({DASH}) [35.0, 45.0]", "0.0013", *[f"99.0 ({DASH})"] * 2, "1"),
    )


def test_missing_differences_have_commands_of_each_data_set(tree: Any) -> None:
    tree.run("a", all_ways(tree)[:-1], task="fairness")
    tree.run("b", evaluated(tree), task="fairness")
    table = build_table(tree, "fairness_gaps")
    lines = lines_of(table, GAPS, 3)
    assert lines["minilm (optimised)", "lambda-Equi", PAIR][:2] != ("missing", "missing")
    absent = lines_of(table, GAPS.replace("man_woman", "straight_gay"), 3)
    assert list(absent) == [("minilm (optimised)", name, "each") for name in NAMES]
    assert {cell for line in absent.values() for cell in line} == {"missing", "0"}
    assert table.commands == (
        f"{COMMAND}figure3 scale=paper",
        f"{COMMAND}figure3 {SMOLLM} group=black_white,straight_gay",
        f"{COMMAND}figure9 scale=paper",
        f"{COMMAND}figure9 {SMOLLM}",
        REFERENCE_COMMAND,
    )


def test_a_way_without_rows_is_missing_by_the_first_judge(tree: Any) -> None:
    tree.run("a", evaluated(tree), task="fairness")
    lines = lines_of(build_table(tree, "fairness_gaps"), GAPS, 3)
    assert lines["minilm (optimised)", "R-Equizero", PAIR] == (*["missing"] * 8, "0")
    assert ("words (not optimised)", "R-Equizero", PAIR) not in lines
    assert ("words (not optimised)", "pretrained", PAIR) in lines


def test_real_text_has_neither_mirror_nor_error(tree: Any) -> None:
    rows = evaluated(tree, model="gpt2_sentences")
    unlike = [
        row
        for row in rows
        if not row["metric"].startswith(("regard_gap", "mirrored", "equivariance"))
    ]
    tree.run("a", unlike, task="fairness")
    table = build_table(tree, "fairness_gaps")
    lines = lines_of(table, GAPS.replace("smollm2", "gpt2_sentences"), 3)
    assert list(lines) == [("minilm", "pretrained", PAIR), ("words", "pretrained", PAIR)]
    cells = lines["minilm", "pretrained", PAIR]
    assert cells[2:6] == (DASH, f"10.0 ({DASH})", DASH, DASH)
    assert REFERENCE_COMMAND not in table.commands


def test_three_demographic_groups_are_compared_two_by_two(tree: Any) -> None:
    tree.run("a", evaluated(tree, group="black_white_asian", judges=("minilm",)), task="fairness")
    title = GAPS.replace("man_woman", "black_white_asian")
    lines = lines_of(build_table(tree, "fairness_gaps"), title, 3)
    own = [key[2] for key in lines if key[1] == "pretrained"]
    assert own == [
        *("Black man - White man", "Black man - Asian man", "White man - Asian man"),
    ]


def test_departures_do_not_count(tree: Any) -> None:
    rows = all_ways(tree, variant="mask=False") + learned(tree, variant="mask=False")
    tree.run("a", rows, task="fairness")
    for name in ("fairness_gaps", "fairness_lambda"):
        table = build_table(tree, name)
        assert {block.labels.get("model", "gpt2") for block in table.blocks} == {"gpt2"}
        cells = {cell for block in table.blocks for line in block.rows for cell in line[3:]}
        assert cells == {"missing", "0"}


def test_judges_are_compared_once_however_many_runs_ask_them(tree: Any) -> None:
    tree.run("a", all_ways(tree), task="fairness")
    tree.run("b", evaluated(tree, group="straight_gay", dataset="occupation"), task="fairness")
    table = build_table(tree, "fairness_scorers")
    assert table.headers == (
        *("judge", "optimised by", "accuracy: dev", "accuracy: test", "accuracy: dev+test"),
        *(f"label flips: {PAIR}", "label flips: straight man - gay man"),
    )
    lines = lines_of(table, "scale=paper", 1)
    assert lines["minilm",] == (
        *("smollm2", "80.0 [76.0, 84.0]", "90.0 [86.0, 94.0]", "84.0 [80.0, 88.0]"),
        *("6.0 [5.0, 7.0]", "6.0 [5.0, 7.0]"),
    )
    assert lines["words",][:2] == ("PlantedGPT2", "60.0 [56.0, 64.0]")
    assert lines["regardv3",] == ("gpt2, causal_lm", *["missing"] * 5)
    assert table.commands == (
        f"{COMMAND}figure3 scale=paper task.regard_data=FOLDER arm=fairness/plain",
    )
    tree.run("c", evaluated(tree, model="gpt2", judges=("regardv3",)), task="fairness")
    flips = ("6.0 [5.0, 7.0]", "missing")
    assert lines_of(build_table(tree, "fairness_scorers"), "scale=paper", 1)["regardv3",][4:] == (
        flips
    )


def test_judges_that_differ_between_runs_stand_side_by_side(tree: Any) -> None:
    tree.run("a", evaluated(tree, judges=("minilm",)), task="fairness")
    other = evaluated(tree, judges=("minilm",), group="straight_gay")
    for row in other:
        if row["view"] == "dev" and row["metric"] == "scorer_accuracy":
            row["value"] = "81.0"
    tree.run("b", other, task="fairness")
    lines = lines_of(build_table(tree, "fairness_scorers"), "scale=paper", 1)
    assert lines["minilm",][1] == "80.0 [76.0, 84.0]; 81.0 [76.0, 84.0]"


def test_without_rows_the_papers_judge_is_missing(tree: Any) -> None:
    table = build_table(tree, "fairness_scorers", scales=("paper", "demo"))
    lines = lines_of(table, "scale=paper", 1)
    assert lines == {("regardv3",): ("gpt2, causal_lm", *["missing"] * 4)}
    assert [block.title for block in table.blocks] == ["scale=paper"]


def test_lambda_is_compared_with_equal_weights(tree: Any) -> None:
    rows = [*learned(tree), *learned(tree, group="black_white", seeds=2)]
    tree.run("a", rows, task="fairness")
    table = build_table(tree, "fairness_lambda")
    lines = lines_of(table, "scale=paper, protocol=paper, dataset=respect", 2)
    assert lines["smollm2", "man_woman"] == (
        *(f"2.5000 ({DASH})", f"2.3750 ({DASH})", f"+0.1250 ({DASH}) [+0.1000, +0.1500]", "1"),
    )
    assert lines["smollm2", "black_white"][-2:] == ("+0.1250 (0.0000) [+0.1000, +0.1500]", "2")
    assert lines["smollm2", "straight_gay"] == ("missing", "missing", "missing", "0")
    arm = "arm=fairness/lambda"
    assert table.commands == (
        f"{COMMAND}figure3 scale=paper {arm}",
        f"{COMMAND}figure3 {SMOLLM} group=straight_gay {arm}",
        f"{COMMAND}figure9 scale=paper {arm}",
        f"{COMMAND}figure9 {SMOLLM} {arm}",
    )
    assert "the paper has none" in " ".join(table.notes)
