"""CLIP runs: from pretraining to accuracy, on pictograms; what is shared; what is resumed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from experiments.clip import finetune, pretrain, timing
from experiments.clip.evaluate import SHOWN
from experiments.clip.measures import calibration_error, drawn
from experiments.clip.models import WEIGHTS
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.files import load_tensors
from experiments.frame.machine import hardware
from experiments.frame.methods import METHODS, PAPERS
from experiments.frame.options import AnyConfig
from experiments.frame.runner import StopSignal, ensure, execute
from experiments.frame.stages import name_run
from experiments.frame.tasks import load_task
from experiments.frame.variant import variant
from experiments.images import extraction
from experiments.images.extraction import orbit_outputs
from experiments.images.symmetries import members
from tests.experiments.clip.small import SHORT
from tests.experiments.metrics import rows, value

Configure = Callable[..., AnyConfig]
RunPy = Callable[..., "subprocess.CompletedProcess[str]"]
LAMBDA = ("method=lambda_equitune", "method.lambda_net.steps=20")
TUNED = ("task.training=image_encoder", "task.finetune.steps=6", "task.finetune.every=2")

pytestmark = pytest.mark.usefixtures("trained")


def names(config: AnyConfig) -> dict[str, str]:
    task = load_task("clip")
    stages = [stage for stage in task.stages if stage != "pretrain" or config.task.pretrain]
    return {stage: name_run(task, task.stages[stage], config).hash for stage in stages}


@pytest.mark.parametrize("scale", ["demo", "paper"])
@pytest.mark.parametrize("protocol", ["paper", "reference"])
@pytest.mark.parametrize("method", PAPERS)
@pytest.mark.parametrize("training", ["none", "image_encoder"])
def test_the_defaults_are_those_of_the_protocol(
    configure: Configure, scale: str, protocol: str, method: str, training: str
) -> None:
    chosen = (f"scale={scale}", f"protocol={protocol}", f"method={method}")
    config = configure("task=clip", *chosen, f"task.training={training}")
    assert variant(config) == ("" if training == "none" else "training=image_encoder")
    reference = protocol == "reference"
    assert config.task.space == ("probabilities" if reference else "features")
    assert config.task.draw == ("batch" if reference else "every")
    assert config.task.transform == "rot90"
    if training == "image_encoder":
        paper = 5e-7 if method == "lambda_equitune" else 1e-3
        assert config.task.finetune.learning_rate == (5e-6 if reference else paper)
    if method == "lambda_equitune":
        net = config.method.lambda_net
        assert net is not None
        rate, steps = (0.33, 2000) if reference else (0.3, 1000)
        assert (net.learning_rate, net.steps, net.batch_size) == (rate, steps, 32)
        assert (net.positive, net.depth) == (("none", 3) if reference else ("softplus", 2))


def test_what_does_not_decide_features_shares_them(configure: Configure) -> None:
    base = names(configure(*SHORT))
    same = ("pretrain", "text", "features_train", "features_test")
    for change in (
        "method=equitune",
        "protocol=reference",
        "group=rot180",
        "task.transform=none",
        "task.training=image_encoder",
        "task.space=logits",
        "task.feature_batch=7",
    ):
        other = names(configure(*SHORT, change))
        assert all(other[stage] == base[stage] for stage in same), change
    for change in ("seed=1", "task.pretrain.epochs=3"):
        other = names(configure(*SHORT, change))
        assert {stage for stage in base if other[stage] == base[stage]} == {"timing"}, change
    words = names(configure(*SHORT, "task.pretrain.dataset=letters", "dataset.prompts=photo"))
    again = names(configure(*SHORT, "task.pretrain.dataset=letters"))
    assert words["features_test"] == again["features_test"] and words["text"] != again["text"]
    wider = names(configure(*SHORT, "group=dihedral"))
    assert wider["features_test"] != base["features_test"] and wider["text"] == base["text"]


def test_seeds_of_a_given_model_share_its_features(configure: Configure) -> None:
    chosen = ("task=clip", "model=RN50")
    one, two = names(configure(*chosen)), names(configure(*chosen, "seed=1"))
    assert one["features_test"] == two["features_test"] and one["text"] == two["text"]
    assert one["evaluate"] != two["evaluate"]


def test_the_figures_of_an_encoder_need_four_passes_per_image(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Figures 7, 8a and 8b, and lambda zero-shot: the authors' code needs 15 per seed."""
    seen = {"images": 0}

    def count(network: Any, pixels: Any, see: Any, elements: Any) -> Any:
        seen["images"] += len(pixels) * len(elements)
        return orbit_outputs(network, pixels, see, elements)

    monkeypatch.setattr(extraction, "orbit_outputs", count)
    folders, new = {}, (*SHORT, f"results={tmp_path}/new")
    for group in ("rot90", "rot180"):
        for method in PAPERS[:3]:
            config = configure(*new, f"group={group}", f"method={method}")
            folders[group, method] = execute(config).folder
    test_images = 12 * 10
    assert seen["images"] == 4 * test_images
    for protocol in ("paper", "reference"):
        execute(configure(*new, *LAMBDA, f"protocol={protocol}"))
    assert seen["images"] == 4 * test_images + 4 * 12 * 20
    for (group, method), folder in folders.items():
        turns = [
            float(row["value"])
            for row in rows(folder, metric="top1_accuracy", transform=group)
            if row["view"]
        ]
        mean = value(folder, metric="top1_accuracy", transform=group, view="")
        assert mean == pytest.approx(sum(turns) / len(turns)) and len(turns) == len(members(group))
        error = value(folder, metric="equivariance_error")
        if method == "pretrained":
            assert error > 1e-3
        else:
            assert error < 1e-4 and max(turns) - min(turns) < 1e-9
            upright = value(folder, metric="top1_accuracy", transform="none")
            assert upright == turns[0]
        if method == "equizero":
            gain = mean - value(
                folders[group, "equitune"], metric="top1_accuracy", transform=group, view=""
            )
            assert value(folder, metric="over_equitune") == pytest.approx(gain)
            classes = rows(folder, metric="class_over_equitune")
            assert len(classes) == 12
            mean_gain = sum(float(row["value"]) for row in classes) / 12
            assert mean_gain == pytest.approx(gain)


