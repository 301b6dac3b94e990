"""The CNN task: Figures 5b and 11b from synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from omegaconf import OmegaConf

from experiments.frame.methods import own_group
from report.artefacts.cnn.common import COLOURS, DATASETS, GROUP, IMAGES, LOSSES, STUDIES, WAYS, Way
from report.figures import Figure
from tests.report.conftest import build_figure, drawn, lines_of

CONF = Path(__file__).resolve().parents[2] / "conf"
DASH = "\N{EN DASH}"
BASES = dict(zip(WAYS, (80.0, 77.0, 76.0, 75.0, 60.0, 65.0), strict=True))
MAXIMUM, ENTROPY, REVERSED = WAYS[2:5]
OTHERS = ("missing", "missing", "missing", "missing", "missing", "0")


def build(tree: Any, name: str = "figure5b", **options: Any) -> Figure:
    """The artefact as the program builds it."""
    return build_figure(tree, name, **options)


def block(figure: Figure, title: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The lines of the one block with this title, by their method and loss."""
    return lines_of(figure.digest, title, 2)


def probed(tree: Any, way: Way, base: float, seeds: int = 3, **changes: Any) -> list[Any]:
    """Rows of an evaluation: seeds one point apart, half a point more after each epoch."""
    protocol = changes.get("protocol", "paper")
    default = way.loss in ("", LOSSES[protocol])
    common = {
        **{"task": "cnn", "dataset": "cifar10", "model": "ResNet20", "transform": "rot90"},
        **{
            "method": way.method,
            "group": own_group(way.method, GROUP),
            "split": IMAGES[protocol].split()[0],
        },
        "variant": "" if default else f"loss={way.loss}",
    } | changes
    accuracy = common | {"metric": "top1_accuracy"}
    values = [base + seed for seed in range(seeds)]
    rows = [
        row
        for step in range(1, 11)
        for row in tree.rows([value + step / 2 for value in values], step=step, **accuracy)
    ]
    end = {"metric": "equivariance_error", "transform": "none"}
    return [
        *rows,
        *tree.rows([value + 4.0 for value in values], **accuracy),
        *tree.rows([value + 3.0 for value in values], **accuracy | {"metric": "top1_accuracy_low"}),
        *tree.rows([8 + seed % 2 for seed in range(seeds)], **common, metric="selected_epoch"),
        *tree.rows([1e-6] * seeds, **(common | end)),
    ]


def everything(tree: Any, **changes: Any) -> list[Any]:
    """Rows of all curves."""
    return [row for way in WAYS for row in probed(tree, way, BASES[way], **changes)]


def test_the_numbers_stand_beside_the_papers(tree: Any) -> None:
    tree.measured(everything(tree), task="cnn")
    figure = build(tree)
    assert figure.digest.headers == (
        *("method", "loss", "ours: epoch 1", "ours: epoch 5", "ours: epoch 10"),
        *("ours: selected", "ours: which epoch", "ours: n"),
        *("paper reports: epoch 1", "paper reports: epoch 10"),
    )
    lines = block(figure, "scale=paper, protocol=paper, model=ResNet20")
    assert lines["lambda_equitune", ""] == (
        *("81.5 (1.0)", "83.5 (1.0)", "86.0 (1.0)", "85.0 (1.0)", f"8{DASH}9", "3"),
        *("76.9", "79.9"),
    )
    assert lines["equizero", "max probability"][:6] == (
        *("77.5 (1.0)", "79.5 (1.0)", "82.0 (1.0)", "81.0 (1.0)", f"8{DASH}9", "3"),
    )
    assert lines["pretrained", ""][3] == "70.0 (1.0)"
    # The other protocol is missing.
    other = block(figure, "scale=paper, protocol=reference, model=ResNet20")
    assert other["equitune", ""] == (*OTHERS, "74.2", "77.1")
    command = "python run.py experiment=figure5b protocol=reference scale=paper"
    assert figure.digest.commands == (command,)


