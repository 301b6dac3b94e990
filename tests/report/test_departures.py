"""Rows that depart from the protocol: named below an artefact, and taken in if asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.paper_figures import main


def printed(tree: Any, capsys: Any, *words: str) -> str:
    assert main(["--results", str(tree.path), *words]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_a_trial_is_named_below_the_table_and_taken_in(tree: Any, capsys: Any) -> None:
    trial = tree.rows([70.0, 80.0], variant="max_commands=50, judges=['a', 'b']")
    tree.run("trial", trial)
    text = printed(tree, capsys, "table2")
    note = "max_commands=50, judges=['a', 'b'] (2 rows); --variants takes them in"
    assert f"left out, as they depart from the protocol: {note}" in text
    assert "75.0" not in text.replace("75.2", "")
    text = printed(tree, capsys, "table2", "--variants")
    assert "taken in, although they depart from the protocol: max_commands=50" in text
    assert "75.0 (7.1)" in text


def test_taken_in_they_stand_in_the_place_of_others(tree: Any, capsys: Any) -> None:
    tree.measured(tree.rows([10.0, 20.0]))
    tree.run("trial", tree.rows([70.0, 80.0], variant="max_commands=50"))
    text = printed(tree, capsys, "table2")
    assert (
        "15.0 (7.1)" in text
        and "left out, as they depart from the protocol: max_commands=50 (2 rows)" in text
    )
    text = printed(tree, capsys, "table2", "--variants")
    assert "75.0 (7.1)" in text and "15.0" not in text


def test_what_is_shown_or_committed_or_of_another_artefact_is_not_named(
    tree: Any, capsys: Any
) -> None:
    tree.run("trial", tree.rows([70.0, 80.0], variant="max_commands=50"))
    assert "left out" not in printed(tree, capsys, "scan_variants")  # which shows them
    assert "left out" not in printed(tree, capsys, "table8")  # of GRUs
    assert "left out" not in printed(tree, capsys, "figure2")
    tree.measured(tree.rows([70.0], variant="max_commands=9", model="GRU"))
    assert "left out" not in printed(tree, capsys, "table8")


@pytest.mark.parametrize(("scale", "place"), [("demo", "demo"), ("all", "all")])
def test_what_is_not_of_full_scale_has_a_folder_of_its_own(
    tree: Any, capsys: Any, scale: str, place: str
) -> None:
    tree.measured(tree.rows([70.0]))
    printed(tree, capsys, "table2", "figure10")
    before = {path: path.read_bytes() for path in (tree.path / "figures").iterdir()}
    tree.run("a", tree.rows([10.0], scale="demo"))
    printed(tree, capsys, "table2", "figure10", "--scale", scale)
    assert before == {path: path.read_bytes() for path in (tree.path / "figures").iterdir()}
    assert (tree.path / place / "figures" / "table2.md").is_file()


def test_in_every_task_a_departure_of_the_user_s_is_named(tree: Any, capsys: Any) -> None:
    """Each has its own way of reading what a row says of its variant; parts of it are kept."""
    dqn = {"variant": "regime=modern, recipe.steps=9"}
    tree.run("dqn", tree.returns([-90.0, -80.0], "equizero", **dqn), task="dqn")
    clip = {"task": "clip", "dataset": "cifar100", "model": "RN50", "metric": "top1_accuracy"}
    turned = {"group": "rot90", "transform": "rot90", "variant": "max_images=64"}
    tree.run("clip", tree.rows([50.0], **clip, **turned), task="clip")
    tuned = turned | {"variant": "training=image_encoder, max_images=64", "step": 4000}
    tree.run("tuned", tree.rows([50.0], **clip, **tuned, method="equitune"), task="clip")
    cnn = {"task": "cnn", "dataset": "cifar10", "model": "ResNet20", "group": "rot90"}
    probed = {"transform": "rot90", "metric": "top1_accuracy", "step": 10}
    cnn_variant = {"variant": "loss=entropy, max_images=40"}
    tree.run("cnn", tree.rows([50.0], **cnn, **probed, **cnn_variant), task="cnn")
    named = {
        "figure2": "regime=modern, recipe.steps=9 (2 rows)",
        "figure8": "max_images=64 (1 row)",
        "figure5b": "loss=entropy, max_images=40 (1 row)",
    }
    for artefact, note in named.items():
        assert f"left out, as they depart from the protocol: {note}" in printed(
            tree, capsys, artefact
        )


def test_the_report_names_them_too(tree: Any, tmp_path: Path) -> None:
    from scripts.report import main as report

    tree.run("trial", tree.rows([70.0, 80.0], variant="max_commands=50"))
    assert report(["--results", str(tree.with_claims()), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "left out, as they depart from the protocol: max_commands=50 (2 rows)" in page