def test_a_drawn_turn_is_that_of_the_pixels(configure: Configure) -> None:
    """Protocol reference draws for a batch; the stored orbit tells the same as turned pixels."""
    config = configure(*SHORT, "protocol=reference", "method=pretrained", "seed=5")
    finished = execute(config)
    stages: dict[str, Any] = {
        stage: ensure(config, stage, StopSignal())
        for stage in ("features_test", "text", "pretrain")
    }
    from experiments.clip.models import build_model, preprocessing
    from experiments.images.extraction import SQUARE
    from experiments.images.sets import load_images

    model: Any = build_model(config.model)
    model.load_state_dict(stages["pretrain"].tensors(WEIGHTS)[0])
    model.eval()
    classifier = stages["text"].tensors("text.safetensors")[0]["classifier"]
    images = load_images(config.dataset, "test")
    turned = drawn("batch", 32, 4, len(images.labels), 5)
    assert all(len(set(part.tolist())) == 1 for part in turned.split(32))
    assert len(set(turned.tolist())) > 1
    inputs = preprocessing(config.model)(images.pixels)
    for turn in range(4):
        inputs[turned == turn] = SQUARE.act(turn, inputs[turned == turn])
    with torch.no_grad():
        found = (model.encode_image(inputs, normalize=True) @ classifier).argmax(dim=-1)
    accuracy = 100 * float((found == images.labels).double().mean())
    shown = value(finished.folder, metric="top1_accuracy", transform="rot90", view="")
    assert shown == pytest.approx(accuracy)


def test_lambda_learns_its_weights(configure: Configure) -> None:
    config = configure(*SHORT, *LAMBDA)
    finished = execute(config)
    shares = rows(finished.folder, metric="lambda_share")
    assert [row["view"] for row in shares] == ["0", "1", "2", "3"]
    assert sum(float(row["value"]) for row in shares) == pytest.approx(100)
    one = rows(finished.folder, metric="lambda_share_shown")
    assert sum(float(row["value"]) for row in one) == pytest.approx(100)
    with Image.open(finished.folder / SHOWN) as shown:
        assert shown.size == (32, 32) and shown.mode == "RGB"
    learned = ensure(config, "lambda", StopSignal())
    (row,) = [row for row in learned.rows() if row["metric"] == "top1_accuracy"]
    assert (row["split"], row["step"]) == ("validation", "20")
    # 5 % of 240 images are held out.
    assert learned.record["facts"]["images"] == 228