def test_the_papers_swapped_curves_stand_under_what_they_are(tree: Any) -> None:
    for name, entropy, reversed_maximum in (
        ("figure5b", ("61.7", "63.6"), ("53.2", "58.0")),
        ("figure11b", ("68.8", "72.4"), ("52.6", "53.6")),
    ):
        figure = build(tree, name)
        model = STUDIES[name].models[0]
        lines = block(figure, f"scale=paper, protocol=paper, model={model}")
        assert list(lines) == [way.cells for way in WAYS]
        assert lines[ENTROPY.cells][-2:] == entropy
        assert lines[REVERSED.cells][-2:] == reversed_maximum
        assert lines[MAXIMUM.cells][-2:] == lines["pretrained", ""][-2:] == ("not reported",) * 2
        notes = " ".join(figure.digest.notes)
        for words in ("labels of the paper's figure are swapped", "least confident", "never run"):
            assert words in notes
        assert "training split" in notes and "to within 0.3 points" in notes
        # AlexNet has no batch norm.
        assert ("batch statistics" in notes) == (name == "figure5b")


def test_without_rows_nothing_is_drawn_and_all_is_missing(tree: Any, tmp_path: Path) -> None:
    figure = build(tree, "figure11b")
    assert figure.rows == ()
    assert figure.digest.commands == tuple(
        f"python run.py experiment=figure11b protocol={protocol} scale=paper"
        for protocol in ("reference", "paper")
    )
    assert {path.suffix for path in figure.write(tmp_path)} == {".csv", ".md", ".tex"}


def test_the_network_with_rows_is_shown_and_named_in_its_command(tree: Any) -> None:
    rows = everything(tree, model="ResNet18")
    tree.run("a", [row for row in rows if row["method"] != "equitune"], task="cnn")
    figure = build(tree)
    assert [block.labels["model"] for block in figure.digest.blocks] == ["ResNet20", "ResNet18"]
    lines = block(figure, "scale=paper, protocol=paper, model=ResNet18")
    assert lines["equitune", ""][:6] == OTHERS
    assert lines[ENTROPY.cells][3] == "80.0 (1.0)"
    assert figure.digest.commands[1] == (
        "python run.py experiment=figure5b protocol=paper scale=paper model=ResNet18"
    )
    tree.run("b", everything(tree), task="cnn")
    assert [block.title[13:] for block in build(tree).digest.blocks] == [
        "protocol=reference, model=ResNet20",
        "protocol=paper, model=ResNet20",
        "protocol=paper, model=ResNet18",
    ]


def test_a_loss_without_label_is_that_of_the_protocol(tree: Any) -> None:
    bare = {"variant": "", "protocol": "reference"}
    tree.run("a", probed(tree, REVERSED, 60.0, **bare), task="cnn")
    lines = block(build(tree), "scale=paper, protocol=reference, model=ResNet20")
    assert lines[REVERSED.cells][0] == "61.5 (1.0)"
    assert lines[MAXIMUM.cells][0] == "missing"
    for protocol, loss in LOSSES.items():
        conf = OmegaConf.load(CONF / "task_protocol" / f"cnn_{protocol}.yaml").task
        assert conf.loss == loss and IMAGES[protocol].startswith(conf.evaluate_on)


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "training=none"},
        {"variant": "probe.epochs=20"},
        {"variant": "loss=entropy, straight_through=identity"},
        {"variant": "selection=last, loss=entropy"},
        {"group": "mirror"},
        {"dataset": "symbols"},
        {"model": "AlexNet"},
        {"transform": "none"},
    ],
)
def test_other_rows_do_not_count(tree: Any, changes: dict[str, str]) -> None:
    tree.run("a", probed(tree, ENTROPY, 70.0, **changes), task="cnn")
    assert build(tree).rows == ()


def test_a_demo_is_of_symbols_and_one_seed_has_no_spread(tree: Any) -> None:
    demo = {"scale": "demo", "dataset": "symbols"}
    tree.run("a", probed(tree, WAYS[0], 80.0, seeds=1, **demo), task="cnn")
    figure = build(tree, scales=("demo",))
    lines = block(figure, "scale=demo, protocol=paper, model=ResNet20")
    assert lines["lambda_equitune", ""][:6] == (
        *(f"80.5 ({DASH})", f"82.5 ({DASH})", f"85.0 ({DASH})", f"84.0 ({DASH})", "8", "1"),
    )
    assert figure.digest.commands[1] == (
        "python run.py experiment=figure5b protocol=paper scale=demo dataset=symbols"
    )


def test_the_csv_has_every_point_and_the_papers(tree: Any) -> None:
    tree.run("a", everything(tree), task="cnn")
    figure = build(tree)
    assert figure.headers == (
        *("scale", "protocol", "model", "method", "loss", "epoch", "mean", "spread", "n"),
    )
    ours = ("paper", "paper", "ResNet20")
    assert figure.rows[0] == (*ours, "lambda_equitune", "", "1", "81.5", "1.0", "3")
    assert figure.rows[39] == (*ours, "equizero", "entropy", "10", "81.0", "1.0", "3")
    paper = ("paper", "reported", "resnet", "equizero")
    assert (*paper, "reversed_max_probability", "1", "53.2", "", "") in figure.rows
    assert (*paper, "entropy", "10", "63.6", "", "") in figure.rows
    assert len(figure.rows) == 60 + 40


