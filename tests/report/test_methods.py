"""The further methods: tables, Pareto figures, a table over tasks, and which method to use."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.frame.methods import METHODS
from report.artefacts.catalogue import ARTEFACTS
from report.artefacts.comparison.choice import SITUATIONS
from report.artefacts.comparison.views import VIEWS, View, describe, needs
from report.artefacts.entry import build
from report.claims.verdicts import make_report
from report.options import Options
from report.plots.panels import plain_mark
from report.plots.points import Point, staircase
from report.presets import arms
from report.results import load_results
from report.tables import Table
from tests.report.conftest import ROOT, assert_fits, build_figure, build_table, drawn, lines_of
from tests.report.methods_rows import evaluated, wanted

CNN, PROBE, CLIP = (VIEWS[name] for name in ("cnn", "cnn_probe", "clip"))
DASH, ARROW = "\N{EN DASH}", "\N{RIGHTWARDS ARROW}"
NETWORK = {"dataset": "cifar100", "model": "ResNet20"}
PROBED = {"dataset": "cifar10", "model": "ResNet20"}
OURS = {"dataset": "cifar100", "model": "SmallCLIP"}
PLACE = "scale=paper, protocol=paper, dataset={dataset}, model={model}, group=rot90, variant={rest}"
HERE = PLACE.format(**NETWORK, rest="none")


def some(tree: Any, **changes: Any) -> list[Any]:
    """Rows of five ways on one network."""
    chosen = NETWORK | changes
    return [
        *evaluated(tree, CNN, "pretrained", 50.0, -10.0, passes=1, upright=70.0, **chosen),
        *evaluated(tree, CNN, "equitune", 60.0, upright=60.0, **chosen),
        *evaluated(tree, CNN, "equizero", 64.0, 4.0, options=["loss=energy"], **chosen),
        *evaluated(tree, CNN, "canonicalizer", 63.0, 3.0, **chosen),
        *evaluated(tree, CNN, "soft_equizero", 66.0, 6.0, **chosen),
    ]


def test_a_line_has_what_a_method_needs_costs_and_gains(tree: Any) -> None:
    rows = some(tree)
    rows += tree.rows([0.5], metric="jump", **{name: rows[-1][name] for name in _KEYS})
    tree.measured(rows, "methods", task="cnn")
    table = build_table(tree, "methods_cnn")
    assert table.names == (
        *("method", "how", "labels", "trained", "passes", "upright", "transformed"),
        *("over equitune", "equivariance error", "jump", "n"),
    )
    found = lines_of(table, HERE, 2)
    assert found["pretrained", ""] == (
        *("no", "7", "1", f"70.0 ({DASH}) [69.0, 71.0]", f"50.0 ({DASH}) [49.0, 51.0]"),
        *(f"-10.0 ({DASH}) [-11.0, -9.0]", "0.25", DASH, "1"),
    )
    assert found["equitune", ""][5] == DASH
    assert found["soft_equizero", "max probability"][0] == "few: one number"
    assert found["soft_equizero", "max probability"][-2] == "0.5"
    assert found["equizero", "energy"][4] == f"64.0 ({DASH}) [63.0, 65.0]"
    assert found["equizero", "entropy"] == ("no", *("missing",) * 7, "0")
    assert table.commands == tuple(
        f"python run.py experiment=methods_cnn scale=paper model={model}"
        for model in ("ResNet20", "SmallAlexNet")
    )


_KEYS = ("task", "dataset", "model", "group", "transform", "method", "variant")


@pytest.mark.parametrize("view", VIEWS.values(), ids=[*VIEWS])
def test_the_rows_of_a_preset_fill_its_table_and_its_figure(tree: Any, view: View) -> None:
    lines = wanted(tree, view)
    keys = [tuple(line.values()) for line in lines]
    # No two arms are the same way.
    assert len(set(keys)) == len(keys)
    rows: list[Any] = []
    for line in lines:
        known = {name: line[name] for name in ("dataset", "model", "group")}
        options = [] if line["regime"] in ("", "reference") else [f"regime={line['regime']}"]
        options += _options(view, line)
        step = view.steps.get(line["dataset"], "")
        more = {"upright": 50.0} if view.upright else {}
        rows += evaluated(
            tree, view, line["method"], 40.0, seeds=2, options=options, step=step, **known, **more
        )
    tree.measured(rows, view.files[0], task=view.task)
    table = build_table(tree, view.preset)
    assert table.commands == () and sum(len(block.rows) for block in table.blocks) == len(lines)
    assert not any("missing" in row for block in table.blocks for row in block.rows)
    figure = build_figure(tree, f"pareto_{view.name}")
    assert len(figure.rows) == len(lines)
    assert_fits(drawn(figure))


def _options(view: View, line: Any) -> list[str]:
    """What `variant` says of a way that is not the protocol's own."""
    [arm] = [
        arm
        for arm in arms(view.preset)
        if arm["method"] == line["method"]
        and describe(view, "paper", arm["method"], arm) == line["how"]
    ]
    return [f"{name}={value}" for name, value in arm.items() if name != "method"]


