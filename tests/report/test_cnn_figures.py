"""The CNN task: Figures 5b and 11b from synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from omegaconf import OmegaConf

from experiments.frame.conf import CONF
from experiments.frame.methods import METHODS, own_group
from report.artefacts.cnn.figures import DATASETS
from report.artefacts.cnn.tables import GROUP, IMAGES, LOSSES
from report.figures import Figure
from report.presets import axes
from report.tables import Block
from tests.report.conftest import assert_fits, build_figure, drawn, lines_of

DASH = "\N{EN DASH}"
MAXIMUM, ENTROPY = ("equizero", "max_probability"), ("equizero", "entropy")
REVERSED = ("equizero", "reversed_max_probability")
# Method and loss, to the accuracy before the first epoch; in the order of the legend.
BASES = {
    **{("lambda_equitune", ""): 80.0, ("equitune", ""): 77.0},
    **{MAXIMUM: 76.0, ENTROPY: 75.0, REVERSED: 60.0, ("pretrained", ""): 65.0},
}
LABELS = [
    *("λ-equitune", "equitune", "equizero (max probability)", "equizero (entropy)"),
    *("equizero (reversed max probability)", "pretrained"),
]
OTHERS = ("missing", "missing", "missing", "missing", "missing", "0")
BOTH = ("paper", "reference")


def build(tree: Any, name: str = "figure5b", **options: Any) -> Figure:
    return build_figure(tree, name, **options)


def block(figure: Figure, **labels: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The lines of a block, by their method and loss."""
    place = {"scale": "paper", "protocol": "paper", "model": "ResNet20"} | labels
    return lines_of(figure.digest, Block(place, ()).title, 2)


def probed(
    tree: Any, way: tuple[str, str], base: float, seeds: int = 3, **changes: Any
) -> list[Any]:
    """Rows of an evaluation: seeds one point apart, half a point more after each epoch."""
    (method, loss), protocol = way, changes.get("protocol", "paper")
    common = {
        **{"task": "cnn", "dataset": "cifar10", "model": "ResNet20", "transform": "rot90"},
        **{"method": method, "group": own_group(method, GROUP)},
        "split": IMAGES[protocol].split()[0],
        "variant": "" if loss in ("", LOSSES[protocol]) else f"loss={loss}",
    } | changes
    accuracy = common | {"metric": "top1_accuracy"}
    values = [base + seed for seed in range(seeds)]
    return [
        *(
            row
            for step in range(1, 11)
            for row in tree.rows([value + step / 2 for value in values], step=step, **accuracy)
        ),
        *tree.rows([value + 4.0 for value in values], **accuracy),
        *tree.rows([value + 3.0 for value in values], **accuracy | {"metric": "top1_accuracy_low"}),
        *tree.rows([8 + seed % 2 for seed in range(seeds)], **common, metric="selected_epoch"),
    ]


def everything(tree: Any, **changes: Any) -> list[Any]:
    """Rows of all curves."""
    return [row for way in BASES for row in probed(tree, way, BASES[way], **changes)]


def test_the_numbers_stand_beside_the_papers(tree: Any) -> None:
    tree.measured(everything(tree), task="cnn")
    figure = build(tree)
    assert figure.digest.headers == (
        *("method", "loss", "ours: epoch 1", "ours: epoch 5", "ours: epoch 10"),
        *("ours: selected", "ours: which epoch", "ours: n"),
        *("paper reports: epoch 1", "paper reports: epoch 10"),
    )
    lines = block(figure)
    ours = ("81.5 (1.0)", "83.5 (1.0)", "86.0 (1.0)", "85.0 (1.0)", f"8{DASH}9", "3")
    assert lines["lambda_equitune", ""] == (*ours, "76.9", "79.9")
    assert lines["equizero", "max probability"][0] == "77.5 (1.0)"
    assert lines["pretrained", ""][3] == "70.0 (1.0)"
    # The other protocol is missing.
    other = block(figure, protocol="reference")
    assert other["equitune", ""] == (*OTHERS, "74.2", "77.1")
    command = "python run.py experiment=figure5b protocol=reference scale=paper"
    assert figure.digest.commands == (command,)
    # The CSV has every point, and the paper's.
    assert figure.headers == (
        *("scale", "protocol", "model", "method", "loss", "epoch", "mean", "spread", "n"),
    )
    assert figure.rows[39] == ("paper", "paper", "ResNet20", *ENTROPY, "10", "81.0", "1.0", "3")
    reported = ("paper", "reported", "resnet")
    assert (*reported, *REVERSED, "1", "53.2", "", "") in figure.rows
    assert (*reported, *ENTROPY, "10", "63.6", "", "") in figure.rows
    assert len(figure.rows) == 60 + 40


