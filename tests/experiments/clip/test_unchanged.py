"""What may not change a run: passes of a batch, options it does not read, damage, trials."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.clip import evaluate, finetune
from experiments.clip.measures import calibration_error, drawn, outcomes
from experiments.frame.errors import Interrupted
from experiments.frame.files import load_tensors
from experiments.frame.options import AnyConfig
from experiments.frame.runner import StopSignal, ensure, execute
from tests.experiments.clip.small import SHORT
from tests.experiments.clip.test_runs import LAMBDA, TUNED, names, rows, value

Configure = Callable[..., AnyConfig]
pytestmark = pytest.mark.usefixtures("trained")
ALWAYS = (*LAMBDA, "method.lambda_net.dropout=0.5", "task.lambda_dropout=always")


def tuned(configure: Configure, *overrides: str) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Return what two steps make of an encoder, and the losses, computed in a folder of its own."""
    steps = ("task.finetune.steps=2", "task.finetune.every=1", "task.finetune.precision=float32")
    config = configure(*SHORT, *TUNED, *steps, "task.finetune.learning_rate=1e-2", *overrides)
    finished = ensure(config, "finetune", StopSignal())
    losses = [float(row["value"]) for row in finished.rows() if row["metric"] == "training_loss"]
    found = load_tensors(finished.folder / finetune.snapshot(2))[0]
    for path in finished.folder.iterdir():
        path.unlink()
    return found, losses


@pytest.mark.parametrize(
    "chosen",
    [
        ALWAYS,
        (*LAMBDA, "protocol=reference"),
        ("method=equizero",),
        ("method=equizero", "protocol=reference"),
    ],
)
def test_a_step_does_not_depend_on_its_passes(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, chosen: tuple[str, ...]
) -> None:
    """With dropout that is never off, too: what it draws is that of the batch."""
    load = finetune.load_lambda

    def load_steep(*arguments: Any) -> Any:
        # So few steps of learning tell views hardly apart.
        fitted = load(*arguments)
        for parameter in fitted.net.parameters() if fitted.net is not None else ():
            parameter.mul_(20)
        return fitted

    monkeypatch.setattr(finetune, "load_lambda", load_steep)
    whole, losses = tuned(configure, *chosen, "task.scale=100")
    for passes in (2, 5):
        more = ("task.scale=100", f"task.finetune.accumulate={passes}")
        parts, again = tuned(configure, *chosen, *more)
        assert again == pytest.approx(losses, rel=1e-5)
        for name, tensor in whole.items():
            torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("stage", "chosen", "change"),
    [
        ("lambda", LAMBDA, ("task.draw=image",)),
        ("lambda", (*LAMBDA, "protocol=reference"), ("task.draw_batch=7",)),
        ("lambda", LAMBDA, ("task.lambda_dropout=always",)),
        ("lambda", LAMBDA, ("task.lambda_relus=1",)),
        ("finetune", ("method=equitune", *TUNED), ("task.draw=image",)),
        ("finetune", ("method=equitune", *TUNED), ("task.selection=last",)),
        (
            "finetune",
            ("method=equitune", *TUNED, "protocol=reference"),
            ("task.selection=last",),
        ),
    ],
)
def test_what_is_not_read_names_no_run(
    configure: Configure, stage: str, chosen: tuple[str, ...], change: tuple[str, ...]
) -> None:
    one, two = (configure(*SHORT, *chosen, *more) for more in ((), change))
    assert names(one)[stage] == names(two)[stage]
    results = []
    for config in (one, two):
        finished = ensure(config, stage, StopSignal())
        results.append((finished.folder / "metrics.csv").read_bytes())
        shutil.rmtree(finished.folder)
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("stage", "chosen", "change"),
    [
        ("lambda", LAMBDA, ("task.draw=batch", "task.draw_batch=32")),
        ("lambda", ALWAYS, ("task.lambda_dropout=training",)),
        ("lambda", LAMBDA, ("task.selection=last",)),
        ("lambda", LAMBDA, ("task.lambda_relus=0",)),
        ("finetune", (*LAMBDA, *TUNED), ("task.selection=last",)),
        ("finetune", ("method=equitune", *TUNED), ("task.selection=train",)),
        ("finetune", ("method=equizero", *TUNED), ("task.straight_through=identity",)),
        ("evaluate", ("method=equitune", *TUNED), ("task.selection=last",)),
        ("evaluate", ("method=equitune",), ("task.draw=image",)),
    ],
)
def test_what_is_read_names_the_run(
    configure: Configure, stage: str, chosen: tuple[str, ...], change: tuple[str, ...]
) -> None:
    one, two = (configure(*SHORT, *chosen, *more) for more in ((), change))
    assert names(one)[stage] != names(two)[stage]