def test_panels_share_their_axis_and_have_a_legend_inside(tree: Any) -> None:
    both = ("paper", "reference")
    rows = [row for protocol in both for row in everything(tree, protocol=protocol)]
    tree.run("a", rows, task="cnn")
    drawing = drawn(build(tree))
    assert [axes.get_title() for axes in drawing.axes] == [
        "ResNet20, protocol reference\ntraining images",
        "ResNet20, protocol paper\ntest images",
        "the paper's resnet\ntraining images, labels put right",
    ]
    assert len({axes.get_ylim() for axes in drawing.axes}) == 1
    low, high = drawing.axes[0].get_ylim()
    assert low < 53.2 and high > 87.0
    assert [len(axes.lines) for axes in drawing.axes] == [6, 6, 4]
    entropy, reversed_maximum = drawing.axes[2].lines[2:]
    assert [float(line.get_ydata()[0]) for line in (entropy, reversed_maximum)] == [61.7, 53.2]
    assert to_hex(entropy.get_color()).upper() == COLOURS["equizero (entropy)"]
    assert list(entropy.get_xdata()) == list(range(1, 11))
    band = drawing.axes[1].collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((80.5, 87.0))
    [legend] = drawing.legends
    assert [text.get_text() for text in legend.get_texts()] == list(COLOURS)
    width, height = drawing.canvas.get_width_height()
    for box in [legend.get_window_extent(), *(axes.get_tightbbox() for axes in drawing.axes)]:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_a_protocol_has_a_column(tree: Any) -> None:
    both = ("paper", "reference")
    rows = [row for protocol in both for row in everything(tree, protocol=protocol)]
    tree.run("a", [*rows, *everything(tree, model="ResNet18")], task="cnn")
    drawing = drawn(build(tree))
    assert drawing.axes[3].get_title() == "ResNet18, protocol paper\ntest images"
    places = [axes.get_subplotspec() for axes in drawing.axes]
    assert [place and place.colspan.start for place in places] == [0, 1, 2, 1]


def test_two_scales_and_a_narrow_figure_fit(tree: Any) -> None:
    tree.run("a", everything(tree, scale="demo", dataset="symbols"), task="cnn")
    tree.run("b", everything(tree), task="cnn")
    for options in ({}, {"scales": ("paper", "demo")}):
        drawing = drawn(build(tree, **options))
        assert len(drawing.axes) == 2 + len(options)
        width, _ = drawing.canvas.get_width_height()
        titles = [axes.title.get_window_extent() for axes in drawing.axes]
        for box in [*titles, *(each.get_window_extent() for each in drawing.legends)]:
            assert box.x0 >= 0 and box.x1 <= width
        assert not any(a.overlaps(b) for a in titles for b in titles if a is not b)


def test_files_are_pictures_with_the_same_bytes_twice(tree: Any, tmp_path: Path) -> None:
    tree.measured(everything(tree)[::-1], task="cnn")
    first = build(tree).write(tmp_path / "a")
    tree.measured(everything(tree), task="cnn")
    second = build(tree).write(tmp_path / "b")
    assert [path.suffix for path in first] == [".csv", ".md", ".tex", ".png", ".pdf", ".svg"]
    for one, other in zip(first, second, strict=True):
        assert one.stat().st_size > 1000 and one.read_bytes() == other.read_bytes(), one.name


def test_presets_have_the_curves_of_the_figures() -> None:
    for name, study in STUDIES.items():
        preset = OmegaConf.load(CONF / "experiment" / f"{name}.yaml")
        assert {"override /model": study.models[0]} in preset.defaults
        assert {"override /dataset": DATASETS["paper"]} in preset.defaults
        params = preset.hydra.sweeper.params
        assert set(params.protocol.split(",")) == set(LOSSES)
        arms = [OmegaConf.load(CONF / "arm" / f"{arm}.yaml") for arm in params.arm.split(",")]
        assert sorted(
            (arm.defaults[0]["override /method"], OmegaConf.select(arm, "task.loss") or "")
            for arm in arms
        ) == sorted(map(tuple, WAYS))
