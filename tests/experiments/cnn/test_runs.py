"""CNN runs: from pretraining to accuracy, on pictograms; what is shared; what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from experiments.cnn.backbones import build_backbone
from experiments.cnn.probe import epochs
from experiments.frame.errors import UserError
from experiments.frame.files import load_tensors, save_tensors
from experiments.frame.methods import METHODS, PAPERS
from experiments.frame.options import AnyConfig
from experiments.frame.runner import StopSignal, ensure, execute
from experiments.frame.stages import name_run
from experiments.frame.tasks import load_task
from experiments.frame.variant import variant
from experiments.images.config import pretraining_data
from tests.experiments.conftest import composed
from tests.experiments.metrics import rows, value

Configure = Callable[..., AnyConfig]
RunPy = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = (
    "task=cnn",
    "task.pretrain.epochs=1",
    "task.probe.epochs=2",
    "dataset.per_class_train=20",
    "dataset.per_class_test=5",
)
OWN = ("task.training=none", "task.pretrain.dataset=symbols")


pytestmark = pytest.mark.usefixtures("trained")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What most runs here begin with: two networks after one epoch, and their features."""
    results = tmp_path_factory.mktemp("shared") / "results"
    for how in ((), OWN):
        config = composed(results, *SHORT, *how, "method=equitune")
        for stage in ("features_train", "features_test"):
            ensure(config, stage, StopSignal())
    return results


@pytest.fixture
def trained(shared: Path, tmp_path: Path) -> None:
    """Put these runs where a test's own are."""
    shutil.copytree(shared, tmp_path / "results")


#: Stages that depend on no method, unless it cuts the network.
STORED = ("features_train", "features_test", "stem_train", "stem_test")


def names(config: AnyConfig) -> dict[str, str]:
    task = load_task("cnn")
    return {stage: name_run(task, task.stages[stage], config).hash for stage in task.stages}


@pytest.mark.parametrize("scale", ["demo", "paper"])
@pytest.mark.parametrize("protocol", ["paper", "reference"])
@pytest.mark.parametrize("method", PAPERS)
def test_the_defaults_are_those_of_the_protocol(
    configure: Configure, scale: str, protocol: str, method: str
) -> None:
    dataset = "symbols" if scale == "demo" else "cifar10"
    chosen = (f"scale={scale}", f"protocol={protocol}", f"method={method}", f"dataset={dataset}")
    config = configure("task=cnn", *chosen)
    assert variant(config) == ""
    assert config.task.pretrain.dataset == ("letters" if scale == "demo" else "cifar100")
    assert config.group.name == ("trivial" if method == "pretrained" else "rot90")
    reference = protocol == "reference"
    assert config.task.evaluate_on == ("train" if reference else "test")
    if method == "equizero":
        assert config.task.loss == ("reversed_" if reference else "") + "max_probability"
    else:
        assert config.task.loss is None


def test_methods_seeds_and_options_share_what_does_not_depend_on_them(configure: Configure) -> None:
    base = names(configure("task=cnn", "method=equitune"))
    for overrides in (
        ("method=lambda_equitune",),
        ("method=pretrained",),
        ("method=equitune", "seed=3"),
        ("method=equizero", "task.loss=entropy", "task.probe.epochs=3"),
    ):
        other = names(configure("task=cnn", *overrides))
        same = [stage for stage in base if base[stage] == other[stage]]
        assert same == ["pretrain", *STORED], overrides
    mirrored = names(configure("task=cnn", "method=equitune", "group=dihedral"))
    assert [stage for stage in base if base[stage] == mirrored[stage]] == ["pretrain"]


def test_layers_do_not_depend_on_the_images_that_they_are_measured_on(configure: Configure) -> None:
    base, other = (
        names(configure("task=cnn", *more)) for more in ((), ("dataset.per_class_test=20",))
    )
    assert [stage for stage in base if base[stage] == other[stage]] == [
        "pretrain",
        "features_train",
        "stem_train",
        "probe",
        "lambda",
    ]
    options = {
        ("dataset.size=40",): "dataset.size=40",
        ("model.size=40",): "model.size=40",
        ("task.probe.epochs=3",): "probe.epochs=3",
    }
    assert {given: variant(configure("task=cnn", *given)) for given in options} == options


