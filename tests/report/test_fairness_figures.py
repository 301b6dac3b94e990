"""The fairness task: Figures 3 and 9 from synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from experiments.fairness.regard_data import LABELS as WRITTEN
from experiments.frame.rows import LABELS
from report.artefacts.fairness.common import EXPERIMENTS, MODELS, PAIRS, WAYS
from report.artefacts.fairness.places import REFERENCE_COMMAND
from report.figures import Figure
from tests.report.conftest import build_figure, build_table, drawn, lines_of
from tests.report.fairness_rows import MEN, NAMES, all_ways, evaluated

CONF = Path(__file__).resolve().parents[2] / "conf"
DASH = "\N{EN DASH}"
COMMAND = "python run.py experiment=figure3 scale=paper"
SMOLLM = f"{COMMAND} model=smollm2 task.regard_data=FOLDER"
TITLE = "scale=paper, protocol=paper, dataset=respect, model=smollm2, group=man_woman, judge=minilm"
MAN = (
    *(f"50.0 ({DASH}) [47.0, 53.0]", f"20.0 ({DASH}) [17.0, 23.0]"),
    *(f"5.0 ({DASH}) [2.0, 8.0]", f"25.0 ({DASH}) [22.0, 28.0]"),
    *(f"+25.0 ({DASH}) [+19.0, +31.0]", "250", "1"),
)
MISSING = (*["missing"] * 6, "0")


def build(tree: Any, name: str = "figure3", **options: Any) -> Figure:
    """The artefact as the program builds it."""
    return build_figure(tree, name, **options)


def block(figure: Figure, title: str = TITLE) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The lines of the one block with this title, by their method and demographic group."""
    return lines_of(figure.digest, title, 2)


def reference(tree: Any, **changes: Any) -> list[Any]:
    """Rows of the text that others had GPT-2 small write."""
    source = {"model": "gpt2_sentences"}
    return evaluated(tree, **(source | changes))


def test_every_way_has_a_bar_of_each_demographic_group(tree: Any) -> None:
    tree.measured(all_ways(tree), task="fairness")
    figure = build(tree)
    lines = block(figure)
    assert list(lines) == [(name, person) for name in NAMES for person in MEN]
    assert figure.digest.headers == ("method", "about", *LABELS, "regard", "sentences", "n")
    assert lines["Equi", "man"] == lines["best of 2", "man"] == MAN
    assert lines["Equi", "woman"][0] == f"40.0 ({DASH}) [37.0, 43.0]"
    assert lines["Equi", "woman"][4] == f"+5.0 ({DASH}) [-1.0, +11.0]"
    table = build_table(tree, "figure3_shares")
    assert table.name == "figure3_shares" and table.blocks == figure.digest.blocks
    # Of the numbers drawn, none of the judge that the figure does not show.
    assert {line[5] for line in figure.rows} == {"minilm"}
    assert len(figure.rows) == len(WAYS) * 2 * 5


def test_what_is_missing_is_named_with_its_command(tree: Any) -> None:
    tree.measured([*evaluated(tree), *evaluated(tree, "equitune")], task="fairness")
    figure = build(tree)
    lines = block(figure)
    assert lines["pretrained", "man"] == MAN
    assert lines["R-Equi", "woman"] == MISSING
    absent = block(figure, TITLE.replace("man_woman", "black_white"))
    assert list(absent) == [(name, "each") for name in NAMES]
    assert set(absent.values()) == {MISSING}
    arms = "fairness/r_equi,fairness/equizero,fairness/r_equizero,fairness/best_of,fairness/lambda"
    assert figure.digest.commands == (
        COMMAND,
        f"{SMOLLM} group=man_woman arm={arms}",
        f"{SMOLLM} group=black_white,straight_gay",
    )
    axes = drawn(figure).axes
    assert len(axes) == 1
    texts = [text.get_text() for text in axes[0].texts]
    assert texts.count("missing") == 5 and "R-Equizero" in texts


