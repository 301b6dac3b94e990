"""The CLIP task: Figures 4, 7 and 8 from synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from omegaconf import OmegaConf

from report.artefacts.clip.common import DRAWN, MODELS, OURS, PROTOCOL
from report.artefacts.clip.figures import BAR_COLOURS, STUDIES, Way
from report.figures import Figure
from tests.report.conftest import build_figure, drawn, lines_of

CONF = Path(__file__).resolve().parents[2] / "conf"
DASH = "\N{EN DASH}"
COMMAND = "python run.py experiment="
ABSENT = ("not reported",) * 3
# Accuracy of each bar; pretrained on upright images is better than on any others.
HEIGHTS = {
    **{("pretrained", "none"): 50.0, ("pretrained", "rot180"): 40.0, ("pretrained", "rot90"): 35.0},
    **{("equitune", "rot180"): 44.0, ("equitune", "rot90"): 42.0},
    **{("equizero", "rot180"): 48.0, ("equizero", "rot90"): 47.0},
    **{("lambda_equitune", "rot180"): 46.0, ("lambda_equitune", "rot90"): 45.0},
}
METHODS = ("pretrained", "equitune", "equizero")


def build(tree: Any, name: str, **options: Any) -> Figure:
    """The artefact as the program builds it."""
    return build_figure(tree, name, **options)


def block(figure: Figure, title: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The lines of the one block with this title, by their model and method."""
    return lines_of(figure.digest, title, 2)


def evaluated(
    tree: Any, method: str, transform: str, seeds: int = 1, higher: float = 0.0, **changes: Any
) -> list[Any]:
    """Rows of one run per seed: on upright images, on all, and on those of each element."""
    common = {
        **{"task": "clip", "dataset": "cifar100", "model": "RN50", "method": method},
        **{"group": "trivial" if method == "pretrained" else transform},
    } | changes
    upright = HEIGHTS["pretrained", "none"] if method == "pretrained" else 49.0
    rows = []
    for place, base, view in (
        ("none", upright, ""),
        (transform, HEIGHTS[method, transform], ""),
        (transform, 99.0, "0"),
    ):
        columns = {"transform": place, "view": view} | common
        for end, half in (("", 0.0), ("_low", -1.0), ("_high", 1.0)):
            values = [base + higher + half + 2 * seed for seed in range(seeds)]
            rows += tree.rows(values, metric=f"top1_accuracy{end}", **columns)
    return rows


def everything(tree: Any, methods: tuple[str, ...] = METHODS, **changes: Any) -> list[Any]:
    """Rows of both groups."""
    return [
        row
        for method in methods
        for transform in ("rot90", "rot180")
        for row in evaluated(tree, method, transform, **changes)
    ]


def test_the_numbers_stand_beside_the_papers_whose_flip_is_rot180(tree: Any) -> None:
    tree.measured(everything(tree, dataset="imagenet_v2"), task="clip")
    figure = build(tree, "figure4")
    assert figure.digest.headers == (
        *("model", "method", "ours: upright", "ours: rot180", "ours: rot90", "ours: n"),
        *("paper reports: upright", "paper reports: rot180", "paper reports: rot90"),
    )
    lines = block(figure, "scale=paper, protocol=paper, dataset=imagenet_v2")
    assert lines["RN50", "pretrained"] == (
        *(f"50.0 ({DASH}) [49.0, 51.0]", f"40.0 ({DASH}) [39.0, 41.0]"),
        *(f"35.0 ({DASH}) [34.0, 36.0]", "1", "52.84", "42.91", "39.61"),
    )
    assert lines["RN50", "equizero"] == (
        *(DASH, f"48.0 ({DASH}) [47.0, 49.0]", f"47.0 ({DASH}) [46.0, 48.0]", "1"),
        *(DASH, "51.63", "50.74"),
    )
    missing = ("missing",) * 2
    assert lines["ViT-B-16", "equitune"] == (DASH, *missing, "0", DASH, "59.64", "58.54")
    assert list(lines) == [(model, method) for model in MODELS for method in METHODS]
    assert figure.digest.commands == (
        f"{COMMAND}figure4 scale=paper model=RN101,ViT-B-32,ViT-B-16",
    )
    notes = " ".join(figure.digest.notes)
    assert 'rot180: the "flip" of the paper' in notes and "180 degrees" in notes