def test_images_that_are_left_are_of_all_classes(configure: Configure) -> None:
    """The files may be sorted by class, as the pictograms are not."""
    from experiments.images.extraction import shuffled

    rows = shuffled(1000)
    assert sorted(rows.tolist()) == list(range(1000)) and torch.equal(rows, shuffled(1000))
    assert len({int(row) // 100 for row in rows[:60]}) == 10
    with pytest.raises(UserError, match="holds none out"):
        execute(configure(*SHORT, "method=equitune", "task.max_images=3"))


def test_one_run_of_every_method(configure: Configure, tmp_path: Path) -> None:
    found = {}
    for method in PAPERS:
        run = execute(configure(*SHORT, f"method={method}"))
        found[method] = {(r["metric"], r["step"]): float(r["value"]) for r in rows(run.folder)}
        for epoch in ("1", "2", ""):
            assert 0 <= found[method]["top1_accuracy", epoch] <= 100
        low, high = (found[method][f"top1_accuracy_{end}", ""] for end in ("low", "high"))
        assert low < found[method]["top1_accuracy", ""] < high
        error = found[method]["equivariance_error", ""]
        assert error > 0.01 if method == "pretrained" else error < 1e-4
    runs = [p.name.split("-")[0] for p in (tmp_path / "results" / "runs" / "cnn").iterdir()]
    assert sorted(runs) == sorted(
        [*("pretrain", "features_train", "features_test") * 2, *["probe"] * 4, *["evaluate"] * 4]
    )


@pytest.mark.parametrize("method", [name for name in METHODS if name not in PAPERS])
@pytest.mark.parametrize("training", ["none", "probe"])
def test_one_run_of_every_further_method(
    configure: Configure, tmp_path: Path, method: str, training: str
) -> None:
    entry, steps = METHODS[method], "method.lambda_net.steps=20"
    how = OWN if training == "none" else (f"task.training={training}",)
    asked = (*SHORT, *how, f"method={method}")
    if entry.augments and training == "none":
        with pytest.raises(UserError, match="probe or all"):
            configure(*asked)
        return
    run = execute(configure(*asked, *([steps] if entry.needs_net else [])))
    assert 0 < value(run.folder, metric="top1_accuracy", transform="rot90", view="", step="") < 100
    views = 4.0 if entry.uses_group else 1.0
    if entry.needs_stem:
        views = 1 + 3 * value(run.folder, metric="stem_share")
    assert views <= value(run.folder, metric="passes") < 1.01 * views
    error = value(run.folder, metric="equivariance_error")
    assert error < 1e-4 if entry.uses_group else error > 0.01
    trained = value(run.folder, metric="trained_parameters")
    head = 782 if training == "probe" else 0
    width = 16 * 4 * 4 if entry.needs_stem else 64
    net = (width + 1) * 100 + 101 if entry.needs_net else int(entry.needs_temperature)
    assert trained == head + net
    stages = {path.name.split("-")[0] for path in (tmp_path / "results/runs/cnn").iterdir()}
    assert ("lambda" in stages) == entry.is_fitted


def test_one_view_that_is_trained_on_turned_images_costs_the_passes_of_four(
    configure: Configure,
) -> None:
    config = configure(*SHORT, "method=augmented")
    assert config.group.name == "trivial" and epochs(config) == 4 * config.task.probe.epochs
    both = execute(configure(*SHORT, "method=augmented_equitune"))
    alone = execute(config)
    noted = [
        json.loads((run.folder / "record.json").read_text())["built_on"] for run in (both, alone)
    ]
    assert noted[0]["probe"] == noted[1]["probe"]


def test_the_same_seed_twice_gives_identical_rows(configure: Configure, tmp_path: Path) -> None:
    """The network of the first run is the one that was trained for all tests here."""
    texts = []
    for name in ("results", "second"):
        config = configure(*SHORT, "method=lambda_equitune", f"results={tmp_path}/{name}")
        lines = (execute(config).folder / "metrics.csv").read_bytes().splitlines()
        texts.append([line for line in lines if b"training_seconds" not in line])
    assert texts[0] == texts[1]


def test_a_network_of_ones_own_zero_shot(configure: Configure, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "own.safetensors"
    save_tensors(path, build_backbone("cifar:resnet20", 10, 32).model.state_dict())
    classes = configure("task=cnn").dataset.classes
    own = (*SHORT, "task.training=none", f"model.checkpoint={path}", "method=equizero")
    with pytest.raises(UserError, match=f"needs a network of the {classes} classes"):
        execute(configure(*own))
    save_tensors(path, build_backbone("cifar:resnet20", classes, 32).model.state_dict())
    run = execute(configure(*own))
    found = {(r["metric"], r["transform"], r["view"]): float(r["value"]) for r in rows(run.folder)}
    turns = [found["top1_accuracy", "rot90", str(turn)] for turn in range(4)]
    assert found["top1_accuracy", "rot90", ""] == pytest.approx(sum(turns) / 4)
    assert found["top1_accuracy", "none", ""] == turns[0]
    assert turns == [turns[0]] * 4
    assert {"over_equitune", "over_equitune_low", "over_equitune_high"} <= {m for m, *_ in found}
    record = json.loads((run.folder / "record.json").read_text())
    assert "checkpoint=" in rows(run.folder)[0]["variant"]
    assert record["facts"]["checkpoint_sha256"]


def test_stored_features_give_what_the_whole_network_gives(configure: Configure) -> None:
    """The features of a turned image, looked up, are those that the network computes."""
    from experiments.cnn.backbones import preprocessing
    from experiments.images.extraction import FEATURES, SQUARE
    from experiments.images.sets import load_images

    config = configure(*SHORT, "method=equitune")
    execute(config)
    weights, _ = load_tensors(ensure(config, "pretrain", StopSignal()).folder / "model.safetensors")
    tensors, _ = ensure(config, "features_test", StopSignal()).tensors(FEATURES)
    backbone = build_backbone(config.model.architecture, pretraining_data(config).classes, 32)
    backbone.model.load_state_dict(weights)
    inputs = preprocessing(config.model)(load_images(config.dataset, "test").pixels[:20])
    with torch.inference_mode():
        for turn in range(4):
            computed = backbone.eval().features(SQUARE.act(turn, inputs))
            torch.testing.assert_close(
                tensors["features"][turn, :20], computed, atol=1e-4, rtol=1e-4
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [("task.training=all",), ("task.batch_norm=train",), ("protocol=reference",)],
)
def test_other_ways_to_train_and_evaluate(configure: Configure, overrides: tuple[str, ...]) -> None:
    run = execute(configure(*SHORT, "method=equizero", "task.max_images=60", *overrides))
    found = {r["metric"] for r in rows(run.folder)}
    assert "top1_accuracy" in found
    # A prediction that depends on the batch is not a function of the image.
    assert ("equivariance_error" in found) == ("task.batch_norm=train" not in overrides)
    facts = json.loads((run.folder / "record.json").read_text())["facts"]
    # The authors hold nothing out.
    assert facts["images_learned"] == (60 if "protocol=reference" in overrides else 54)


BAD = {
    ("task.training=none", "task.batch_norm=train"): "choose task.batch_norm=frozen",
    ("task.training=none",): "choose dataset=letters",
    ("task.training=none", "stage=probe"): "stage=probe learns",
    ("stage=continuity", "task.batch_norm=train"): "choose task.batch_norm=frozen",
    ("task.selection=null",): "task.selection is empty",
    ("method=equizero", "task.straight_through=null"): "task.straight_through is empty",
    ("method=lambda_equitune", "task.lambda_training=null"): "task.lambda_training is empty",
    ("method=lambda_equitune", "method.lambda_net.steps=10"): "are not read",
    ("model.weights=imagenet", "stage=pretrain"): "choose model.weights=ours",
    ("task.pretrain.dataset=images",): "with dataset=images",
    ("task.max_images=1",): "task.max_images=1 is out of range",
    ("task.training=all", "device=cuda"): "choose device=cpu",
    ("method=lambda_equitune", "group=trivial"): "one view to weigh",
    ("method=lambda_equitune", "task.training=none"): "method.lambda_net.steps=2000",
    ("task.pretrain.dataset=imagenet",): "choose from: .*cifar100",
    ("scale=paper",): "add dataset=cifar10",
    ("model.std=[1,0,1]",): "three numbers, above 0",
    ("task.probe.validation=0",): "needs held-out images",
    ("dataset=cartpole",): "task=cnn cannot use dataset=cartpole",
    ("model=LSTM",): "task=cnn cannot use model=LSTM",
    ("task.loss=confidence",): "task.loss=confidence is not known",
    ("group=verb",): "group=verb does not act",
}


@pytest.mark.parametrize("overrides", BAD)
def test_bad_input_is_one_line(configure: Configure, overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=BAD[overrides]) as caught:
        configure("task=cnn", *overrides)
    assert "\n" not in str(caught.value)


def test_a_temperature_that_is_given_reads_the_layers_of_equal_weights(run_py: RunPy) -> None:
    result = run_py(*SHORT, "method=soft_equizero", "method.temperature=0.1")
    assert result.returncode == 0, result.stderr
    assert "-equitune-" in result.stderr and "lambda-" not in result.stderr


def test_a_class_count_that_does_not_fit_ends_with_one_line(run_py: RunPy) -> None:
    result = run_py(*SHORT, "dataset.classes=7")
    assert result.returncode == 1
    assert "classes" in result.stderr.splitlines()[-1]
