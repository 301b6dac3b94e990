"""The CLIP task: Figure 12 from synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from omegaconf import OmegaConf
from PIL import Image

from report.artefacts.clip.common import DRAWN, MODELS, OURS
from report.artefacts.clip.lambdas import COLOURS, PRESET
from report.figures import Figure
from tests.report.conftest import build_figure, drawn, lines_of

CONF = Path(__file__).resolve().parents[2] / "conf"
DASH = "\N{EN DASH}"
COMMAND = "python run.py experiment=figure12"
SHARES = (40.0, 20.0, 25.0, 15.0)


def build(tree: Any, **options: Any) -> Figure:
    """The artefact as the program builds it."""
    return build_figure(tree, "figure12", **options)


def block(figure: Figure, title: str) -> dict[str, tuple[str, ...]]:
    """The lines of the one block with this title, by their model."""
    return {name: line for (name,), line in lines_of(figure.digest, title, 1).items()}


def weighed(tree: Any, seeds: int = 1, **changes: Any) -> list[Any]:
    """Rows of one run per seed, whose shares are apart by a point in upright and half turn."""
    common = {
        **{"task": "clip", "dataset": "cifar100", "model": "RN50", "group": "rot90"},
        **{"method": "lambda_equitune", "transform": "rot90"},
    } | changes
    rows = []
    for end, half in (("", 0.0), ("_low", -0.5), ("_high", 0.5)):
        for view, share in enumerate(SHARES):
            sign = {0: 1, 2: -1}.get(view, 0)
            values = [share + half + sign * seed for seed in range(seeds)]
            rows += tree.rows(values, metric=f"lambda_share{end}", view=view, **common)
        values = [70.0 + half] * seeds
        rows += tree.rows(values, metric=f"lambda_highest_upright{end}", **common)
        rows += tree.rows([55.0] * seeds, metric=f"top1_accuracy{end}", **common)
    for view, share in enumerate(reversed(SHARES)):
        values = [share + seed for seed in range(seeds)]
        rows += tree.rows(values, metric="lambda_share_shown", view=view, **common)
    return rows


def test_shares_stand_beside_the_papers_which_are_turned_the_other_way(tree: Any) -> None:
    tree.measured(weighed(tree), task="clip")
    figure = build(tree)
    assert figure.digest.headers[:3] == ("model", "ours: upright", "ours: by 90")
    lines = block(figure, "scale=paper, protocol=paper, dataset=cifar100")
    assert lines["RN50"] == (
        *(f"40.0 ({DASH}) [39.5, 40.5]", f"20.0 ({DASH}) [19.5, 20.5]"),
        *(f"25.0 ({DASH}) [24.5, 25.5]", f"15.0 ({DASH}) [14.5, 15.5]"),
        *(f"70.0 ({DASH}) [69.5, 70.5]", "1"),
        # Its whole turn, its 270, its 180, its 90.
        *("38.95", "18.38", "31.31", "11.36"),
    )
    assert lines["RN101"] == (*["missing"] * 5, "0", "29.78", "26.36", "23.14", "20.71")
    assert figure.digest.commands == (f"{COMMAND} scale=paper model=RN101",)
    notes = " ".join(figure.digest.notes)
    for words in ("one image", "not divided by its sum", "all upright test images", "clockwise"):
        assert words in notes


def test_without_rows_nothing_is_drawn_and_all_is_missing(tree: Any, tmp_path: Path) -> None:
    figure = build(tree, scales=("paper", "demo"))
    assert figure.rows == ()
    assert figure.digest.commands == (
        f"{COMMAND} scale=paper",
        f"{COMMAND} scale=demo dataset={DRAWN} model={OURS}",
    )
    assert {path.suffix for path in figure.write(tmp_path)} == {".csv", ".md", ".tex"}


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "training=image_encoder"},
        {"variant": "lambda_net.depth=3"},
        {"group": "dihedral"},
        {"transform": "none"},
        {"method": "equizero"},
        {"dataset": DRAWN},
        {"scale": "demo"},
    ],
)
def test_other_rows_do_not_count(tree: Any, changes: dict[str, str]) -> None:
    tree.run("a", weighed(tree, **changes), task="clip")
    assert build(tree).rows == ()


def test_seeds_have_a_spread_and_other_models_a_line(tree: Any) -> None:
    tree.run(
        "a", [*weighed(tree, model=OURS, seeds=3), *weighed(tree, model="ViT-B-16")], task="clip"
    )
    lines = block(build(tree), "scale=paper, protocol=paper, dataset=cifar100")
    assert list(lines) == ["RN50", "RN101", "ViT-B-16", OURS]
    assert lines[OURS][:2] == ("41.0 (1.0) [40.5, 41.5]", "20.0 (0.0) [19.5, 20.5]")
    assert lines[OURS][5:] == ("3", *["not reported"] * 4)
    assert lines["ViT-B-16"][-4:] == ("25.76", "26.29", "30.75", "17.2")


def test_a_demo_is_of_symbols(tree: Any) -> None:
    demo = weighed(tree, model=OURS, scale="demo", dataset=DRAWN)
    tree.run("a", [*demo, *weighed(tree, model="RN101")], task="clip")
    figure = build(tree, scales=("demo",))
    assert list(block(figure, f"scale=demo, protocol=paper, dataset={DRAWN}")) == [OURS]
    assert figure.digest.commands == ()
    assert {line[3] for line in figure.rows if line[1] != "reported"} == {OURS}


def test_bars_are_shares_and_the_papers_image_has_a_panel(tree: Any) -> None:
    rows = [*weighed(tree), *weighed(tree, model=OURS, seeds=3)]
    demo = weighed(tree, model=OURS, scale="demo", dataset=DRAWN)
    tree.run("a", [*rows, *weighed(tree, model=OURS, protocol="reference"), *demo], task="clip")
    figure = build(tree, scales=("paper", "demo"))
    names = ("paper", "paper", "cifar100", OURS, "by 180")
    assert (*names, "24.0", "1.0", "23.5", "24.5", "3") in figure.rows
    assert ("paper", "reported", "cifar100", "RN50", "by 270", "11.36", *[""] * 4) in figure.rows
    assert (*names[:-1], "by 180, one image", "20.0", "", "", "", "1") in figure.rows
    assert len(figure.rows) == 2 * 4 * (2 + 1 + 1) + 4 * len(MODELS)
    drawing = drawn(figure)
    assert [axes.get_title() for axes in drawing.axes] == [
        "all test images, cifar100\nprotocol reference, scale paper",
        "one test image, cifar100\nfirst seed",
        "the paper's, cifar100\none image",
        "all test images, cifar100\nprotocol paper, scale paper",
        "one test image, cifar100\nfirst seed",
        f"all test images, {DRAWN}\nprotocol paper, scale demo",
        f"one test image, {DRAWN}\nfirst seed",
    ]
    paper, ours, one = drawing.axes[2:5]
    assert [bar.get_height() for bar in one.patches[:4]] == [*reversed(SHARES)]
    heights = [bar.get_height() for bar in ours.patches]
    assert heights == pytest.approx([*SHARES, 41.0, 20.0, 24.0, 15.0])
    colours = [to_hex(bar.get_facecolor()).upper() for bar in ours.patches[:4]]
    assert colours == [*COLOURS.values()]
    assert [bar.get_height() for bar in paper.patches[:4]] == [38.95, 18.38, 31.31, 11.36]
    assert [text.get_text() for text in paper.get_xticklabels()] == [*MODELS]
    [legend] = drawing.legends
    width, height = drawing.canvas.get_width_height()
    for box in [legend.get_window_extent(), *(axes.get_tightbbox() for axes in drawing.axes)]:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_the_views_of_the_image_are_shown_where_it_is_at_hand(tree: Any) -> None:
    folder = tree.run("a", weighed(tree), task="clip").parent
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(folder / "shown.png")
    one = drawn(build(tree)).axes[1]
    pictures = [np.asarray(place.get_images()[0].get_array()) for place in one.child_axes]
    assert len(pictures) == 4
    assert all((np.rot90(pixels, k) == found).all() for k, found in enumerate(pictures))


def test_the_preset_is_what_the_figure_expects() -> None:
    preset = OmegaConf.load(CONF / "experiment" / "figure12.yaml")
    assert {"override /dataset": PRESET.dataset} in preset.defaults
    params = preset.hydra.sweeper.params
    assert tuple(params.model.split(",")) == PRESET.models
    assert params.method == "lambda_equitune" and str(params.seed) == PRESET.seeds
