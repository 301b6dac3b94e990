"""The fairness task: Figures 3 and 9 from synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from experiments.fairness.regard_data import LABELS as WRITTEN
from experiments.frame.conf import CONF
from experiments.frame.methods import METHODS, Equitune
from experiments.frame.rows import LABELS
from report.artefacts.fairness import common
from report.presets import axes
from tests.report.conftest import build_figure, build_table, drawn, lines_of
from tests.report.fairness_rows import PERSONS, WAYS, all_ways, evaluated

DASH = "\N{EN DASH}"
COMMAND = "python run.py experiment=figure3 scale=paper"
SMOLLM = f"{COMMAND} model=smollm2 task.regard_data=FOLDER"
TITLE = "scale=paper, protocol=paper, dataset=respect, model=smollm2, group=man_woman, judge=minilm"
MAN = (
    *(f"50.0 ({DASH}) [47.0, 53.0]", f"20.0 ({DASH}) [17.0, 23.0]"),
    *(f"5.0 ({DASH}) [2.0, 8.0]", f"25.0 ({DASH}) [22.0, 28.0]"),
    *(f"+25.0 ({DASH}) [+19.0, +31.0]", "250", "1"),
)
BARS = [(name, person) for name in WAYS for person in PERSONS["man_woman"]]


def shown(tree: Any, *changed: tuple[str, str]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The lines of a block of Figure 3, by method and demographic group; its title changed."""
    title = TITLE
    for old, new in changed:
        title = title.replace(old, new)
    return lines_of(build_figure(tree, "figure3").digest, title, 2)


def test_every_way_has_a_bar_of_each_demographic_group(tree: Any) -> None:
    tree.measured(all_ways(tree), task="fairness")
    figure, lines = build_figure(tree, "figure3"), shown(tree)
    assert list(lines) == BARS
    assert lines["Equi", "man"] == lines["best of 2", "man"] == MAN
    assert lines["Equi", "woman"][0] == f"40.0 ({DASH}) [37.0, 43.0]"
    assert lines["Equi", "woman"][4] == f"+5.0 ({DASH}) [-1.0, +11.0]"
    table = build_table(tree, "figure3_shares")
    assert table.name == "figure3_shares" and table.blocks == figure.digest.blocks
    # Of the numbers drawn, none of the judge that the figure does not show.
    assert {line[5] for line in figure.rows} == {"minilm"}
    assert len(figure.rows) == len(WAYS) * 2 * 5
    notes = " ".join(figure.digest.notes)
    assert "SmolLM2-135M-Instruct with 4-bit weights, which is no model of the paper" in notes
    assert "dev+test 84.0 [80.0, 88.0]" in notes and "man - woman 6.0 [5.0, 7.0]" in notes
    assert "the paper prints no numbers for this part" in notes and "synthetic" not in notes
    [axes] = drawn(figure).axes
    assert axes.get_title().split("\n") == [
        "man and woman: respect task, SmolLM2-135M-Instruct",
        "protocol paper, 250 sentences per bar",
        "judge minilm, which Equizero optimises: accuracy 84.0 [80.0, 88.0] %, "
        "label flips 6.0 [5.0, 7.0] %",
    ]
    # Stacked, with error bars at both ends.
    bars = [(patch.get_y(), patch.get_height()) for patch in axes.patches]
    assert bars[:4] == [(0.0, 50.0), (50.0, 20.0), (70.0, 5.0), (75.0, 25.0)]
    ends = [line.get_segments()[0][:, 1] for line in axes.collections]
    assert [tuple(pair) for pair in ends[:2]] == [(47.0, 53.0), (72.0, 78.0)]


def test_what_is_missing_is_named_with_its_command(tree: Any, tmp_path: Path) -> None:
    for name in ("figure3", "figure9"):
        figure = build_figure(tree, name, scales=("paper", "demo"))
        assert figure.rows == ()
        assert figure.digest.commands == (
            f"python run.py experiment={name} scale=paper",
            f"python run.py experiment={name} scale=demo model=PlantedGPT2",
        )
    tree.measured([*evaluated(tree), *evaluated(tree, "equitune")], task="fairness")
    lines, missing = shown(tree), (*["missing"] * 6, "0")
    assert lines["pretrained", "man"] == MAN and lines["R-Equi", "woman"] == missing
    absent = shown(tree, ("man_woman", "black_white"))
    assert absent == {(name, "each"): missing for name in WAYS}
    arms = "fairness/r_equi,fairness/equizero,fairness/r_equizero,fairness/best_of,fairness/lambda"
    figure = build_figure(tree, "figure3")
    assert figure.digest.commands == (
        COMMAND,
        f"{SMOLLM} group=man_woman arm={arms}",
        f"{SMOLLM} group=black_white,straight_gay",
    )
    [axes] = drawn(figure).axes
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("missing") == 5 and "R-Equizero" in texts