def test_each_figure_has_the_papers_bars(tree: Any) -> None:
    title = "scale=paper, protocol=paper, dataset=cifar100"
    seven, eight = (block(build(tree, name), title) for name in ("figure7", "figure8"))
    assert {names: cells[-3:] for names, cells in seven.items()}["ViT-B-32", "pretrained"] == (
        *("65.02", "49.76", "43.91"),
    )
    assert list(seven) == [(model, "pretrained") for model in MODELS]
    assert eight["RN101", "equitune"][-2:] == ("42.89", "34.02")
    assert list(eight) == [(model, method) for model in MODELS for method in METHODS]


def test_without_rows_nothing_is_drawn_and_all_is_missing(tree: Any, tmp_path: Path) -> None:
    for name in STUDIES:
        figure = build(tree, name, scales=("paper", "demo"))
        assert figure.rows == ()
        assert figure.digest.commands == (
            f"{COMMAND}{name} scale=paper",
            f"{COMMAND}{name} scale=demo dataset={DRAWN} model={OURS}",
        )
        assert {path.suffix for path in figure.write(tmp_path)} == {".csv", ".md", ".tex"}


def test_upright_rows_of_two_runs_count_once_and_must_agree(tree: Any) -> None:
    tree.run("a", evaluated(tree, "pretrained", "rot90"), task="clip")
    tree.run("b", evaluated(tree, "pretrained", "rot180"), task="clip")
    lines = block(build(tree, "figure7"), "scale=paper, protocol=paper, dataset=cifar100")
    assert lines["RN50", "pretrained"][:4] == (
        *(f"50.0 ({DASH}) [49.0, 51.0]", f"40.0 ({DASH}) [39.0, 41.0]"),
        *(f"35.0 ({DASH}) [34.0, 36.0]", "1"),
    )
    tree.run("b", evaluated(tree, "pretrained", "rot180", higher=1.0), task="clip")
    with pytest.raises(ValueError, match="contradicts"):
        build(tree, "figure7")


def test_our_model_has_seeds_and_stands_last(tree: Any) -> None:
    rows = everything(tree, model=OURS, seeds=3)
    tree.run("a", [*rows, *everything(tree), *everything(tree, model="AnyCLIP")], task="clip")
    figure = build(tree, "figure8")
    lines = block(figure, "scale=paper, protocol=paper, dataset=cifar100")
    assert [*dict.fromkeys(model for model, _ in lines)] == [*MODELS, OURS, "AnyCLIP"]
    assert lines[OURS, "equitune"] == (
        *("46.0 (2.0) [45.0, 47.0]", "44.0 (2.0) [43.0, 45.0]", "3", *ABSENT[:2]),
    )
    partial = [row for row in rows if row["method"] != "equizero"]
    tree.run("a", partial, task="clip")
    assert build(tree, "figure8").digest.commands == (
        f"{COMMAND}figure8 scale=paper",
        f"{COMMAND}figure8 scale=paper model={OURS} seed=0,1,2",
    )


