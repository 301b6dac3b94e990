"""The CLIP task: Table 1, from synthetic rows."""

from __future__ import annotations

from typing import Any

from report.tables import Table
from tests.report.conftest import build_table

WAYS = (("equitune", ""), ("equizero", ""), ("lambda_equitune", ""))
SECOND = ("lambda_equitune", "second encoder")
COMMAND = "python run.py experiment=table1"


def timed(tree: Any, machine: str, model: str, base: float) -> list[Any]:
    rows = []
    for place, (method, variant) in enumerate((*WAYS, SECOND)):
        common = {
            **{"task": "clip", "dataset": "cifar100", "model": model, "group": "rot90"},
            **{"method": method, "variant": variant, "view": machine},
        }
        ratio = (1.0, 1.01, 1.02, 2.0)[place]
        for metric, value in (
            ("inference_seconds", base * ratio),
            ("relative_seconds", ratio),
            ("relative_seconds_low", ratio - 0.005),
            ("relative_seconds_high", ratio + 0.005),
            ("peak_memory_mib", 1000.0 + place),
            ("images", 32.0),
        ):
            rows += tree.rows([value], metric=metric, **common)
    return rows


def build(tree: Any) -> Table:
    """The artefact as the program builds it."""
    return build_table(tree, "table1")


def test_times_stand_beside_the_papers_whose_lambda_has_a_second_encoder(tree: Any) -> None:
    rows = [row for model in ("RN50", "ViT-B-32") for row in timed(tree, "cpu", model, 10.0)]
    tree.measured(rows, task="clip")
    table = build(tree)
    [block] = table.blocks
    lines = {line[:3]: line[3:] for line in block.rows}
    assert block.title == "machine=cpu" and len(lines) == 8 and not table.commands
    even = ("32", "10.00", "1.000 [0.995, 1.005]", "1000", "14.15", "1.000", "3703")
    assert lines["RN50", "equitune", "\N{EN DASH}"] == even
    assert lines["RN50", "lambda_equitune", "\N{EN DASH}"][4:] == ("not reported",) * 3
    second = lines["RN50", *SECOND]
    assert second[2] == "2.000 [1.995, 2.005]" and second[4:] == ("23.50", "1.661", "3941")


def test_machines_stand_apart_and_what_lacks_has_a_command(tree: Any) -> None:
    rows = [*timed(tree, "cpu", "RN50", 10.0), *timed(tree, "gpu", "SmallCLIP", 1.0)]
    tree.measured(rows, task="clip")
    table = build(tree)
    assert [block.title for block in table.blocks] == ["machine=cpu", "machine=gpu"]
    assert {line[0] for line in table.blocks[1].rows} == {"RN50", "ViT-B-32", "SmallCLIP"}
    assert [str(each) for each in table.commands] == [COMMAND]


def test_without_rows_everything_is_missing(tree: Any) -> None:
    table = build(tree)
    assert {line[4] for block in table.blocks for line in block.rows} == {"missing"}
    assert [str(each) for each in table.commands] == [COMMAND]
