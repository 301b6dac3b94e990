"""CLIP: Figures 5a and 11a from synthetic rows."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.colors import to_hex

from experiments.frame.methods import METHODS as KNOWN
from report.figures import Figure
from tests.report.clip_rows import (
    DASH,
    DRAWN,
    METHODS,
    MODELS,
    OURS,
    STEPS,
    TRAINED,
    ZERO,
    tuned,
)
from tests.report.conftest import assert_fits, build_figure, drawn, lines_of

COMMAND = "python run.py experiment="
RECIPE = "finetune.steps=1000, finetune.every=500"
SHORT = {"variant": f"{TRAINED}, {RECIPE}", "steps": (0, 500, 1000)}
MISSING = ("missing", "missing", "missing", "missing", "missing", "0")
ABSENT = ("not reported", "not reported")


def block(figure: Figure, title: str) -> dict[str, tuple[str, ...]]:
    """The lines of the one block with this title, by their method."""
    return {name: line for (name,), line in lines_of(figure.digest, title, 1).items()}


def test_the_numbers_stand_beside_the_papers(tree: Any) -> None:
    tree.measured(tuned(tree, seeds=3), task="clip")
    figure = build_figure(tree, "figure5a")
    assert figure.digest.headers[1:] == (
        *("ours: start", "ours: end", "ours: after", "ours: selected"),
        *("ours: which step", "ours: n", "paper reports: step 0", "paper reports: step 4000"),
    )
    lines = block(figure, "scale=paper, protocol=paper, model=RN50, variant=none")
    assert lines["equitune"] == (
        *("43.0 (1.0)", "51.0 (1.0)", "4000", "48.0 (1.0)", f"3000{DASH}4000", "3"),
        *("28.35", "34.01"),
    )
    other = block(figure, "scale=paper, protocol=paper, model=RN101, variant=none")
    assert other[ZERO] == (*MISSING, "45.96", "46.64")
    assert figure.digest.commands == (f"{COMMAND}figure5a scale=paper model=RN101",)


def test_without_rows_nothing_is_drawn_and_all_is_missing(tree: Any) -> None:
    names = ("figure5a", "figure11a")
    five, eleven = (build_figure(tree, name, scales=("paper", "demo")) for name in names)
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
    assert OURS in " ".join(five.digest.notes) and OURS not in " ".join(eleven.digest.notes)


def test_another_recipe_of_fine_tuning_has_a_block_a_panel_and_a_command(tree: Any) -> None:
    tree.run("a", tuned(tree, ("equitune",), model=OURS, seeds=2, **SHORT), task="clip")
    figure = build_figure(tree, "figure5a")
    lines = block(figure, f"scale=paper, protocol=paper, model={OURS}, variant={RECIPE}")
    assert lines["equitune"][:4] == ("42.5 (0.7)", "46.5 (0.7)", "1000", "47.5 (0.7)")
    assert lines[ZERO] == (*MISSING, *ABSENT)
    assert figure.digest.commands == (
        f"{COMMAND}figure5a scale=paper",
        f"{COMMAND}figure5a scale=paper model={OURS} seed=0,1,2 "
        "task.finetune.steps=1000 task.finetune.every=500",
    )
    assert ("paper", "paper", OURS, RECIPE, "equitune", "500") in {row[:6] for row in figure.rows}
    assert [axes.get_title() for axes in drawn(figure).axes] == [
        f"{OURS} (ours), CIFAR-100\nprotocol paper (as the paper says)\n"
        "fine-tuned for 1000 steps, measured every\n500",
        *(f"the paper's {model}, CIFAR-100" for model in MODELS[:2]),
    ]


def test_a_demo_is_of_symbols_and_one_seed_has_no_spread(tree: Any) -> None:
    demo = tuned(tree, model=OURS, scale="demo", dataset=DRAWN, steps=(0, 50, 100))
    tree.run("a", [*demo, *tuned(tree)], task="clip")
    figure = build_figure(tree, "figure5a", scales=("paper", "demo"))
    lines = block(figure, f"scale=demo, protocol=paper, model={OURS}, variant=none")
    assert lines[ZERO] == (
        *(f"47.0 ({DASH})", f"51.0 ({DASH})", "100", f"52.0 ({DASH})", "100", "1", *ABSENT),
    )
    assert {line[2] for line in figure.rows if line[0] == "demo"} == {OURS}
    assert build_figure(tree, "figure5a", scales=("demo",)).digest.commands == ()


def test_a_training_that_diverged_is_named(tree: Any) -> None:
    rows = tuned(tree, steps=(0, 1000))
    changes = {"metric": "diverged_step", "split": "train", "step": "", "transform": "none"}
    tree.run("a", [*rows, rows[0] | changes | {"value": "1503"}], task="clip")
    assert build_figure(tree, "figure5a").digest.notes[-1] == (
        "the training diverged, and the curve ends before: RN50 equitune (protocol paper, "
        "scale paper, seed 0) in step 1503"
    )


def test_a_step_that_is_no_number_is_refused(tree: Any) -> None:
    path = tree.run("a", [tuned(tree)[0] | {"step": "half"}], task="clip")
    with pytest.raises(ValueError, match=f"{path}:2: step 'half' is not a whole number"):
        build_figure(tree, "figure5a")


def test_a_further_method_has_a_line_and_a_curve(tree: Any, soft_choice: str) -> None:
    tree.run("a", tuned(tree, (*METHODS[1:], soft_choice)), task="clip")
    figure = build_figure(tree, "figure5a")
    lines = block(figure, "scale=paper, protocol=paper, model=RN50, variant=none")
    assert [*lines] == [*METHODS[1:], soft_choice] and lines[soft_choice][-2:] == ABSENT
    drawing = drawn(figure)
    assert to_hex(drawing.axes[0].lines[-1].get_color()).upper() == KNOWN[soft_choice].colour
    assert drawing.legends[0].get_texts()[-1].get_text() == KNOWN[soft_choice].label


def test_each_model_has_the_papers_curves_beside_it(tree: Any) -> None:
    both = ("paper", "reference")
    rows = [row for name in both for row in tuned(tree, seeds=3, protocol=name)]
    more = [*tuned(tree, model="RN101"), *tuned(tree, model=OURS, **SHORT)]
    tree.run("a", [*rows, *more], task="clip")
    figure = build_figure(tree, "figure5a")
    names = ("paper", "reported", "RN101", "", "lambda_equitune")
    assert (*names, "4000", "49.06", "", "") in figure.rows
    assert len(figure.rows) == 15 * 3 + 9 + 30
    drawing = drawn(figure)
    assert_fits(drawing, ticks=True)
    places = [
        (each.rowspan.start, each.colspan.start)
        for each in (axes.get_subplotspec() for axes in drawing.axes)
        if each is not None
    ]
    titles = [axes.get_title().split("\n")[0] for axes in drawing.axes]
    assert dict(zip(places, titles, strict=True)) == {
        **{(0, 0): "RN50, CIFAR-100", (0, 1): "RN50, CIFAR-100"},
        **{(1, 1): "RN101, CIFAR-100", (2, 1): f"{OURS} (ours), CIFAR-100"},
        **{(rank, 2): f"the paper's {each}, CIFAR-100" for rank, each in enumerate(MODELS[:2])},
    }
    assert len({axes.get_ylim() for axes in drawing.axes}) == 1
    ours, paper = drawing.axes[0], drawing.axes[2]
    shown = [to_hex(line.get_color()).upper() for line in ours.lines]
    assert shown == [KNOWN[method].colour for method in METHODS[1:]]
    assert [*paper.lines[2].get_ydata()] == [31.38, 34.07, 40.42, 44.18, 46.54]
    assert [*paper.lines[2].get_xdata()] == [*STEPS]
    band = ours.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((42.0, 52.0))
