"""CLIP: Figures 4, 7, 8 and 12 from synthetic rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from experiments.frame.methods import METHODS as KNOWN
from report.artefacts.clip.figures import colours
from report.artefacts.clip.lambdas import COLOURS
from report.figures import Figure
from tests.report.clip_rows import (
    DASH,
    DRAWN,
    LAMBDA,
    METHODS,
    MODELS,
    OURS,
    SHARES,
    ZERO,
    everything,
)
from tests.report.conftest import assert_fits, build_figure, drawn, lines_of

COMMAND = "python run.py experiment="
ABSENT = ("not reported",) * 4
PLACE = "scale=paper, protocol=paper, dataset=cifar100"
DEMO = {"scale": "demo", "dataset": DRAWN, "model": OURS}


def block(figure: Figure, title: str = PLACE) -> dict[Any, tuple[str, ...]]:
    """The lines of one block, by model and method, or by model where there is no method."""
    stub = len(figure.digest.stub)
    found = lines_of(figure.digest, title, stub)
    return found if stub > 1 else {name: line for (name,), line in found.items()}


def test_the_numbers_stand_beside_the_papers_whose_flip_is_rot180(tree: Any) -> None:
    tree.measured(everything(tree, METHODS[:3], dataset="imagenet_v2"), task="clip")
    figure = build_figure(tree, "figure4")
    assert figure.digest.headers[2:] == (
        *("ours: upright", "ours: rot180", "ours: rot90", "ours: n"),
        *("paper reports: upright", "paper reports: rot180", "paper reports: rot90"),
    )
    lines = block(figure, PLACE.replace("cifar100", "imagenet_v2"))
    assert lines["RN50", "pretrained"] == (
        *(f"50.0 ({DASH}) [49.0, 51.0]", f"40.0 ({DASH}) [39.0, 41.0]"),
        *(f"35.0 ({DASH}) [34.0, 36.0]", "1", "52.84", "42.91", "39.61"),
    )
    assert lines["RN50", ZERO] == (
        *(DASH, f"52.0 ({DASH}) [51.0, 53.0]", f"47.0 ({DASH}) [46.0, 48.0]", "1"),
        *(DASH, "51.63", "50.74"),
    )
    missing = ("missing",) * 2
    assert lines["ViT-B-16", "equitune"] == (DASH, *missing, "0", DASH, "59.64", "58.54")
    assert list(lines) == [(model, method) for model in MODELS for method in METHODS[:3]]
    assert figure.digest.commands == (
        f"{COMMAND}figure4 scale=paper model=RN101,ViT-B-32,ViT-B-16",
    )


def test_each_figure_has_the_papers_bars(tree: Any) -> None:
    seven, eight = (block(build_figure(tree, name)) for name in ("figure7", "figure8"))
    assert seven["ViT-B-32", "pretrained"][-3:] == ("65.02", "49.76", "43.91")
    assert list(seven) == [(model, "pretrained") for model in MODELS]
    assert eight["RN101", "equitune"][-2:] == ("42.89", "34.02")
    assert list(eight) == [(model, method) for model in MODELS for method in METHODS[:3]]


@pytest.mark.parametrize("name", ["figure4", "figure7", "figure8", "figure12"])
def test_without_rows_nothing_is_drawn_and_all_is_missing(tree: Any, name: str) -> None:
    figure = build_figure(tree, name, scales=("paper", "demo"))
    assert figure.rows == ()
    assert figure.digest.commands == (
        f"{COMMAND}{name} scale=paper",
        f"{COMMAND}{name} scale=demo dataset={DRAWN} model={OURS}",
    )


def test_upright_rows_of_two_runs_count_once(tree: Any) -> None:
    for group in ("rot90", "rot180"):
        tree.run(group, everything(tree, ["pretrained"], [group]), task="clip")
    lines = block(build_figure(tree, "figure7"))
    assert lines["RN50", "pretrained"][0] == f"50.0 ({DASH}) [49.0, 51.0]"


def test_our_model_has_seeds_and_its_own_command(tree: Any) -> None:
    rows = everything(tree, METHODS[:3], model=OURS, seeds=3)
    tree.run("a", [*rows, *everything(tree), *everything(tree, model="AnyCLIP")], task="clip")
    lines = block(build_figure(tree, "figure8"))
    assert [*dict.fromkeys(model for model, _ in lines)] == [*MODELS, OURS, "AnyCLIP"]
    assert lines[OURS, "equitune"] == (
        *("49.0 (2.0) [48.0, 50.0]", "44.0 (2.0) [43.0, 45.0]", "3", *ABSENT[:2]),
    )
    tree.run("a", [row for row in rows if row["method"] != ZERO], task="clip")
    assert build_figure(tree, "figure8").digest.commands == (
        f"{COMMAND}figure8 scale=paper",
        f"{COMMAND}figure8 scale=paper model={OURS} seed=0,1,2 method={ZERO}",
    )


@pytest.mark.parametrize("method", [LAMBDA, "soft_choice"])
def test_a_further_method_is_shown_where_it_has_rows(
    tree: Any, method: str, soft_choice: str
) -> None:
    rows = everything(tree, (*METHODS[:3], method))
    tree.run("a", [*rows, *everything(tree, METHODS[:3], model="RN101")], task="clip")
    figure = build_figure(tree, "figure8")
    lines = block(figure)
    assert [way for model, way in lines if model == "RN50"] == [*METHODS[:3], method]
    assert lines["RN50", method][2:] == ("1", *ABSENT[:2])
    assert ("RN101", method) not in lines
    assert figure.digest.notes[-1].startswith(f"{method} stands in no such figure")
    [legend] = drawn(figure).legends
    note = legend.get_title().get_text().replace("\n", " ")
    assert "; loss similarity in protocol paper: equizero" in note
    label = {LAMBDA: "λ-equitune"}.get(method, "soft choice")
    assert label in [text.get_text() for text in legend.get_texts()]


def test_a_demo_is_of_symbols_and_has_no_paper_beside_it(tree: Any) -> None:
    demo = {"scale": "demo", "dataset": DRAWN}
    rows = [*everything(tree, **demo | {"model": OURS}), *everything(tree, **demo)]
    tree.run("a", [*rows, *everything(tree)], task="clip")
    both = build_figure(tree, "figure8", scales=("paper", "demo"))
    lines = block(both, f"scale=demo, protocol=paper, dataset={DRAWN}")
    assert {model for model, _ in lines} == {"RN50", OURS}
    assert lines["RN50", ZERO][-2:] == ABSENT[:2]
    papers = [line for line in both.rows if line[1] == "reported"]
    assert {line[2] for line in papers} == {"cifar100"} and len(papers) == 6 * len(MODELS)


def test_a_protocol_has_panels_of_the_models_with_rows(tree: Any) -> None:
    tree.run("a", everything(tree, METHODS[:2], model=OURS, protocol="reference"), task="clip")
    figure = build_figure(tree, "figure8")
    assert [block.labels["protocol"] for block in figure.digest.blocks] == ["reference", "paper"]
    lines = block(figure, PLACE.replace("protocol=paper", "protocol=reference"))
    assert {model for model, _ in lines} == {OURS}
    assert lines[OURS, ZERO][:3] == ("missing", "missing", "0")
    assert figure.digest.commands == (
        f"{COMMAND}figure8 scale=paper protocol=reference model={OURS} seed=0,1,2 method={ZERO}",
        f"{COMMAND}figure8 scale=paper",
    )
    parts = ("a: quarter turns", "b: half turns")
    assert [axes.get_title() for axes in drawn(figure).axes] == [
        *(f"{part}, CIFAR-100\nprotocol reference (as the authors' code)" for part in parts),
        *(f"{part}, CIFAR-100\nthe paper's models, its numbers of one seed" for part in parts),
    ]


def test_bars_have_their_heights_colours_and_the_papers_markers(tree: Any) -> None:
    ours = everything(tree, METHODS[:3], dataset="imagenet_v2", model=OURS, seeds=3)
    tree.run("a", [*everything(tree, METHODS[:3], dataset="imagenet_v2"), *ours], task="clip")
    figure = build_figure(tree, "figure4")
    names = ("imagenet_v2", "RN50", "rot180", ZERO, "rot180")
    assert ("paper", "paper", *names, "52.0", "", "51.0", "53.0", "1") in figure.rows
    assert ("paper", "reported", *names, "51.63", "", "", "", "") in figure.rows
    # Its models without rows of ours have panels of their own.
    assert ("paper", "reported", "imagenet_v2", "RN101") in {row[:4] for row in figure.rows}
    assert len(figure.rows) == 3 * 7 + (len(MODELS) - 1) * 7
    drawing = drawn(figure)
    assert_fits(drawing, ticks=True)
    assert [axes.get_title().split(",")[0] for axes in drawing.axes] == [
        *("a: pretrained", "b: quarter turns", "c: half turns"),
    ] * 2
    assert len({axes.get_ylim() for axes in drawing.axes}) == 1
    panel, looks = drawing.axes[1], colours()
    bars = [(bar.get_height(), to_hex(bar.get_facecolor()).upper()) for bar in panel.patches]
    shown = [looks[name] for name in ("pretrained", "equitune", ZERO)]
    assert bars == [*zip((35.0, 42.0, 47.0, 37.0, 44.0, 49.0), shown * 2, strict=True)]
    assert len(set(looks.values())) == len(KNOWN) + 3
    markers = [line for line in panel.lines if line.get_marker() == "D"]
    assert [float(line.get_ydata()[0]) for line in markers] == [39.61, 46.32, 50.74]
    # One seed: the interval over images; three: one spread to each side.
    ends = [tuple(lines.get_segments()[0][:, 1]) for lines in panel.collections]
    assert [ends[0], ends[3]] == [pytest.approx((34.0, 36.0)), pytest.approx((35.0, 39.0))]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["RN50", "SmallCLIP\n(ours)"]


def test_shares_stand_beside_the_papers_which_are_turned_the_other_way(tree: Any) -> None:
    tree.measured([*everything(tree), *everything(tree, model=OURS, seeds=3)], task="clip")
    figure = build_figure(tree, "figure12")
    lines = block(figure)
    assert lines["RN50"] == (
        *(f"40.0 ({DASH}) [39.0, 41.0]", f"20.0 ({DASH}) [19.0, 21.0]"),
        *(f"25.0 ({DASH}) [24.0, 26.0]", f"15.0 ({DASH}) [14.0, 16.0]"),
        *(f"70.0 ({DASH}) [69.0, 71.0]", "1"),
        # Its whole turn, its 270, its 180, its 90.
        *("38.95", "18.38", "31.31", "11.36"),
    )
    assert lines["RN101"] == (*["missing"] * 5, "0", "29.78", "26.36", "23.14", "20.71")
    assert lines[OURS][0] == "42.0 (2.0) [41.0, 43.0]" and lines[OURS][5:] == ("3", *ABSENT)
    assert figure.digest.commands == (f"{COMMAND}figure12 scale=paper model=RN101",)


def test_bars_are_shares_and_the_papers_image_has_a_panel(tree: Any) -> None:
    rows = [*everything(tree), *everything(tree, model=OURS, seeds=3), *everything(tree, **DEMO)]
    tree.run("a", [*rows, *everything(tree, model=OURS, protocol="reference")], task="clip")
    figure = build_figure(tree, "figure12", scales=("paper", "demo"))
    names = ("paper", "paper", "cifar100", OURS, "by 180")
    assert (*names, "27.0", "2.0", "26.0", "28.0", "3") in figure.rows
    assert ("paper", "reported", "cifar100", "RN50", "by 270", "11.36", *[""] * 4) in figure.rows
    assert (*names[:-1], "by 180, one image", "20.0", "", "", "", "1") in figure.rows
    assert len(figure.rows) == 2 * 4 * (2 + 1 + 1) + 4 * len(MODELS)
    drawing = drawn(figure)
    assert_fits(drawing, ticks=True)
    assert [axes.get_title() for axes in drawing.axes] == [
        "CIFAR-100\nprotocol reference (as the authors' code), scale paper",
        "CIFAR-100\nprotocol paper (as the paper says), scale paper",
        "the paper's models, one image\nCIFAR-100",
        f"{DRAWN}\nprotocol paper (as the paper says), scale demo",
    ]
    ours, paper = drawing.axes[1:3]
    all_images, one = [*SHARES], [*reversed(SHARES)]
    heights = [bar.get_height() for bar in ours.patches]
    assert heights == pytest.approx([*all_images, *one, *(n + 2 for n in all_images), *one])
    groups = [text.get_text() for text in ours.get_xticklabels()]
    assert groups[:2] == ["RN50\nall images", "RN50\none image"]
    shown = [to_hex(bar.get_facecolor()).upper() for bar in ours.patches[:4]]
    assert shown == [*COLOURS.values()]
    assert [bar.get_height() for bar in paper.patches[:4]] == [38.95, 18.38, 31.31, 11.36]


def test_a_further_method_that_learns_weights_has_bars_where_it_has_rows(
    tree: Any, soft_choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(KNOWN[soft_choice]), "needs_net", True)
    rows = everything(tree, [LAMBDA])
    tree.run("a", [*rows, *(row | {"method": soft_choice} for row in rows)], task="clip")
    figure = build_figure(tree, "figure12")
    lines = block(figure)
    assert list(lines) == ["RN50", "RN50, soft choice", "RN101"]
    assert lines["RN50, soft choice"] == (*lines["RN50"][:6], *ABSENT)
    names = [text.get_text() for text in drawn(figure).axes[0].get_xticklabels()]
    kinds = ("all images", "one image")
    assert names == [f"{name}\n{kind}" for name in ("RN50", "RN50\nsoft\nchoice") for kind in kinds]


def test_the_views_of_the_image_are_shown_where_it_is_at_hand(tree: Any) -> None:
    folder = tree.run("a", everything(tree, [LAMBDA]), task="clip").parent
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(folder / "shown.png")
    one = drawn(build_figure(tree, "figure12")).axes[0]
    pictures = [np.asarray(place.get_images()[0].get_array()) for place in one.child_axes]
    assert len(pictures) == 4
    assert all((np.rot90(pixels, k) == found).all() for k, found in enumerate(pictures))