def test_other_weights_have_a_block_of_their_own_and_are_a_place(tree: Any) -> None:
    given = {"dataset": "cifar10", "options": ["checkpoint=12fca82f"]}
    rows = evaluated(tree, CNN, "equitune", 60.0, model="ResNet20", **given)
    rows += evaluated(tree, CNN, "canonicalizer", 69.0, 9.0, model="ResNet20", **given)
    tree.measured(rows, "methods", task="cnn")
    title = PLACE.format(**PROBED, rest="checkpoint=12fca82f")
    assert [*lines_of(build_table(tree, "methods_cnn"), title, 1)] == [
        *(("equitune",), ("canonicalizer",)),
    ]
    table = build_table(tree, "methods")
    names = [header for group in table.groups for header in group.headers]
    [line] = [row for row in table.blocks[0].rows if row[0] == "canonicalizer"]
    assert line[2 + names.index("cifar10, ResNet20")] == "+9.0 [+8.0, +10.0]"


def test_rows_that_tell_no_passes_do_not_count(tree: Any) -> None:
    rows = [row for row in some(tree) if row["metric"] != "passes"]
    tree.measured(rows, "methods", task="cnn")
    assert not build_figure(tree, "pareto_cnn").rows
    found = lines_of(build_table(tree, "methods_cnn"), HERE, 2)
    assert {line[-1] for line in found.values()} == {"0"}


def test_a_loss_that_the_preset_does_not_compare_is_no_way(tree: Any) -> None:
    rows = some(tree)
    tree.measured(rows, "methods", task="cnn")
    before = build_table(tree, "methods_cnn").blocks
    own = ["loss=reversed_max_probability"]
    reversed_loss = evaluated(tree, CNN, "equizero", 20.0, -40.0, options=own, **NETWORK)
    tree.measured(reversed_loss, "zero_shot", task="cnn")
    assert reversed_loss and build_table(tree, "methods_cnn").blocks == before
    later = evaluated(tree, CNN, "early_exit", 65.0, 5.0, options=["stem=0.75"], **NETWORK)
    tree.measured(later, "later", task="cnn")
    found = lines_of(build_table(tree, "methods_cnn"), HERE, 2)
    assert found["early_exit", "stem 0.75"][-1] == "1"


def test_the_passes_of_a_training_s_step_say_nothing_of_rows_without_one(tree: Any) -> None:
    rows = [row for row in some(tree) if row["metric"] != "passes"]
    rows += [row | {"step": "3000"} for row in some(tree) if row["metric"] == "passes"]
    tree.measured(rows, "methods", task="cnn")
    found = lines_of(build_table(tree, "methods_cnn"), HERE, 2)
    assert {line[-1] for line in found.values()} == {"0"}


def test_upright_inputs_of_the_model_itself_belong_to_every_group(tree: Any) -> None:
    rows: list[Any] = []
    for group in ("rot90", "mirror"):
        rows += evaluated(tree, CLIP, "pretrained", 50.0, passes=1, group=group, **OURS)
    own = rows[0] | {"transform": "none", "metric": "top1_accuracy", "value": "71.5"}
    tree.measured([*rows, own], "methods", task="clip")
    table = build_table(tree, "methods_clip")
    shown = {block.labels["group"]: block.rows[0] for block in table.blocks}
    # Those with rows come first.
    assert [*shown] == ["rot90", "mirror", "rot180"]
    assert [row[5] for row in shown.values()] == [*[f"71.5 ({DASH})"] * 2, "missing"]