@pytest.mark.parametrize("method", ["soft_equizero", "prior_lambda", "canonicalizer", "distance"])
def test_one_run_of_every_further_method(configure: Configure, method: str) -> None:
    entry, known = METHODS[method], ("dataset.per_class_train=40", "task.validation=0.2")
    steps = ("method.lambda_net.steps=20",) if entry.needs_net else ()
    chosen = (*SHORT, *known, f"method={method}", *steps)
    run = execute(configure(*chosen))
    columns = {"transform": "rot90", "view": "", "step": ""}
    assert 0 < value(run.folder, metric="top1_accuracy", **columns) < 100
    assert value(run.folder, metric="passes", **columns) == 4
    assert value(run.folder, metric="equivariance_error", **columns) < 1e-4
    trained = (128 + 1) * 100 + 101 if entry.needs_net else int(entry.needs_temperature)
    assert value(run.folder, metric="trained_parameters", **columns) == trained
    upright = value(run.folder, metric="top1_accuracy", transform="none")
    assert upright == value(run.folder, metric="top1_accuracy", **columns)
    # A choice jumps, a mean of positive weights does not.
    jump = value(execute(configure(*chosen, "stage=continuity")).folder, metric="jump")
    assert jump > 1e-4 if method in ("canonicalizer", "distance") else jump < 1e-7


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("method=augmented", "choose task.training=image_encoder"),
        ("method=distance task.training=image_encoder", "choose task.training=none"),
        ("method=distance task.validation=0", "task.validation above 0"),
        ("method=soft_equizero protocol=reference", "choose task.maximum=one_view"),
        ("method=prior_lambda protocol=reference", "choose task.lambda_as=weight"),
        ("method=equitune stage=lambda", "stage=lambda belongs to method=lambda_equitune, soft_e"),
        ("method=soft_equizero method.temperature=0", "must be above 0"),
        ("method=distance method.distance=far", "choose from: mahalanobis, neighbours"),
    ],
)
def test_what_further_methods_refuse(configure: Configure, given: str, line: str) -> None:
    with pytest.raises(UserError, match=re.escape(line)):
        configure(*SHORT, *given.split())


@pytest.mark.parametrize("method", ["equitune", "equizero", "lambda_equitune"])
def test_a_stopped_fine_tuning_ends_as_it_would_have(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    chosen = (*SHORT, *TUNED, *(LAMBDA if method == "lambda_equitune" else (f"method={method}",)))
    whole = configure(*chosen, "task.finetune.learning_rate=1e-4")
    stopped = configure(*chosen, "task.finetune.learning_rate=1e-4", "task.finetune.accumulate=2")
    # The number of passes does not decide the run: the two are one, in two folders.
    assert names(whole)["finetune"] == names(stopped)["finetune"]
    task = load_task("clip")
    first = execute(whole).folder
    folder = first.parent / name_run(task, task.stages["finetune"], whole).folder
    expected = (folder / "metrics.csv").read_bytes()
    tensors = load_tensors(folder / finetune.snapshot(6))[0]
    for path in folder.iterdir():
        path.unlink()
    stop = StopSignal()
    take = finetune.Tuner.step

    def step(self: Any, number: int, batch: Any) -> float:
        if number == 3:
            raise Interrupted("stopped here")
        return take(self, number, batch)

    monkeypatch.setattr(finetune.Tuner, "step", step)
    with pytest.raises(Interrupted):
        ensure(whole, "finetune", stop)
    assert (folder / "checkpoint.safetensors").is_file()
    monkeypatch.setattr(finetune.Tuner, "step", take)
    ensure(whole, "finetune", stop)
    assert (folder / "metrics.csv").read_bytes() == expected
    again = load_tensors(folder / finetune.snapshot(6))[0]
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())
    record = json.loads((folder / "record.json").read_text())
    assert set(record["artefacts"]) == {finetune.snapshot(step) for step in (2, 4, 6)}
    shown = [
        int(row["step"])
        for row in rows(first, metric="top1_accuracy", transform="rot90", view="")
        if row["step"]
    ]
    assert shown == [0, 2, 4, 6]


def test_accumulated_gradients_are_those_of_the_batch(configure: Configure) -> None:
    losses = []
    for passes in (1, 3):
        config = configure(*SHORT, *TUNED, "method=equitune", f"task.finetune.accumulate={passes}")
        finished = ensure(config, "finetune", StopSignal())
        losses.append(
            [float(row["value"]) for row in finished.rows() if row["metric"] == "training_loss"]
        )
        shutil.rmtree(finished.folder)  # the number of passes does not name it
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and len(losses[0]) == 3