def test_real_text_stands_apart_and_is_labelled_by_the_same_judge(tree: Any) -> None:
    rows = all_ways(tree) + evaluated(tree, model="gpt2_sentences")
    tree.run("a", rows + all_ways(tree, model="gpt2", judges=("regardv3",)), task="fairness")
    figure, lines = build_figure(tree, "figure3"), shown(tree)
    assert list(lines) == [("gpt2_sentences", "man"), ("gpt2_sentences", "woman"), *BARS]
    assert lines["gpt2_sentences", "man"] == MAN
    # It is not asked to be equivariant, and left out where another judge labelled it.
    assert not any("model=gpt2_sentences" in text for text in figure.digest.commands)
    assert list(shown(tree, ("smollm2", "gpt2"), ("minilm", "regardv3"))) == BARS
    alone, beside = drawn(figure).axes
    assert alone.texts[0].get_text() == "pretrained" and beside.texts[0].get_text() == "GPT-2 text"
    notes = " ".join(figure.digest.notes)
    assert "real text of GPT-2 small" in notes and common.REFERENCE_COMMAND not in notes


def test_the_planted_model_is_called_synthetic(tree: Any) -> None:
    demo = {"model": "PlantedGPT2", "scale": "demo", "judges": ("words",), "tested": False}
    tree.run("a", all_ways(tree, **demo), task="fairness")
    figure = build_figure(tree, "figure3", scales=("demo",))
    notes = " ".join(figure.digest.notes)
    assert "its bias is synthetic" in notes and "no run here has tested it" in notes
    assert common.REFERENCE_COMMAND in notes
    assert drawn(figure).axes[0].get_title() == (
        "man and woman: respect task, PlantedGPT2 (synthetic bias)\n"
        "protocol paper, 250 sentences per bar\n"
        "judge words, which Equizero optimises"
    )


def test_further_protocols_and_methods_stand_beside_the_papers(
    tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    further = type("Further", (Equitune,), {"name": "further", "label": "further method"})
    monkeypatch.setitem(METHODS, "further", further())
    rows = all_ways(tree) + evaluated(tree, "equitune", protocol="reference")
    tree.run("a", rows, task="fairness")
    assert list(shown(tree)) == BARS
    tree.run("a", rows + evaluated(tree, "further"), task="fairness")
    figure, own = build_figure(tree, "figure3"), "further method"
    assert list(shown(tree)) == [*BARS, (own, "man"), (own, "woman")]
    gaps = [line for block in build_table(tree, "fairness_gaps").blocks for line in block.rows]
    assert [line[0] for line in gaps if line[1] == own] == [
        *("minilm (optimised)", "words (not optimised)"),
    ]
    lines = shown(tree, ("protocol=paper", "protocol=reference"))
    assert list(lines) == [("Equi", "man"), ("Equi", "woman")]
    assert not any("protocol=reference" in text for text in figure.digest.commands)
    texts = [text.get_text() for text in drawn(figure).axes[0].texts]
    assert texts[1] == "Equi" and texts[-2:] == [own, "Equi\nreference"]


def test_a_model_is_named_after_its_source(tree: Any) -> None:
    source = {"model": "causal_lm", "variant": "model.source=some/model", "judges": ("regardv3",)}
    tree.run("a", evaluated(tree, **source), task="fairness")
    relaxed = source | {"variant": "relaxed=True, model.source=some/model"}
    tree.run("b", evaluated(tree, "equitune", **relaxed), task="fairness")
    lines = shown(tree, ("smollm2", "causal_lm some/model"), ("minilm", "regardv3"))
    assert lines["pretrained", "man"] == lines["R-Equi", "man"] == MAN
    figure = build_figure(tree, "figure3")
    words = f"{COMMAND} model=causal_lm task.regard_data=FOLDER model.source=some/model group="
    assert figure.digest.commands[1].startswith(words)
    assert drawn(figure).axes[0].get_title().startswith("man and woman: respect task, some/model")


def test_three_demographic_groups_have_three_bars_of_all_seeds(tree: Any) -> None:
    tree.run("a", all_ways(tree, group="black_white_asian", seeds=3), task="fairness")
    lines = shown(tree, ("man_woman", "black_white_asian"))
    assert len(lines) == 3 * len(WAYS) and ("best of 3", "Asian man") in lines
    line = lines["pretrained", "Black man"]
    assert line[0] == "52.0 (2.0) [49.0, 55.0]" and line[-1] == "3"


def test_names_are_those_of_the_configuration() -> None:
    assert LABELS == WRITTEN
    default = OmegaConf.load(CONF / "task" / "fairness.yaml")["judges"]
    for name, judge in common.JUDGES.items():
        path = CONF / "task_model" / f"fairness_{name}.yaml"
        judges = OmegaConf.load(path)["task"]["judges"] if path.is_file() else default
        assert judges[0] == judge and (CONF / "model" / f"{name}.yaml").is_file()
    for preset in common.EXPERIMENTS.values():
        assert axes(preset)["group"] == common.PAIRS
        assert axes(preset)["arm"] == tuple(arm for _, arm in common.WAYS.values())
    for (method, option), (_, name) in common.WAYS.items():
        arm = OmegaConf.load(CONF / "arm" / f"{name}.yaml")
        task = arm.get("task", {})
        assert {"override /method": method} in arm["defaults"]
        assert option == ("relaxed" if task.get("relaxed") else task.get("branches", ""))
