"""The CLIP task: Figures 5a and 11a from synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from omegaconf import OmegaConf

from report.artefacts.clip.common import COLOURS, DRAWN, MODELS, OURS
from report.artefacts.clip.training import STUDIES, TUNED
from report.figures import Figure
from tests.report.conftest import build_figure, drawn, lines_of

CONF = Path(__file__).resolve().parents[2] / "conf"
DASH = "\N{EN DASH}"
COMMAND = "python run.py experiment="
BASES = dict(zip(TUNED, (30.0, 40.0, 32.0), strict=True))
STEPS = (0, 1000, 2000, 3000, 4000)
TRAINED = "training=image_encoder"
SHORT = {"variant": f"{TRAINED}, finetune.steps=1000, finetune.every=500", "steps": (0, 500, 1000)}
OTHERS = ("missing", "missing", "missing", "missing", "missing", "0")


def build(tree: Any, name: str = "figure5a", **options: Any) -> Figure:
    """The artefact as the program builds it."""
    return build_figure(tree, name, **options)


def block(figure: Figure, title: str) -> dict[str, tuple[str, ...]]:
    """The lines of the one block with this title, by their method."""
    return {name: line for (name,), line in lines_of(figure.digest, title, 1).items()}


def tuned(
    tree: Any, method: str, seeds: int = 1, steps: tuple[int, ...] = STEPS, **changes: Any
) -> list[Any]:
    """Rows of an evaluation: seeds one point apart, two points more at each step."""
    common = {
        **{"task": "clip", "dataset": "cifar100", "model": "RN50", "group": "rot90"},
        **{"method": method, "variant": TRAINED, "transform": "rot90"},
    } | changes
    accuracy = common | {"metric": "top1_accuracy"}
    values = [BASES[method] + seed for seed in range(seeds)]
    rows = [
        row
        for place, step in enumerate(steps)
        for row in tree.rows([value + 2 * place for value in values], step=step, **accuracy)
    ]
    upright = common | {"transform": "none"}
    chosen = [steps[-1 - seed % 2] for seed in range(seeds)]
    return [
        *rows,
        *tree.rows([value + 5.0 for value in values], **accuracy),
        *tree.rows([value + 4.0 for value in values], **accuracy | {"metric": "top1_accuracy_low"}),
        *tree.rows([99.0] * seeds, view=1, **accuracy),
        *tree.rows([98.0] * seeds, **(upright | {"metric": "top1_accuracy"})),
        *tree.rows(chosen, **(upright | {"metric": "selected_step"})),
    ]


def everything(tree: Any, **changes: Any) -> list[Any]:
    """Rows of all curves."""
    return [row for method in TUNED for row in tuned(tree, method, **changes)]


def test_the_numbers_stand_beside_the_papers(tree: Any) -> None:
    tree.measured(everything(tree, seeds=3), task="clip")
    figure = build(tree)
    assert figure.digest.headers == (
        *("method", "ours: start", "ours: end", "ours: after", "ours: selected"),
        *("ours: which step", "ours: n", "paper reports: step 0", "paper reports: step 4000"),
    )
    lines = block(figure, "scale=paper, protocol=paper, model=RN50, variant=none")
    assert lines["equitune"] == (
        *("31.0 (1.0)", "39.0 (1.0)", "4000", "36.0 (1.0)", f"3000{DASH}4000", "3"),
        *("28.35", "34.01"),
    )
    assert lines["lambda_equitune"][-2:] == ("31.38", "46.54")
    other = block(figure, "scale=paper, protocol=paper, model=RN101, variant=none")
    assert other["equizero"] == (*OTHERS, "45.96", "46.64")
    assert figure.digest.commands == (f"{COMMAND}figure5a scale=paper model=RN101",)


def test_without_rows_nothing_is_drawn_and_all_is_missing(tree: Any, tmp_path: Path) -> None:
    five, eleven = (build(tree, name, scales=("paper", "demo")) for name in STUDIES)
    assert five.rows == eleven.rows == ()
    assert five.digest.commands == (
        f"{COMMAND}figure5a scale=paper",
        f"{COMMAND}figure5a scale=demo dataset={DRAWN} model={OURS}",
    )
    assert eleven.digest.commands == (
        f"{COMMAND}figure11a scale=paper",
        f"{COMMAND}figure11a scale=demo dataset={DRAWN}",
    )
    assert [block.labels["model"] for block in eleven.digest.blocks] == [*MODELS[2:]] * 2
    assert {path.suffix for path in five.write(tmp_path)} == {".csv", ".md", ".tex"}
    assert OURS in " ".join(five.digest.notes) and OURS not in " ".join(eleven.digest.notes)


def test_another_recipe_of_fine_tuning_has_a_block_a_panel_and_a_command(tree: Any) -> None:
    rows = everything(tree, model=OURS, seeds=2, **SHORT)
    tree.run("a", [row for row in rows if row["method"] != "equizero"], task="clip")
    figure = build(tree)
    recipe = "finetune.steps=1000, finetune.every=500"
    lines = block(figure, f"scale=paper, protocol=paper, model={OURS}, variant={recipe}")
    assert lines["equitune"][:4] == ("30.5 (0.7)", "34.5 (0.7)", "1000", "35.5 (0.7)")
    assert lines["equizero"] == (*OTHERS, "not reported", "not reported")
    assert figure.digest.commands == (
        f"{COMMAND}figure5a scale=paper",
        f"{COMMAND}figure5a scale=paper model={OURS} seed=0,1,2 "
        "task.finetune.steps=1000 task.finetune.every=500",
    )
    assert [axes.get_title() for axes in drawn(figure).axes] == [
        f"{OURS} (ours), cifar100\nprotocol paper\n{recipe}",
        *(f"the paper's {model}\ncifar100" for model in MODELS[:2]),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": ""},
        {"variant": f"{TRAINED}, draw=image"},
        {"variant": f"{TRAINED}, finetune.steps=10, pretrain.epochs=5"},
        {"variant": f"{TRAINED}, straight_through=identity"},
        {"variant": f"draw=image, {TRAINED}"},
        {"group": "rot180"},
        {"transform": "rot180"},
        {"dataset": DRAWN},
        {"scale": "demo"},
        {"model": "ViT-B-32"},
    ],
)
def test_other_rows_do_not_count(tree: Any, changes: dict[str, str]) -> None:
    tree.run("a", everything(tree, **changes), task="clip")
    assert build(tree).rows == ()


def test_a_demo_is_of_symbols_and_one_seed_has_no_spread(tree: Any) -> None:
    demo = everything(tree, model=OURS, scale="demo", dataset=DRAWN, steps=(0, 50, 100))
    tree.run("a", [*demo, *everything(tree)], task="clip")
    figure = build(tree, scales=("paper", "demo"))
    lines = block(figure, f"scale=demo, protocol=paper, model={OURS}, variant=none")
    assert lines["equizero"] == (
        *(f"40.0 ({DASH})", f"44.0 ({DASH})", "100", f"45.0 ({DASH})", "100", "1"),
        *("not reported", "not reported"),
    )
    assert {line[2] for line in figure.rows if line[0] == "demo"} == {OURS}
    assert build(tree, scales=("demo",)).digest.commands == ()


def test_a_training_that_diverged_is_named(tree: Any) -> None:
    rows = everything(tree, steps=(0, 1000))
    changes = {"metric": "diverged_step", "split": "train", "step": "", "transform": "none"}
    ended = rows[0] | changes | {"value": "1503"}
    tree.run("a", [*rows, ended], task="clip")
    figure = build(tree)
    assert figure.digest.notes[-1] == (
        "the training diverged, and the curve ends before: RN50 equitune (protocol paper, "
        "scale paper, seed 0) in step 1503"
    )
    lines = block(figure, "scale=paper, protocol=paper, model=RN50, variant=none")
    assert lines["equitune"][2] == "1000"


def test_the_csv_has_every_point_and_the_papers(tree: Any) -> None:
    tree.run("a", everything(tree, seeds=2), task="clip")
    tree.run("b", everything(tree, model=OURS, **SHORT), task="clip")
    figure = build(tree)
    assert figure.headers == (
        *("scale", "protocol", "model", "variant", "method", "step", "mean", "spread", "n"),
    )
    assert figure.rows[0][:8] == (
        *("paper", "paper", "RN50", "", "equitune", "0", "30.5", repr(0.5**0.5)),
    )
    short = SHORT["variant"].removeprefix(f"{TRAINED}, ")
    assert ("paper", "paper", OURS, short, "equizero", "500", "42.0", "", "1") in figure.rows
    names = ("paper", "reported", "RN101", "", "lambda_equitune")
    assert (*names, "4000", "49.06", "", "") in figure.rows
    assert len(figure.rows) == 15 + 9 + 30


def test_each_model_has_the_papers_curves_beside_it(tree: Any) -> None:
    both = ("paper", "reference")
    rows = [row for name in both for row in everything(tree, seeds=3, protocol=name)]
    more = [*everything(tree, model="RN101"), *everything(tree, model=OURS, **SHORT)]
    tree.run("a", [*rows, *more], task="clip")
    drawing = drawn(build(tree))
    places = [
        (each.rowspan.start, each.colspan.start)
        for each in (axes.get_subplotspec() for axes in drawing.axes)
        if each is not None
    ]
    titles = [axes.get_title().split("\n")[0] for axes in drawing.axes]
    assert dict(zip(places, titles, strict=True)) == {
        **{(0, 0): "RN50, cifar100", (0, 1): "RN50, cifar100", (0, 2): "the paper's RN50"},
        **{(1, 1): "RN101, cifar100", (1, 2): "the paper's RN101"},
        (2, 1): f"{OURS} (ours), cifar100",
    }
    assert len({axes.get_ylim() for axes in drawing.axes}) == 1
    ours, paper = drawing.axes[0], drawing.axes[2]
    assert [to_hex(line.get_color()).upper() for line in ours.lines] == [
        COLOURS[method] for method in TUNED
    ]
    assert [*paper.lines[2].get_ydata()] == [31.38, 34.07, 40.42, 44.18, 46.54]
    assert [*paper.lines[2].get_xdata()] == [*STEPS]
    band = ours.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((30.0, 40.0))
    [legend] = drawing.legends
    assert [text.get_text() for text in legend.get_texts()] == [*TUNED]
    width, height = drawing.canvas.get_width_height()
    for box in [legend.get_window_extent(), *(axes.get_tightbbox() for axes in drawing.axes)]:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    heads = [axes.title.get_window_extent() for axes in drawing.axes]
    assert not any(a.overlaps(b) for a in heads for b in heads if a is not b)


def test_presets_have_the_curves_of_the_figures() -> None:
    for name, study in STUDIES.items():
        preset = OmegaConf.load(CONF / "experiment" / f"{name}.yaml")
        assert {"override /dataset": study.preset.dataset} in preset.defaults
        assert preset.task.training == "image_encoder"
        params = preset.hydra.sweeper.params
        assert tuple(params.model.split(",")) == study.preset.models
        assert tuple(params.method.split(",")) == TUNED and str(params.seed) == "0"
    data = OmegaConf.load(CONF / "dataset" / "cifar100.yaml")
    assert {"override /group@_global_.group": "rot90"} in data.defaults