def test_a_method_of_several_views_that_had_one_compares_nothing(tree: Any) -> None:
    rows = some(tree)
    tree.measured(rows, "methods", task="cnn")
    before = build_table(tree, "methods_cnn").blocks
    alone = [
        row | {"group": "trivial", "value": "1.0"} for row in rows if row["method"] == "equizero"
    ]
    tree.measured(alone, "alone", task="cnn")
    assert len(alone) > 1 and build_table(tree, "methods_cnn").blocks == before


def test_without_a_gain_of_its_own_it_is_the_difference_seed_by_seed(tree: Any) -> None:
    rows = evaluated(tree, PROBE, "equitune", 60.0, seeds=3, **PROBED)
    for seed, value in enumerate((50.0, 52.0, 53.0)):
        own = evaluated(tree, PROBE, "augmented", value, passes=1, **PROBED)
        rows += [row | {"seed": str(seed)} for row in own]
    tree.measured(rows, "methods_probe", task="cnn")
    found = lines_of(build_table(tree, "methods_cnn_probe"), PLACE.format(**PROBED, rest="none"), 2)
    labels, _, passes, *_, gain, _, _, seeds = found["augmented", ""]
    assert (labels, passes, seeds) == ("yes", "1", "3")
    assert gain.startswith("-9.3 (0.6) [-10.0, -9.0]")


@pytest.mark.parametrize(
    ("method", "how", "wanted"),
    [
        *(("pretrained", "", "no"), ("equitune", "", "no"), ("equizero", "entropy", "no")),
        *(("lambda_equitune", "", "yes"), ("soft_equizero", "entropy", "few: one number")),
        *(("soft_equizero", "temperature 1.0", "no"), ("prior_lambda", "", "no")),
        *(("prior_lambda", "task_weight 1.0", "yes"), ("canonicalizer", "", "no")),
        *(("distance", "mahalanobis", "no"), ("augmented", "", "yes")),
        ("augmented_equitune", "", "yes"),
    ],
)
def test_labels_are_what_the_registry_says(method: str, how: str, wanted: str) -> None:
    assert needs({"method": method, "how": how}) == wanted


def test_a_table_of_trained_layers_says_that_these_learn_from_labels(tree: Any) -> None:
    probed, plain = (build_table(tree, f"methods_{name}") for name in ("cnn_probe", "cnn"))
    said = [
        any(text.startswith("with the last layers") for text in t.notes) for t in (probed, plain)
    ]
    assert said == [True, False]


def test_the_staircase_is_what_is_better_than_all_that_is_cheaper() -> None:
    points = [Point(4, plain_mark(9)), Point(1, plain_mark(5)), Point(2, plain_mark(5))]
    points += [Point(1, plain_mark(3)), Point(4, plain_mark(8)), Point(3, plain_mark(6))]
    assert staircase(points) == [(1, 5), (3, 6), (4, 9)]


def test_a_figure_has_a_point_per_way_and_says_which_are_best_so_far(tree: Any) -> None:
    assert build_figure(tree, "pareto_cnn").rows == ()
    tree.measured([*some(tree), *some(tree, model="SmallAlexNet")], "methods", task="cnn")
    figure = build_figure(tree, "pareto_cnn")
    assert {row[:-6][-2:] for row in figure.rows} == {
        *(("pretrained", ""), ("equitune", ""), ("equizero", "energy"), ("canonicalizer", "")),
        ("soft_equizero", "max probability"),
    }
    found = {key: line[-2] for key, line in lines_of(figure.digest, HERE, 2).items()}
    assert [key[0] for key, best in found.items() if best == "yes"] == [
        *("pretrained", "soft_equizero"),
    ]
    assert found["lambda_equitune", ""] == "missing" and found["equitune", ""] == DASH
    drawing = drawn(figure)
    assert len(drawing.axes) == 2
    assert_fits(drawing)
    [legend] = drawing.legends
    assert len(legend.get_texts()) == 5


