"""Trials of CLIP: few images go through the network; captions and checks can be stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor
from torch.nn import functional

from experiments.clip import embeddings
from experiments.clip.evaluate import SHOWN
from experiments.clip.train_lambda import load_lambda
from experiments.frame import progress
from experiments.frame.errors import Interrupted
from experiments.frame.files import load_tensors
from experiments.frame.options import AnyConfig
from experiments.frame.records import FinishedRun
from experiments.frame.runner import StopSignal, ensure, execute
from experiments.images import extraction
from experiments.images.arrays import encode_png
from experiments.images.extraction import orbit_outputs, shuffled
from tests.experiments.clip.test_runs import LAMBDA, SHORT, TUNED, names, rows, value

Configure = Callable[..., AnyConfig]
FEATURES = ("features_train", "features_test")


class After:
    """A request to stop that comes after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def received(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count what the image encoder gets: views of images, whoever asks."""
    found, forward = {"views": 0}, ModifiedResNet.forward

    def count(self: Any, inputs: Any) -> Any:
        found["views"] += len(inputs)
        return forward(self, inputs)

    monkeypatch.setattr(ModifiedResNet, "forward", count)
    return found


def test_a_trial_sends_few_images_through_the_encoder(
    configure: Configure, seen: dict[str, int]
) -> None:
    trial = configure(*SHORT, *LAMBDA, "task.max_images=40")
    for stage in ("pretrain", "text"):
        ensure(trial, stage, StopSignal())
    seen["views"] = 0
    folder = execute(trial).folder
    # One view before each split says how large features are; the check has 4 x 4 of 5 images, and
    # the orbit of one image to count passes.
    assert seen["views"] == 2 * (1 + 4 * 40) + 4 * 4 * 5 + 4
    assert value(folder, metric="equivariance_error") < 1e-4
    kept = ensure(trial, "features_test", StopSignal())
    tensors = load_tensors(kept.folder / extraction.FEATURES)[0]
    whole = ensure(configure(*SHORT, *LAMBDA), "features_test", StopSignal())
    everything = load_tensors(whole.folder / extraction.FEATURES)[0]
    assert (tensors["labels"] == everything["labels"][shuffled(120)[:40]]).all()
    assert (tensors["sample"] == everything["sample"][:40]).all()
    # The image that is shown is the one whose shares are.
    assert (folder / SHOWN).read_bytes() == encode_png(tensors["sample"][0].numpy())
    shares = [float(row["value"]) for row in rows(folder, metric="lambda_share_shown")]
    assert shares == pytest.approx(shares_of(trial, tensors["features"][:, :1]), rel=1e-5)


def shares_of(config: AnyConfig, embeddings: Tensor) -> list[float]:
    """Return how the learned lambda divides among the views of one image, in percent."""

    class Fake:
        def need(self, stage: str) -> FinishedRun:
            return ensure(config, stage, StopSignal())

        def fact(self, *_: Any) -> None:
            pass

    run: Any = Fake()
    net = load_lambda(config, run, embeddings.shape[-1]).net
    assert net is not None
    weights: Tensor = net(functional.normalize(embeddings, dim=-1))[:, 0]
    return (100 * weights / weights.sum()).tolist()  # type: ignore[no-any-return]


def test_a_trial_and_a_whole_run_share_no_features(configure: Configure) -> None:
    for chosen in (LAMBDA, ("method=equitune", *TUNED)):
        whole, trial, other = (
            names(configure(*SHORT, *chosen, *more))
            for more in ((), ("task.max_images=40",), ("task.max_images=41",))
        )
        shared = {stage for stage in whole if whole[stage] == trial[stage]}
        assert {"pretrain", "text"} <= shared and not shared & {*FEATURES, "lambda", "finetune"}
        assert all(trial[stage] != other[stage] for stage in (*FEATURES, "evaluate"))


def test_the_fine_tuning_of_a_trial_learns_from_its_images(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = 0

    def count(network: Any, pixels: Any, see: Any, elements: Any) -> Any:
        nonlocal images
        images += len(pixels)
        return orbit_outputs(network, pixels, see, elements)

    monkeypatch.setattr(extraction, "orbit_outputs", count)
    few = execute(configure(*SHORT, *TUNED, "method=equitune", "task.max_images=30"))
    # Both splits are stored; one image, held out, judges steps 0, 2, 4 and 6, and after the last
    # three the images are measured.
    assert images == 2 * 30 + 4 * 1 + 3 * 30
    assert few.record["facts"]["images_learned"] == 29
    step = int(value(few.folder, metric="selected_step"))
    shown = value(few.folder, metric="top1_accuracy", transform="rot90", view="", step=str(step))
    assert shown == value(few.folder, metric="top1_accuracy", transform="rot90", view="", step="")


def test_what_takes_long_tells_how_far_it_is_and_can_be_stopped(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seen: dict[str, int],
) -> None:
    """Captions between two batches, the check of a whole network between two turns."""
    config = configure(*SHORT, "method=equitune")
    done = [ensure(config, stage, StopSignal()) for stage in ("text", "features_test")]
    captions = int(float(done[0].rows()[0]["value"]))
    classifier = load_tensors(done[0].folder / embeddings.TEXT)[0]["classifier"]
    for path in done[0].folder.iterdir():
        path.unlink()
    monkeypatch.setattr(embeddings, "BATCH", 10)
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    stop: Any = After(2)
    with caplog.at_level(logging.INFO), pytest.raises(Interrupted, match="begins again"):
        ensure(config, "text", stop)
    told = [line for line in caplog.messages if line.startswith("captions of symbols by SmallCLIP")]
    parts = [line.partition(": ")[2].partition(",")[0] for line in told]
    assert parts == ["12 classes x 8 captions", f"10 of {captions}", f"20 of {captions}"]
    again = load_tensors(ensure(config, "text", StopSignal()).folder / embeddings.TEXT)[0][
        "classifier"
    ]
    # Products of another batch may round differently.
    assert (again - classifier).abs().max() < 1e-5

    seen["views"] = 0
    stop = After(1)
    with caplog.at_level(logging.INFO), pytest.raises(Interrupted, match="begins again"):
        ensure(config, "evaluate", stop)
    assert seen["views"] == 4 * extraction.SAMPLE
    assert any(
        m.endswith(f": {extraction.SAMPLE} of {4 * extraction.SAMPLE}") for m in caplog.messages
    )
    execute(config)
    assert seen["views"] == 4 * extraction.SAMPLE * (1 + 4) + 4