#: The precision of the machine that has measured, which ``auto`` may not choose here.
MEASURED = ("task.pretrain.precision=bfloat16", "task.finetune.precision=bfloat16")
PAPER = {
    "pretrain": "3004fea7f939",
    "text": "9f2220a371c1",
    "features_train": "31c1a9f70b6b",
    "features_test": "4f264c81cca3",
    "finetune": "db50156b1fea",
    "evaluate": "42c217af6dd8",
}
REFERENCE = {"finetune": "bd15aaf81608", "evaluate": "3ece5291e17c"}
LEARNED = {"lambda": "1a3bbb40bb8a", "finetune": "f7abf8e4ad71"}


def test_names_of_default_runs_are_kept(configure: Configure) -> None:
    """Results that are measured carry them; a change of numbers raises a version, and these."""
    kept = {
        ("paper", "equitune"): PAPER,
        ("reference", "equizero"): REFERENCE,
        ("reference", "lambda_equitune"): LEARNED,
    }
    for (protocol, method), expected in kept.items():
        chosen = ("task=clip", f"protocol={protocol}", f"method={method}", *MEASURED)
        found = names(configure(*chosen, "task.training=image_encoder"))
        assert {stage: found[stage] for stage in expected} == expected


def interrupted(config: AnyConfig, monkeypatch: pytest.MonkeyPatch, at: int) -> Path:
    """Stop a fine-tuning before a step; returns its folder."""
    take = finetune.Tuner.step
    seen = []

    def step(self: Any, number: int, batch: Any) -> float:
        if number == at:
            raise Interrupted("stopped here")
        return take(self, number, batch)

    def resume(run: Any) -> Any:
        seen.append(run.folder)
        return keep(run)

    keep = finetune._resume
    monkeypatch.setattr(finetune, "_resume", resume)
    monkeypatch.setattr(finetune.Tuner, "step", step)
    with pytest.raises(Interrupted):
        ensure(config, "finetune", StopSignal())
    monkeypatch.setattr(finetune.Tuner, "step", take)
    folder: Path = seen[0]
    return folder


@pytest.mark.parametrize(
    ("step", "message", "first"),
    [(4, "written again, from the checkpoint", 5), (2, "begins at the beginning", 1)],
)
def test_a_damaged_encoder_is_computed_again(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: int,
    message: str,
    first: int,
) -> None:
    config = configure(*SHORT, *TUNED, "method=equitune", "task.finetune.learning_rate=1e-4")
    folder = ensure(config, "finetune", StopSignal()).folder
    expected = (folder / "metrics.csv").read_bytes()
    encoders = {n: load_tensors(folder / finetune.snapshot(n))[0] for n in (2, 4, 6)}
    for path in folder.iterdir():
        path.unlink()
    interrupted(config, monkeypatch, at=5)
    damaged = folder / finetune.snapshot(step)
    damaged.write_bytes(damaged.read_bytes()[:-3])
    taken = []
    take = finetune.Tuner.step

    def watch(self: Any, number: int, batch: Any) -> float:
        taken.append(number)
        return take(self, number, batch)

    monkeypatch.setattr(finetune.Tuner, "step", watch)
    with caplog.at_level(logging.WARNING):
        ensure(config, "finetune", StopSignal())
    assert taken[0] == first and message in caplog.text and damaged.name in caplog.text
    assert (folder / "metrics.csv").read_bytes() == expected
    for number, tensors in encoders.items():
        again = load_tensors(folder / finetune.snapshot(number))[0]
        assert again.keys() == tensors.keys()
        assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