def test_the_table_over_tasks_has_every_way_and_says_what_was_not_run(tree: Any) -> None:
    tree.measured(some(tree), "methods", task="cnn")
    table = build_table(tree, "methods")
    assert [group.title for group in table.groups][1:] == [view.title for view in VIEWS.values()]
    rows = {row[:2]: row[2:] for row in table.blocks[0].rows}
    assert {method for method, _ in rows} <= {*METHODS}
    assert rows["canonicalizer", ""][:4] == ("no", "4", "+3.0 [+2.0, +4.0]", "not run")
    assert rows["equitune", ""][2] == DASH
    assert rows["augmented", ""][:4] == ("yes", "not run", "not run", "not run")
    assert "python run.py experiment=methods_clip scale=paper" in table.commands
    assert not any("methods_cnn " in command for command in table.commands)


def chosen(table: Table, situation: str, title: str) -> tuple[str, ...]:
    """The cells of a situation on a task."""
    [found] = [row[2:] for row in table.blocks[0].rows if row[:2] == (situation, title)]
    return found


def test_what_to_use_depends_on_what_you_have(tree: Any) -> None:
    rows = evaluated(tree, PROBE, "equitune", 60.0, **PROBED)
    rows += evaluated(tree, PROBE, "augmented", 55.0, -5.0, passes=1, **PROBED)
    tree.measured(rows, "methods_probe", task="cnn")
    tree.measured(some(tree), "methods", task="cnn")
    even: list[Any] = []
    for method, gain in (("equitune", None), ("pretrained", -1.0), ("prior_lambda", 0.5)):
        even += evaluated(
            tree, CLIP, method, 60.0, gain, upright=60.5, passes=2, group="mirror", **OURS
        )
    tree.measured(even, "methods", task="clip")
    table = build_table(tree, "which_method")
    none, some_labels = (chosen(table, name, CNN.title) for name in ("no labels", "some labels"))
    assert none == (
        *("equizero (energy)", f"ResNet20: 50.0 {ARROW} 64.0", DASH),
        *("ResNet20: +4.0 [+3.0, +5.0]", "4", "3"),
    )
    assert some_labels[0] == "soft equizero (max probability)"
    assert chosen(table, "you train the model anyway", PROBE.title) == (
        *("equitune", DASH, DASH, f"ResNet20: {DASH}", "4", "2"),
    )
    # Of CLIP only mirror images were run, which are as good as the images themselves.
    assert chosen(table, "no labels", CLIP.title)[0] == "not run yet"
    assert chosen(table, "all views are equally good", CLIP.title) == (
        *("equitune", f"SmallCLIP: 60.0 {ARROW} 60.0", f"SmallCLIP: 60.5 {ARROW} 60.5"),
        *(f"SmallCLIP: {DASH}", "2", "2"),
    )


def test_augmented_is_a_choice_only_where_the_model_is_trained() -> None:
    way = {"method": "augmented", "how": ""}
    found = [situation.name for situation in SITUATIONS if situation.allows(way)]
    assert found == ["you train the model anyway"]


def test_another_protocol_is_shown_where_a_further_method_was_run_in_it(tree: Any) -> None:
    rows = [*some(tree), *evaluated(tree, CNN, "equitune", 61.0, protocol="reference", **NETWORK)]
    for extra, expected in (([], {"paper"}), (["soft_equizero"], {"paper", "reference"})):
        for method in extra:
            rows += evaluated(tree, CNN, method, 66.0, 5.0, protocol="reference", **NETWORK)
        tree.measured(rows, "methods", task="cnn")
        table = build_table(tree, "methods_cnn")
        assert {block.labels["protocol"] for block in table.blocks} == expected


def test_of_near_equals_the_one_that_asks_least_is_named(tree: Any) -> None:
    rows: list[Any] = []
    ways = {"equitune": None, "equizero": 4.0, "lambda_equitune": 5.0, "early_exit": 4.5}
    for method, gain in ways.items():
        passes = 2 if method == "early_exit" else 4
        rows += evaluated(tree, CNN, method, 60 + (gain or 0), gain, passes=passes, **NETWORK)
        tree.measured(rows, "methods", task="cnn")
        if method != "equitune":
            found = chosen(build_table(tree, "which_method"), "some labels", CNN.title)[0]
            # Lambda needs labels for a point more.
            assert found.startswith("early exit" if passes == 2 else "equizero")