def test_the_papers_swapped_curves_stand_under_what_they_are(tree: Any, tmp_path: Path) -> None:
    for name, model, entropy, reversed_maximum in (
        ("figure5b", "ResNet20", ("61.7", "63.6"), ("53.2", "58.0")),
        ("figure11b", "SmallAlexNet", ("68.8", "72.4"), ("52.6", "53.6")),
    ):
        figure = build(tree, name)
        lines = block(figure, model=model)
        assert [line[-2:] for line in lines.values()][2:] == [
            *(("not reported",) * 2, entropy, reversed_maximum, ("not reported",) * 2)
        ]
        notes = " ".join(figure.digest.notes)
        assert "labels of the paper's figure are swapped" in notes
        assert "to within 0.3 points" in notes
        # AlexNet has no batch norm.
        assert ("batch statistics" in notes) == (name == "figure5b")
        # Without rows nothing is drawn and all is missing.
        assert figure.rows == ()
        assert {path.suffix for path in figure.write(tmp_path)} == {".csv", ".md", ".tex"}
        assert figure.digest.commands == tuple(
            f"python run.py experiment={name} protocol={protocol} scale=paper"
            for protocol in ("reference", "paper")
        )


def test_the_network_with_rows_is_shown_and_named_in_its_command(tree: Any) -> None:
    rows = everything(tree, model="ResNet18")
    tree.run("a", [row for row in rows if row["method"] != "equitune"], task="cnn")
    figure = build(tree)
    lines = block(figure, model="ResNet18")
    assert lines["equitune", ""][:6] == OTHERS
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
    rows = probed(tree, REVERSED, 60.0, variant="", protocol="reference")
    tree.run("a", rows, task="cnn")
    lines = block(build(tree), protocol="reference")
    assert lines["equizero", "reversed"][0] == "61.5 (1.0)"
    assert lines["equizero", "max probability"][0] == "missing"
    for protocol, loss in LOSSES.items():
        conf = OmegaConf.load(CONF / "task_protocol" / f"cnn_{protocol}.yaml").task
        assert conf.loss == loss and IMAGES[protocol].startswith(conf.evaluate_on)


def test_a_demo_is_of_symbols_and_one_seed_has_no_spread(tree: Any) -> None:
    demo = {"scale": "demo", "dataset": DATASETS["demo"]}
    tree.run("a", probed(tree, ("lambda_equitune", ""), 80.0, seeds=1, **demo), task="cnn")
    figure = build(tree, scales=("demo",))
    lines = block(figure, scale="demo")
    assert lines["lambda_equitune", ""][3:6] == (f"84.0 ({DASH})", "8", "1")
    assert figure.digest.commands[1] == (
        "python run.py experiment=figure5b protocol=paper scale=demo dataset=symbols"
    )


def test_a_further_method_is_shown_where_it_has_rows(tree: Any, soft_choice: str) -> None:
    tree.run("a", everything(tree), task="cnn")
    before = build(tree)
    tree.run("b", probed(tree, (soft_choice, "entropy"), 50.0), task="cnn")
    figure = build(tree)
    assert figure.digest.commands == before.digest.commands
    lines = block(figure)
    assert [*lines][-1] == (soft_choice, "entropy")
    assert len(block(figure, protocol="reference")) == len(BASES)
    drawing = drawn(figure)
    [legend] = drawing.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [*LABELS, f"{METHODS[soft_choice].label} (entropy)"]
    assert to_hex(drawing.axes[0].lines[-1].get_color()).upper() == METHODS[soft_choice].colour


def test_a_protocol_has_a_column_and_all_share_their_axis(tree: Any) -> None:
    rows = [row for protocol in BOTH for row in everything(tree, protocol=protocol)]
    tree.run("a", [*rows, *everything(tree, model="ResNet18")], task="cnn")
    drawing = drawn(build(tree))
    assert [axes.get_title() for axes in drawing.axes] == [
        "ResNet20, training images\nprotocol reference (as the authors' code)",
        "ResNet20, test images\nprotocol paper (as the paper says)",
        "the paper's ResNet, read off its picture\ntraining images",
        "ResNet18, test images\nprotocol paper (as the paper says)",
    ]
    places = [axes.get_subplotspec() for axes in drawing.axes]
    assert [place and place.colspan.start for place in places] == [0, 1, 2, 1]
    assert len({axes.get_ylim() for axes in drawing.axes}) == 1
    assert [len(axes.lines) for axes in drawing.axes] == [6, 6, 4, 6]
    entropy, reversed_maximum = drawing.axes[2].lines[2:]
    assert [float(line.get_ydata()[0]) for line in (entropy, reversed_maximum)] == [61.7, 53.2]
    assert list(entropy.get_xdata()) == list(range(1, 11))
    assert entropy.get_color() == drawing.axes[1].lines[3].get_color()
    band = drawing.axes[1].collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((80.5, 87.0))
    [legend] = drawing.legends
    assert [text.get_text() for text in legend.get_texts()] == LABELS


@pytest.mark.parametrize("scales", [("paper",), ("paper", "demo")])
def test_titles_and_legend_fit(tree: Any, scales: tuple[str, ...]) -> None:
    tree.run("a", everything(tree, scale="demo", dataset="symbols"), task="cnn")
    tree.run("b", everything(tree), task="cnn")
    drawing = drawn(build(tree, scales=scales))
    assert len(drawing.axes) == 1 + len(scales)
    assert_fits(drawing)


@pytest.mark.parametrize("name", ["figure5b", "figure11b"])
def test_the_presets_have_both_protocols(name: str) -> None:
    assert set(axes(name)["protocol"]) == set(LOSSES) and axes(name)["group"] == (GROUP,)
