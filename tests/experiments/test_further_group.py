"""A further group of images is a line of the table and a file with its name, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from experiments.frame.conf import CONF, groups_of
from experiments.frame.errors import UserError
from experiments.frame.load import load
from experiments.frame.options import AnyConfig
from experiments.frame.runner import execute
from experiments.images.symmetries import SYMMETRIES, Symmetry
from tests.experiments.clip.test_runs import SHORT
from tests.experiments.metrics import rows, value

NAME = "flip"
Further = Callable[..., AnyConfig]


@pytest.fixture
def further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Further:
    """Compose with the group, and with data of the user's own on which few groups act."""
    flip = Symmetry((0, 6), lambda library: library.Mirror(dim=-2))
    monkeypatch.setitem(SYMMETRIES, NAME, flip)
    for file, text in {
        f"group/{NAME}": f"name: {NAME}\n",
        "dataset/own": f"defaults: [symbols, _self_]\nname: own\ngroups: [trivial, {NAME}]\n",
    }.items():
        path = tmp_path / "my" / f"{file}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def make(*overrides: str) -> AnyConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            given = ["logger=none", f"results={tmp_path}/results", *overrides]
            return load(compose("config", [f"hydra.searchpath=[file://{tmp_path}/my]", *given]))

    return make


def test_it_runs(further: Further) -> None:
    found = execute(further(*SHORT, "method=equitune", f"group={NAME}")).folder
    views = {row["view"] for row in rows(found, metric="top1_accuracy", transform=NAME)}
    assert views == {"", "0", "6"}  # the mean, and both elements
    assert value(found, metric="equivariance_error") < 1e-4


@pytest.mark.parametrize("task", ["clip", "cnn"])
def test_it_acts_on_all_images(further: Further, task: str) -> None:
    for name in ("cifar10", "letters"):
        config = further(f"task={task}", f"dataset={name}", f"group={NAME}")
        assert config.dataset.groups == list(SYMMETRIES) == groups_of(task)
    with pytest.raises(UserError, match=rf"group=verb does not act .* mirror, dihedral, {NAME}$"):
        further(f"task={task}", "group=verb")


def test_a_data_set_may_name_its_groups(further: Further) -> None:
    assert further("task=cnn", "dataset=own", f"group={NAME}").dataset.groups == ["trivial", NAME]
    with pytest.raises(UserError, match=f"group=rot90 does not act .* trivial, {NAME}$"):
        further("task=cnn", "dataset=own", "group=rot90")