def test_lambda_of_a_fine_tuned_encoder_costs_the_passes_of_two(configure: Configure) -> None:
    """It reads the pretrained encoder, whose views are passes as well."""
    folder = execute(configure(*SHORT, *TUNED, *LAMBDA)).folder
    assert value(folder, metric="passes") == 8


def test_a_training_that_diverges_is_a_result(configure: Configure) -> None:
    config = configure(*SHORT, *TUNED, "method=equitune", "task.finetune.learning_rate=1e30")
    folder = execute(config).folder
    step = value(folder, metric="diverged_step")
    assert 1 <= step <= 6
    shown = [
        int(row["step"])
        for row in rows(folder, metric="top1_accuracy", transform="rot90", view="")
        if row["step"]
    ]
    assert shown == [n for n in (0, 2, 4, 6) if n < step]


def test_the_reference_protocol_runs_whole(configure: Configure) -> None:
    for method in PAPERS[1:]:
        extra = LAMBDA if method == "lambda_equitune" else (f"method={method}",)
        folder = execute(configure(*SHORT, *TUNED, *extra, "protocol=reference")).folder
        assert value(folder, metric="equivariance_error") < 1e-4
        kept = ensure(
            configure(*SHORT, *TUNED, *extra, "protocol=reference"), "finetune", StopSignal()
        )
        assert {row["split"] for row in kept.rows()} == {"train"}


def test_the_methods_are_timed_side_by_side(configure: Configure) -> None:
    chosen = ("stage=timing", "task.max_images=6", "task.timing_batch=4", "task.timing_rounds=2")
    folder = execute(configure(*SHORT, *chosen)).folder
    seconds = rows(folder, metric="inference_seconds")
    assert [(row["method"], row["variant"]) for row in seconds] == [
        ("equitune", ""),
        ("equizero", ""),
        ("lambda_equitune", ""),
        ("lambda_equitune", "second encoder"),
    ]
    ratios, memory = (
        {
            (row["method"], row["variant"]): float(row["value"])
            for row in rows(folder, metric=metric)
        }
        for metric in ("relative_seconds", "relative_memory")
    )
    assert ratios["equitune", ""] == 1
    if timing._reset_peak():  # elsewhere the peak is not known
        assert memory.keys() == ratios.keys() and memory["equitune", ""] == 1
        assert all(0.5 < each < 2 for each in memory.values())
    assert ratios["lambda_equitune", "second encoder"] > ratios["lambda_equitune", ""]
    assert {row["group"] for row in seconds} == {"rot90"}
    processor = hardware()["processor"] or "cpu"
    assert {row["view"] for row in seconds} == {
        f"{processor}, threads={torch.get_num_threads()}, batch 4, float32, 6 images"
    }
    assert {row["value"] for row in rows(folder, metric="images")} == {"6.0"}


def test_a_peak_that_began_before_is_not_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(timing, "_RESET", tmp_path / "none" / "clear_refs")
    _, peak = timing._measure(torch.abs, [torch.ones(1)], torch.device("cpu"))
    assert peak == 0


def test_calibration_error_by_hand() -> None:
    confidence = torch.tensor([0.95, 0.95, 0.35, 0.35])
    right = torch.tensor([1.0, 0.0, 0.0, 1.0])
    # Two bins, gaps of 0.45 and 0.15, half of the images each.
    assert calibration_error(confidence, right) == pytest.approx(30.0)
    assert calibration_error(torch.ones(4), torch.ones(4)) == 0.0


def test_the_contrastive_loss_counts_images_of_a_class_as_pairs() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0], [0.5, 0.0]])
    index = torch.tensor([0, 1, 0])
    images = -torch.stack([logits.log_softmax(1)[i, c] for i, c in enumerate(index)]).mean()
    columns = logits.log_softmax(0)
    texts = -((columns[0, 0] + columns[2, 0]) / 2 + columns[1, 1]) / 2
    torch.testing.assert_close(pretrain.contrast(logits, index), (images + texts) / 2)


def test_the_first_command_of_a_user(run_py: RunPy, tmp_path: Path) -> None:
    done = run_py("method=equizero", *SHORT, f"results={tmp_path}/new")
    assert done.returncode == 0, done.stderr
    assert "top-1 accuracy (test, rot90): " in done.stdout
    assert "model=RN50 dataset=cifar100 scale=paper" in done.stderr + done.stdout