def test_lambda_is_shown_where_it_has_rows(tree: Any) -> None:
    rows = everything(tree, (*METHODS, "lambda_equitune"), model="RN50")
    tree.run("a", [*rows, *everything(tree, model="RN101")], task="clip")
    figure = build(tree, "figure8")
    lines = block(figure, "scale=paper, protocol=paper, dataset=cifar100")
    assert lines["RN50", "lambda_equitune"] == (
        *(f"46.0 ({DASH}) [45.0, 47.0]", f"45.0 ({DASH}) [44.0, 46.0]", "1", *ABSENT[:2]),
    )
    assert ("RN101", "lambda_equitune") not in lines
    [legend] = drawn(figure).legends
    assert "lambda_equitune (ours)" in [text.get_text() for text in legend.get_texts()]
    assert not any("lambda" in line[5] for line in build(tree, "figure7").rows)


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "training=image_encoder"},
        {"variant": "max_images=100"},
        {"variant": "pretrain.epochs=5"},
        {"variant": "checkpoint=2d711642"},
        {"group": "dihedral"},
        {"dataset": DRAWN},
        {"scale": "demo"},
        {"task": "cnn"},
    ],
)
def test_other_rows_do_not_count(tree: Any, changes: dict[str, str]) -> None:
    tree.run("a", everything(tree, **changes), task="clip")
    assert build(tree, "figure8").rows == ()


def test_a_demo_is_of_symbols_and_has_no_paper_beside_it(tree: Any) -> None:
    demo = {"scale": "demo", "dataset": DRAWN}
    rows = [*everything(tree, model=OURS, **demo), *everything(tree, **demo)]
    tree.run("a", [*rows, *everything(tree)], task="clip")
    both = build(tree, "figure8", scales=("paper", "demo"))
    titles = [f"scale=paper, protocol=paper, dataset={name}" for name in ("cifar100", DRAWN)]
    assert [block.title for block in both.digest.blocks] == [
        titles[0],
        titles[1].replace("paper", "demo", 1),
    ]
    lines = block(both, titles[1].replace("paper", "demo", 1))
    assert {model for model, _ in lines} == {"RN50", OURS}
    assert lines["RN50", "equizero"][-2:] == ABSENT[:2]
    papers = [line for line in both.rows if line[1] == "reported"]
    assert {line[2] for line in papers} == {"cifar100"} and len(papers) == 6
    assert [line for line in both.rows if line[0] == "demo" and line[2] != DRAWN] == []


def test_a_protocol_has_panels_of_the_models_with_rows(tree: Any) -> None:
    rows = everything(tree, model=OURS, protocol="reference", methods=METHODS[:2])
    tree.run("a", rows, task="clip")
    figure = build(tree, "figure8")
    assert [block.labels["protocol"] for block in figure.digest.blocks] == ["reference", "paper"]
    lines = block(figure, "scale=paper, protocol=reference, dataset=cifar100")
    assert {model for model, _ in lines} == {OURS}
    assert lines[OURS, "equizero"][:3] == ("missing", "missing", "0")
    assert figure.digest.commands == (
        f"{COMMAND}figure8 scale=paper protocol=reference model={OURS} seed=0,1,2",
        f"{COMMAND}figure8 scale=paper",
    )
    assert [axes.get_title() for axes in drawn(figure).axes] == [
        "a: rot90, cifar100\nprotocol reference",
        "b: rot180, cifar100\nprotocol reference",
    ]


def test_the_csv_has_every_bar_and_the_papers_number_of_it(tree: Any) -> None:
    tree.run("a", [*everything(tree), *everything(tree, model=OURS, seeds=3)], task="clip")
    figure = build(tree, "figure8")
    assert figure.headers == (
        *("scale", "protocol", "dataset", "model", "group", "method", "transform"),
        *("mean", "spread", "low", "high", "n"),
    )
    names = ("cifar100", "RN50", "rot180", "equizero", "rot180")
    assert ("paper", "paper", *names, "48.0", "", "47.0", "49.0", "1") in figure.rows
    assert ("paper", "reported", *names, "40.15", "", "", "", "") in figure.rows
    ours = ("cifar100", OURS, "trivial", "pretrained", "rot90")
    assert ("paper", "paper", *ours, "37.0", "2.0", "36.0", "38.0", "3") in figure.rows
    assert len(figure.rows) == 6 + 6 + 6


