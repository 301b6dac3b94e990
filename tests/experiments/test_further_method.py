"""A further method is a class, a line of the registry and a file of values, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

import equitune
from experiments.frame.conf import CONF
from experiments.frame.errors import UserError
from experiments.frame.load import load
from experiments.frame.methods import METHODS, PAPERS, Kind, Method, Parts
from experiments.frame.options import AnyConfig
from experiments.frame.runner import execute
from experiments.scan.data import word_actions
from experiments.scan.finetune import _objective
from report.artefacts.catalogue import ARTEFACTS
from report.options import Options
from report.results import load_results
from report.tables import Table
from tests.experiments.metrics import rows, value
from tests.report.conftest import ResultsTree

NAME = "soft_choice"
TINY = {
    "cnn": (
        *("task.training=none", "task.pretrain.dataset=symbols", "dataset=symbols"),
        *("task.pretrain.epochs=1", "dataset.per_class_train=20", "dataset.per_class_test=10"),
    ),
    "dqn": (
        *("task.recipe.steps=1500", "task.recipe.keep_from=1500", "task.episodes=20"),
        *("task.recipe.keep_every=1500", "task.recipe.learning_starts=200"),
    ),
}


class SoftChoice(Method):
    """Views are averaged by softmax(-loss), which no other method of the suite does."""

    name, label, colour, kind, needs_loss = NAME, "soft choice", "#CC79A7", Kind.OTHER, True

    def weighting(self, parts: Parts) -> equitune.Weighting:
        return equitune.SoftSelect(self.require(parts.loss, "a proxy loss"), temperature=1.0)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, NAME, SoftChoice())


@pytest.fixture
def further(tmp_path: Path) -> Callable[..., AnyConfig]:
    """Compose with the method's file of values, which lies in a folder of its own."""
    (tmp_path / "my" / "method").mkdir(parents=True)
    (tmp_path / "my" / "method" / f"{NAME}.yaml").write_text(f"name: {NAME}\n")

    def make(*overrides: str) -> AnyConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            given = ["logger=none", f"results={tmp_path}/results", f"method={NAME}", *overrides]
            return load(compose("config", [f"hydra.searchpath=[file://{tmp_path}/my]", *given]))

    return make


@pytest.mark.parametrize("task", TINY)
def test_it_runs_where_whole_orbits_are_weighed(
    further: Callable[..., AnyConfig], task: str
) -> None:
    found = execute(further(f"task={task}", *TINY[task]))
    assert {row["method"] for row in rows(found.folder)} == {NAME}
    if task == "cnn":
        # Its softmax of views is no choice and no mean, and is equivariant as both are.
        assert value(found.folder, metric="equivariance_error") < 1e-4
        zero = further("task=cnn", *TINY["cnn"], "method=equizero")
        other = execute(zero)
        assert zero.task.loss is not None and other.folder != found.folder


@pytest.mark.parametrize("task", ["scan", "fairness"])
def test_a_task_that_cannot_serve_it_says_so_in_one_line(
    further: Callable[..., AnyConfig], task: str
) -> None:
    with pytest.raises(UserError) as refused:
        further(f"task={task}")
    line = str(refused.value)
    assert line.startswith(
        f"task={task} cannot run method={NAME} (a weighting that needs all views"
    )
    choices = line.rpartition("choose from: ")[2].split(", ")
    assert set(PAPERS) <= set(choices) < set(METHODS) - {NAME}


@pytest.mark.parametrize("method", [NAME, "pretrained"])
def test_fine_tuning_has_no_objective_for_what_it_has_no_code_for(
    configure: Callable[..., AnyConfig], method: str
) -> None:
    config = configure("method=equitune", "task.finetune.iterations=10")
    actions = word_actions(config.group)
    assert _objective(config, None, None, None, actions).combine == "average"  # type: ignore[arg-type]
    config.method.name = method
    with pytest.raises(ValueError, match=f"method={method} is not fine-tuned"):
        _objective(config, None, None, None, actions)  # type: ignore[arg-type]


def test_what_it_needs_is_checked(further: Callable[..., AnyConfig]) -> None:
    with pytest.raises(UserError, match=f"method={NAME} needs task.maximum"):
        further("task=clip", "task.maximum=null")
    with pytest.raises(UserError, match=f"method={NAME} has no method.lambda_net"):
        further("task=cnn", "+method.lambda_net.hidden=3", *lambda_net())
    with pytest.raises(UserError, match="stage=lambda belongs to method=lambda_equitune, soft_eq"):
        further("task=clip", "stage=lambda")


def lambda_net() -> tuple[str, ...]:
    keys = ("depth=2", "dropout=0", "positive=exp", "learning_rate=1", "weight_decay=0")
    return tuple(f"+method.lambda_net.{key}" for key in (*keys, "steps=1", "batch_size=1"))


def test_its_rows_join_the_tables_and_change_no_other_cell(tmp_path: Path) -> None:
    tree = ResultsTree(tmp_path / "results")
    for method in ("equitune", "equizero"):
        add_runs(tree, method)
    before = lines_of_all(tree)
    add_runs(tree, NAME)
    after = lines_of_all(tree)
    new = [line for line in after if NAME in line[1]]
    assert {name for name, *_ in new} >= {"clip_zero_shot", "figure2"}
    kept = [line for line in after if NAME not in line[1]]
    assert kept == before


def add_runs(tree: ResultsTree, method: str) -> None:
    """Add a CLIP and a DQN evaluation of a method."""
    columns: dict[str, Any] = {
        **{"task": "clip", "dataset": "cifar100", "model": "SmallCLIP", "group": "rot90"},
        **{"transform": "rot90", "method": method},
    }
    metrics = ("top1_accuracy", "top1_accuracy_low", "top1_accuracy_high")
    rows = [row for name in metrics for row in tree.rows([50.0], metric=name, **columns)]
    tree.run(f"clip-{method}", rows, task="clip")
    tree.run(f"dqn-{method}", tree.returns([1.0] * 16, method), task="dqn")


def lines_of_all(tree: ResultsTree) -> list[tuple[str, tuple[str, ...]]]:
    """Return every line of every table, and of the table beside every figure."""
    options = Options(("paper", "demo"))
    found = []
    for name, artefact in ARTEFACTS.items():
        built = artefact.build(load_results(tree.path, (artefact.task,)), options)
        table = built if isinstance(built, Table) else built.digest
        found += [(name, line) for block in table.blocks for line in block.rows]
    return found