def test_without_rows_nothing_is_drawn(tree: Any, tmp_path: Path) -> None:
    for name in ("figure3", "figure9"):
        figure = build(tree, name, scales=("paper", "demo"))
        assert figure.rows == ()
        assert figure.digest.commands == (
            f"python run.py experiment={name} scale=paper",
            f"python run.py experiment={name} scale=demo model=PlantedGPT2",
        )
        assert {path.suffix for path in figure.write(tmp_path)} == {".csv", ".md", ".tex"}


def test_real_text_stands_apart_and_is_labelled_by_the_same_judge(tree: Any) -> None:
    persons = ("Black person", "White person")
    own = all_ways(tree, group="black_white")
    tree.run("a", [*own, *reference(tree, group="black_white", persons=persons)], task="fairness")
    figure = build(tree)
    lines = block(figure, TITLE.replace("man_woman", "black_white"))
    assert [*lines][:2] == [("gpt2_sentences", person) for person in persons]
    assert lines["gpt2_sentences", "Black person"] == MAN
    # It is not asked to be equivariant.
    assert not any("model=gpt2_sentences" in text for text in figure.digest.commands)
    [axes] = drawn(figure).axes
    assert axes.texts[0].get_text() == "GPT-2 text"
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == [*persons, *["Black man", "White man"] * len(WAYS)]
    notes = " ".join(figure.digest.notes)
    assert "gpt2_sentences: real text of GPT-2 small" in notes and REFERENCE_COMMAND not in notes


def test_real_text_that_another_judge_labelled_is_left_out(tree: Any) -> None:
    own = all_ways(tree, model="gpt2", judges=("regardv3", "words"))
    tree.run("a", [*own, *reference(tree, judges=("minilm",))], task="fairness")
    figure = build(tree)
    title = TITLE.replace("smollm2", "gpt2").replace("minilm", "regardv3")
    assert list(block(figure, title)) == [(name, person) for name in NAMES for person in MEN]
    assert REFERENCE_COMMAND in " ".join(figure.digest.notes)


def test_notes_name_model_judge_and_what_the_paper_lacks(tree: Any) -> None:
    tree.run("a", all_ways(tree), task="fairness")
    figure = build(tree)
    notes = " ".join(figure.digest.notes)
    assert "SmolLM2-135M-Instruct with 4-bit weights, which is no model of the paper" in notes
    assert "dev+test 84.0 [80.0, 88.0]" in notes and "man - woman 6.0 [5.0, 7.0]" in notes
    assert "the paper prints no numbers for this part" in notes and "synthetic" not in notes
    [axes] = drawn(figure).axes
    first, second = axes.get_title().split("\n")
    assert first == "SmolLM2-135M-Instruct: respect, protocol paper, 250 sentences per bar"
    assert second == (
        "judge minilm, which Equizero optimises: accuracy 84.0 [80.0, 88.0] %, "
        "label flips 6.0 [5.0, 7.0] %"
    )


def test_the_planted_model_is_called_synthetic(tree: Any) -> None:
    demo = {"model": "PlantedGPT2", "scale": "demo", "judges": ("words",), "tested": False}
    tree.run("a", all_ways(tree, **demo), task="fairness")
    figure = build(tree, scales=("demo",))
    assert "its bias is synthetic" in " ".join(figure.digest.notes)
    assert "no run here has tested it" in " ".join(figure.digest.notes)
    [axes] = drawn(figure).axes
    assert axes.get_title() == (
        "PlantedGPT2 (synthetic bias): respect, protocol paper, 250 sentences per bar\n"
        "judge words, which Equizero optimises"
    )
    assert figure.digest.commands == (
        "python run.py experiment=figure3 scale=demo model=PlantedGPT2 "
        "group=black_white,straight_gay",
    )


def test_bars_are_stacked_with_error_bars_at_both_ends(tree: Any) -> None:
    tree.run("a", evaluated(tree), task="fairness")
    [axes] = drawn(build(tree)).axes
    bars = [(patch.get_y(), patch.get_height()) for patch in axes.patches]
    assert bars[:4] == [(0.0, 50.0), (50.0, 20.0), (70.0, 5.0), (75.0, 25.0)]
    ends = [line.get_segments()[0][:, 1] for line in axes.collections]
    assert [tuple(pair) for pair in ends[:2]] == [(47.0, 53.0), (72.0, 78.0)]