def test_bars_have_their_heights_colours_and_the_papers_markers(tree: Any) -> None:
    one = everything(tree, dataset="imagenet_v2")
    three = everything(tree, dataset="imagenet_v2", model=OURS, seeds=3)
    tree.run("a", [*one, *three], task="clip")
    drawing = drawn(build(tree, "figure4"))
    assert [axes.get_title().split("\n")[0] for axes in drawing.axes] == [
        *("a: pretrained, imagenet_v2", "b: rot90, imagenet_v2", "c: rot180, imagenet_v2"),
    ]
    panel = drawing.axes[1]
    bars = [(bar.get_height(), to_hex(bar.get_facecolor()).upper()) for bar in panel.patches]
    colours = [BAR_COLOURS[Way(method, "rot90").label] for method in METHODS]
    assert bars == [*zip((35.0, 42.0, 47.0, 37.0, 44.0, 49.0), colours * 2, strict=True)]
    assert len(set(BAR_COLOURS.values())) == len(BAR_COLOURS)
    markers = [line for line in panel.lines if line.get_marker() == "D"]
    assert [float(line.get_ydata()[0]) for line in markers] == [39.61, 46.32, 50.74]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in panel.patches]
    assert [float(line.get_xdata()[0]) for line in markers] == pytest.approx(middles[:3])
    # One seed: the interval over images; three: one spread to each side.
    ends = [tuple(lines.get_segments()[0][:, 1]) for lines in panel.collections]
    assert [ends[0], ends[3]] == [pytest.approx((34.0, 36.0)), pytest.approx((35.0, 39.0))]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["RN50", "SmallCLIP\n(ours)"]


def test_panels_share_their_axis_and_nothing_is_cut(tree: Any) -> None:
    rows = [
        row
        for model in (*MODELS, OURS)
        for row in everything(tree, (*METHODS, "lambda_equitune"), model=model)
    ]
    demo = everything(tree, model=OURS, scale="demo", dataset=DRAWN)
    tree.run("a", [*rows, *demo], task="clip")
    for name in ("figure7", "figure8"):
        drawing = drawn(build(tree, name, scales=("paper", "demo")))
        assert len(drawing.axes) == 2 * len(STUDIES[name].panels)
        assert {axes.get_ylim() for axes in drawing.axes} == {(0.0, 70.0)}
        [legend] = drawing.legends
        width, height = drawing.canvas.get_width_height()
        for box in [legend.get_window_extent(), *(axes.get_tightbbox() for axes in drawing.axes)]:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        labels = [text.get_window_extent() for text in drawing.axes[0].get_xticklabels()]
        assert not any(a.overlaps(b) for a in labels for b in labels if a is not b)


def test_files_are_pictures_with_the_same_bytes_twice(tree: Any, tmp_path: Path) -> None:
    tree.measured(everything(tree)[::-1], task="clip")
    first = build(tree, "figure8").write(tmp_path / "a")
    tree.measured(everything(tree), task="clip")
    second = build(tree, "figure8").write(tmp_path / "b")
    assert [path.suffix for path in first] == [".csv", ".md", ".tex", ".png", ".pdf", ".svg"]
    for one, other in zip(first, second, strict=True):
        assert one.stat().st_size > 500 and one.read_bytes() == other.read_bytes(), one.name


def test_presets_have_the_bars_of_the_figures() -> None:
    task = OmegaConf.load(CONF / "task" / "clip.yaml")
    assert {"override /protocol@_global_.protocol": PROTOCOL} in task.defaults
    for name, study in STUDIES.items():
        preset = OmegaConf.load(CONF / "experiment" / f"{name}.yaml")
        assert {"override /dataset": study.preset.dataset} in preset.defaults
        params = preset.hydra.sweeper.params
        assert tuple(params.model.split(",")) == study.preset.models
        assert str(params.seed) == study.preset.seeds and "protocol" not in params
        groups, methods = params.group.split(","), params.method.split(",")
        wanted = {way for way in study.ways if way.method != "lambda_equitune"}
        made = {Way(method, group) for method in methods for group in groups}
        assert wanted - {Way("pretrained", "none")} == made