def test_the_images_that_are_measured_are_one_choice(configure: Configure) -> None:
    """After no step the encoder is the pretrained one: fine-tuned or not, the rows are the same."""
    chosen = ("method=equizero", "task.max_images=30")
    plain = execute(configure(*SHORT, *chosen)).folder
    after = execute(configure(*SHORT, *TUNED, *chosen)).folder
    first = value(after, metric="top1_accuracy", transform="rot90", view="", step="0")
    assert first == value(plain, metric="top1_accuracy", transform="rot90", view="", step="")


def test_the_whole_network_runs_on_the_runs_device(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(*SHORT, "method=equitune")
    for stage in ("text", "features_test"):
        ensure(config, stage, StopSignal())
    asked = []
    moved = []
    move = evaluate._Whole.to

    def choose(wanted: str) -> torch.device:
        asked.append(wanted)
        return torch.device("cpu", 0)

    def to(self: Any, device: torch.device) -> Any:
        moved.append(device)
        return move(self, device)

    monkeypatch.setattr(evaluate, "choose_device", choose)
    monkeypatch.setattr(evaluate._Whole, "to", to)
    finished = execute(config)
    assert asked == [config.device] and moved == [torch.device("cpu", 0)]
    assert finished.record["facts"]["device"] == "cpu:0"


def test_every_stage_computes_without_tf32(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from experiments.clip import embeddings, pretrain, timing

    matmul = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        pytest.skip("before PyTorch 2.9")
    seen: dict[str, set[str]] = {}

    def watch(module: Any, name: str) -> None:
        inner, place = getattr(module, name), f"{module.__name__.rpartition('.')[2]}.{name}"

        def call(*arguments: Any, **more: Any) -> Any:
            seen.setdefault(place, set()).add(matmul.fp32_precision)
            return inner(*arguments, **more)

        monkeypatch.setattr(module, name, call)

    for module in (embeddings, finetune, evaluate, timing, pretrain):
        watch(module, "preprocessing")
    watch(embeddings, "class_embeddings")
    new = (*SHORT, f"results={tmp_path}/new")
    execute(configure(*new, *TUNED, "method=equitune"))
    execute(configure(*new, "stage=timing", "task.max_images=2", "task.timing_rounds=1"))
    places = ("embeddings", "finetune", "evaluate", "timing", "pretrain")
    expected = {"embeddings.class_embeddings", *(f"{place}.preprocessing" for place in places)}
    assert seen == {place: {"ieee"} for place in expected}
    assert matmul.fp32_precision != "ieee"


def test_the_calibration_error_pools_all_transforms_whatever_is_drawn(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []

    def keep(scorer: Any, images: Any) -> Any:
        kept.append(outcomes(scorer, images))
        return kept[-1]

    monkeypatch.setattr(evaluate, "outcomes", keep)
    chosen = (*SHORT, "method=pretrained", "protocol=reference")
    found = execute(configure(*chosen)).folder
    pooled = calibration_error(kept[0].confidence.flatten(), kept[0].top1.flatten())
    assert value(found, metric="calibration_error") == pooled
    every = execute(configure(*chosen, "task.draw=every")).folder
    assert value(every, metric="calibration_error") == pooled
    shown = [value(f, metric="top1_accuracy", transform="rot90", view="") for f in (found, every)]
    turned = drawn("batch", 32, 4, kept[0].top1.shape[1], 0)
    picked = kept[0].at(turned).top1
    assert shown == pytest.approx([100 * float(picked.mean()), 100 * float(kept[0].top1.mean())])


def test_shares_of_a_temperature_are_those_of_its_magnitudes(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.clip.scoring import Scorer

    class Signed(torch.nn.Module):
        """Of the view at place v, half of the images have -(v + 1) and half have v + 1."""

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            sizes = torch.arange(1.0, len(features) + 1)[:, None]
            signs = torch.ones(features.shape[1])
            signs[::2] = -1
            return sizes * signs

    monkeypatch.setattr(Scorer, "net", property(lambda self: Signed()))
    finished = execute(configure(*SHORT, *LAMBDA, "protocol=reference"))
    shares = [float(row["value"]) for row in rows(finished.folder, metric="lambda_share")]
    assert shares == pytest.approx([10, 20, 30, 40])
    assert value(finished.folder, metric="lambda_highest_upright") == 0
    assert finished.record["facts"]["lambda_negative_percent"] == 50