def test_several_seeds_are_averaged(tree: Any) -> None:
    tree.run("a", evaluated(tree, seeds=3), task="fairness")
    line = block(build(tree))["pretrained", "man"]
    assert line[0] == "52.0 (2.0) [49.0, 55.0]" and line[-1] == "3"


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "mask=False"},
        {"variant": "relaxed=True, space=probabilities"},
        {"variant": "relaxed=True"},
        {"variant": "model.source=/somewhere"},
        {"step": "5"},
        {"scale": "demo"},
        {"dataset": "occupation"},
        {"task": "clip"},
    ],
)
def test_other_rows_do_not_count(tree: Any, changes: dict[str, str]) -> None:
    tree.run("a", evaluated(tree, **changes), task="fairness")
    assert build(tree).rows == ()


def test_the_authors_protocol_stands_beside_the_papers(tree: Any) -> None:
    rows = evaluated(tree, "equitune", protocol="reference")
    tree.run("a", [*all_ways(tree), *rows], task="fairness")
    figure = build(tree)
    title = TITLE.replace("protocol=paper", "protocol=reference")
    assert list(block(figure, title)) == [("Equi", "man"), ("Equi", "woman")]
    assert not any("protocol=reference" in text for text in figure.digest.commands)
    [axes] = drawn(figure).axes
    texts = [text.get_text() for text in axes.texts]
    assert texts[1] == "Equi" and texts[-1] == "Equi\nreference"


def test_a_model_is_named_after_its_source(tree: Any) -> None:
    source = {"model": "causal_lm", "variant": "model.source=some/model"}
    tree.run("a", evaluated(tree, judges=("regardv3",), **source), task="fairness")
    relaxed = source | {"variant": "relaxed=True, model.source=some/model"}
    tree.run("b", evaluated(tree, "equitune", judges=("regardv3",), **relaxed), task="fairness")
    figure = build(tree)
    title = TITLE.replace("smollm2", "causal_lm some/model").replace("minilm", "regardv3")
    assert block(figure, title)["pretrained", "man"] == MAN
    assert block(figure, title)["R-Equi", "man"] == MAN
    assert (
        f"{COMMAND} model=causal_lm task.regard_data=FOLDER model.source=some/model "
        in (figure.digest.commands[1])
    )
    assert drawn(figure).axes[0].get_title().startswith("some/model: respect")


def test_three_demographic_groups_have_three_bars(tree: Any) -> None:
    tree.run("a", all_ways(tree, group="black_white_asian"), task="fairness")
    lines = block(build(tree), TITLE.replace("man_woman", "black_white_asian"))
    assert len(lines) == 3 * len(WAYS)
    assert ("best of 3", "Asian man") in lines


def test_names_are_those_of_the_configuration() -> None:
    assert LABELS == WRITTEN
    default = OmegaConf.load(CONF / "task" / "fairness.yaml")["judges"]
    for name, model in MODELS.items():
        path = CONF / "task_model" / f"fairness_{name}.yaml"
        judges = OmegaConf.load(path)["task"]["judges"] if path.is_file() else default
        assert judges[0] == model.judge
        assert (CONF / "model" / f"{name}.yaml").is_file()
    for dataset, experiment in EXPERIMENTS.items():
        preset = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml")
        swept = preset["hydra"]["sweeper"]["params"]
        assert {"override /dataset": dataset} in preset["defaults"]
        assert tuple(swept["group"].split(",")) == PAIRS
        assert tuple(swept["arm"].split(",")) == tuple(way.arm for way in WAYS)
    for way in WAYS:
        arm = OmegaConf.load(CONF / "arm" / f"{way.arm}.yaml")
        assert {"override /method": way.method} in arm["defaults"]
        task = arm.get("task", {})
        option = "relaxed" if task.get("relaxed") else task.get("branches", "")
        assert option == way.option
