"""Rows of the CNN task that no figure of the paper asks for."""

from __future__ import annotations

from typing import Any

from tests.report.conftest import build_table, lines_of

CNN = {"task": "cnn", "dataset": "cifar10", "model": "ResNet20", "method": "equitune"}
TITLE = "scale=paper, protocol=paper, dataset=cifar10, model=ResNet20"


def rows(tree: Any, value: float, **changes: str) -> list[Any]:
    """An accuracy with its interval over images."""
    common = {**CNN, "transform": "rot90", "group": "mirror", "metric": "top1_accuracy"} | changes
    ends = {"": value, "_low": value - 1, "_high": value + 1}
    return [
        tree.row(number, **common | {"metric": f"{common['metric']}{end}"})
        for end, number in ends.items()
    ]


def test_larger_groups_and_short_runs_are_shown_and_nothing_else(tree: Any) -> None:
    reduced = "batch_norm=train, max_images=2000"
    tree.measured(
        [
            *rows(tree, 80.0, transform="none"),
            *rows(tree, 60.0),
            *rows(tree, 5.0, metric="over_equitune"),
            *rows(tree, 40.0, group="rot90", variant=reduced),
            # Of a figure of the paper; of one view; of an epoch.
            *rows(tree, 70.0, group="rot90"),
            *rows(tree, 70.0, view="1"),
            *rows(tree, 70.0, group="rot90", variant=reduced, step="1"),
        ],
        task="cnn",
    )
    table = build_table(tree, "cnn_studies")
    en_dash = "\N{EN DASH}"
    assert lines_of(table, TITLE, 3) == {
        ("mirror", "equitune", ""): (
            f"80.0 ({en_dash}) [79.0, 81.0]",
            f"60.0 ({en_dash}) [59.0, 61.0]",
            f"+5.0 ({en_dash}) [+4.0, +6.0]",
            "1",
        ),
        ("rot90", "equitune", reduced): (
            *(en_dash, f"40.0 ({en_dash}) [39.0, 41.0]", en_dash, "1"),
        ),
    }
    assert table.commands == ()


def test_each_kind_without_rows_has_a_command_at_the_paper_s_scale(tree: Any) -> None:
    assert len(build_table(tree, "cnn_studies").commands) == 2
    assert build_table(tree, "cnn_studies", scales=("demo",)).commands == ()
    tree.measured(rows(tree, 60.0), task="cnn")
    [command] = build_table(tree, "cnn_studies").commands
    assert "task.max_images=2000" in command