def test_methods_are_weighed_over_the_seeds_that_all_have(tree: Any) -> None:
    """Where seed 0 is common, 50 + 0 and 64 + 0; of two seeds each has half a point more."""
    rows = evaluated(tree, CNN, "pretrained", 50.0, passes=1, seeds=2, **NETWORK)
    rows += evaluated(tree, CNN, "equitune", 60.0, **NETWORK)
    rows += evaluated(tree, CNN, "equizero", 64.0, 4.0, seeds=2, **NETWORK)
    tree.measured(rows, "methods", task="cnn")
    found = chosen(build_table(tree, "which_method"), "no labels", CNN.title)
    assert found[1] == f"ResNet20: 50.0 {ARROW} 64.0" and found[3] == "ResNet20: +4.0 [+3.0, +5.0]"
    line = next(row for row in build_table(tree, "methods_cnn").flat if "equizero" in row)
    assert line[-1] == "2"  # its own table has all seeds
    figure = build_figure(tree, "pareto_cnn")  # a picture compares, too
    assert any(
        note.endswith("others have more seeds than equitune") for note in figure.digest.notes
    )
    points = figure.rows
    assert {(row[-5], row[-1]) for row in points} == {("50.0", "1"), ("60.0", "1"), ("64.0", "1")}


def test_a_trial_is_taken_in_where_it_belongs(tree: Any) -> None:
    trial = ["max_images=200", "pretrain.epochs=2", "probe.epochs=3"]
    rows = {
        loss: evaluated(
            tree, CNN, "equizero", 64.0, 4.0, options=[*trial, f"loss={loss}"], **NETWORK
        )
        for loss in ("energy", "entropy")
    }
    for loss, own in rows.items():
        tree.run(loss, own, task="cnn")
    results = load_results(tree.path, ARTEFACTS["methods"].tasks)
    table = build(ARTEFACTS["methods"], results, Options(variants=True))
    assert isinstance(table, Table)
    gains = {row[1]: row[4] for row in table.blocks[0].rows if row[0] == "equizero"}
    assert gains["energy"] == gains["entropy"] == "+4.0 [+3.0, +5.0]"
    assert gains["max probability"] == "not run"


def test_claims_of_our_own_are_judged_like_the_paper_s(tree: Any) -> None:
    fitted = ["lambda_net.steps=2000", "lambda_net.batch_size=128"]
    rows = evaluated(tree, CNN, "lambda_equitune", 69.0, 9.0, options=fitted, **NETWORK)
    rows += evaluated(tree, CNN, "soft_equizero", 66.0, 6.0, **NETWORK)
    rows += evaluated(tree, CNN, "prior_lambda", 69.0, 9.0, **NETWORK)
    rows += evaluated(tree, PROBE, "equitune", 60.0, **PROBED)
    rows += evaluated(tree, PROBE, "augmented", 63.0, 3.0, passes=1, **PROBED)
    tree.measured(rows, "methods", task="cnn")
    report = make_report(tree.with_claims(), "paper", ROOT)
    found = {
        (cell.claim.id, cell.comparison): cell.verdict
        for cell in report.cells
        if cell.claim.of == "ours" and cell.labels.get("model") == "ResNet20"
    }
    public = {key: found.pop(key) for key in [*found] if key[1].endswith("public weights")}
    assert len(public) == 9 and {*public.values()} == {"not run here"}
    lambdas = "lambda_equitune > soft_equizero"
    assert found == {
        ("ours-cnn-lambda", f"{lambdas}, largest probability"): "reproduced",
        ("ours-cnn-lambda", f"{lambdas}, entropy"): "not run here",
        ("ours-cnn-lambda", f"{lambdas}, energy"): "not run here",
        **{
            ("ours-cnn-early-exit", f"early_exit > canonicalizer - 1, stem of {stem} %"): (
                "not run here"
            )
            for stem in (10, 25, 50)
        },
        ("ours-cnn-labels", "lambda_equitune > prior_lambda"): "undecided",
        ("ours-cnn-labels", "lambda_equitune > prior_lambda, last layers trained"): "not run here",
        ("ours-cnn-averaging", "equitune > augmented"): "not reproduced",
    }
    topics = {block.labels["task"] for block in report.tables[1].blocks}
    assert {"cnn", "clip", "cnn (ours)", "clip (ours)"} <= topics
