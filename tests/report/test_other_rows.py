"""Rows that a figure leaves out: one column of what it shows is changed, and nothing is drawn."""

from __future__ import annotations

from typing import Any

import pytest

from report.artefacts.catalogue import ARTEFACTS
from tests.report import clip_rows, fairness_rows
from tests.report.conftest import build_figure
from tests.report.test_cnn_figures import ENTROPY, probed


def _rows(tree: Any, name: str, changes: dict[str, Any]) -> Any:
    """Rows that a figure shows, but for the changes."""
    if name == "figure10":
        return [tree.row(70.0, **({"step": "200"} | changes))]
    if name == "figure2":
        return tree.returns([1.0, 2.0], "equizero", **changes)
    if name == "figure3":
        return fairness_rows.evaluated(tree, **changes)
    if name == "figure5b":
        return probed(tree, ENTROPY, 70.0, **changes)
    return (clip_rows.tuned if name == "figure5a" else clip_rows.everything)(tree, **changes)


_ZERO_SHOT_CLIP: list[dict[str, str]] = [
    *({"variant": "training=image_encoder"}, {"variant": "checkpoint=2d711642"}),
    *({"group": "dihedral"}, {"dataset": clip_rows.DRAWN}, {"scale": "demo"}, {"task": "cnn"}),
]
_CHANGES: dict[str, list[dict[str, str]]] = {
    "figure10": [
        *({"step": ""}, {"step": "10000"}, {"variant": "finetune.rate=text"}, {"view": "0"}),
        *({"split": "validation"}, {"metric": "commands"}, {"group": "verb4"}),
        *({"model": "G-LSTM"}, {"method": "pretrained"}),
    ],
    "figure2": [
        *({"variant": "score=raw"}, {"variant": "regime=modern, score=raw"}),
        *({"variant": "recipe.steps=70000"}, {"step": "60000"}, {"step": "80000"}),
        *({"group": "dihedral"}, {"metric": "episode_length"}, {"split": "validation"}),
        *({"dataset": "pendulum"}, {"model": "mine"}),
    ],
    "figure3": [
        *({"variant": "mask=False"}, {"variant": "relaxed=True, space=probabilities"}),
        *({"variant": "relaxed=True"}, {"variant": "model.source=/somewhere"}, {"step": "5"}),
        *({"scale": "demo"}, {"dataset": "occupation"}, {"task": "clip"}),
    ],
    "figure5a": [
        *({"variant": ""}, {"variant": f"{clip_rows.TRAINED}, draw=image"}),
        {"variant": f"{clip_rows.TRAINED}, finetune.steps=10, pretrain.epochs=5"},
        *({"variant": f"draw=image, {clip_rows.TRAINED}"}, {"group": "rot180"}),
        *({"transform": "rot180"}, {"dataset": clip_rows.DRAWN}, {"scale": "demo"}),
        {"model": "ViT-B-32"},
    ],
    "figure5b": [
        *({"variant": "training=none"}, {"variant": "probe.epochs=20"}),
        {"variant": "loss=entropy, straight_through=identity"},
        *({"group": "mirror"}, {"dataset": "symbols"}, {"model": "AlexNet"}),
        {"transform": "none"},
    ],
    **dict.fromkeys(("figure8", "figure12"), _ZERO_SHOT_CLIP),
}


@pytest.mark.parametrize("name", _CHANGES)
def test_without_the_change_the_rows_are_shown(tree: Any, name: str) -> None:
    tree.run("a", _rows(tree, name, {}), task=ARTEFACTS[name].task)
    assert build_figure(tree, name).rows != ()


@pytest.mark.parametrize(
    ("name", "changes"), [(name, each) for name, own in _CHANGES.items() for each in own]
)
def test_other_rows_do_not_count(tree: Any, name: str, changes: dict[str, str]) -> None:
    tree.run("a", _rows(tree, name, changes), task=ARTEFACTS[name].task)
    assert build_figure(tree, name).rows == ()
