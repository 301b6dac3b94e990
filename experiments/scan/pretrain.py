"""Stage ``pretrain``: one sequence-to-sequence model, trained at batch 1 (Section 5.1.3)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from experiments.external.weight_files import load_weights, under_prefix
from experiments.frame.errors import UserError
from experiments.frame.fields import given
from experiments.scan.data import (
    ACTIONS,
    COMMANDS,
    ScanData,
    draw_stream,
    load_data,
    word_actions,
)
from experiments.scan.fingerprint import nontrivial_group
from experiments.scan.loop import TrainingLoop
from experiments.scan.nets.group_model import GroupSeq2Seq
from experiments.scan.nets.model import EncoderDecoder, Seq2Seq
from experiments.scan.nets.training import Settings
from experiments.scan.trainers import make_trainer
from experiments.scan.translate import accuracy, translate_plain

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.frame.records import Run
    from experiments.scan.options import ScanConfig

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"


def build_model(config: ScanConfig) -> EncoderDecoder:
    """Build a model with weights drawn by the seed; the global generator is not changed."""
    model = config.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if model.equivariant:
            actions = word_actions(config.group)
            return GroupSeq2Seq(
                model.cell,
                actions.commands,
                actions.words,
                in_words=len(COMMANDS),
                out_words=len(ACTIONS),
                hidden=model.hidden,
                word_bias=given(config.task.word_bias),
                max_steps=model.max_steps,
            )
        return Seq2Seq(
            model.cell,
            in_words=len(COMMANDS),
            out_words=len(ACTIONS),
            hidden=model.hidden,
            dropout=model.dropout,
            max_steps=model.max_steps,
        )


def load_model(config: ScanConfig, run: Run) -> EncoderDecoder:
    """Return the pretrained model: from ``model.checkpoint``, or from the pretraining run.

    Raises:
        UserError: If the file is damaged or its architecture is another one.
    """
    model = build_model(config)
    if config.model.checkpoint is not None:
        weights = _read_checkpoint(model, config.model.checkpoint)
    else:
        finished = run.need("pretrain")
        weights, _ = finished.tensors(WEIGHTS)
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise UserError("the pretrained weights are not all finite numbers")
    model.load_state_dict(weights)
    return model.eval()


def _read_checkpoint(model: EncoderDecoder, path: str) -> dict[str, Tensor]:
    weights = under_prefix(load_weights(Path(path)), model.state_dict())
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != expected:
        name = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise UserError(
            f"model.checkpoint={path} is of another architecture: {name} is "
            f"{found.get(name, 'absent')}, model={model.cell} needs {expected.get(name, 'none')}"
        )
    return weights


class Pretraining(TrainingLoop):
    """Pretraining loop that validates the model at every point and stores the best one."""

    def __init__(self, config: ScanConfig, run: Run, data: ScanData) -> None:
        """Start, or continue from the run's checkpoint."""
        settings = config.task.pretrain
        total, count = settings.budget, settings.evaluations
        if settings.backend == "torch":
            log.warning("no compiled kernel: plain PyTorch trains, %d iterations", total)
        self.model, self.data = build_model(config), data
        recipe = Settings(
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
            dropout=config.model.dropout,
            seed=config.seed,
            reduction=config.model.reduction or "sum",
        )
        augments = config.method.entry.augments
        actions = word_actions(nontrivial_group(config)) if augments else None
        super().__init__(
            run,
            make_trainer(self.model, recipe, settings.backend),
            draw_stream(data.train, total, settings.teacher_forcing, config.seed, actions),
            [total * (k + 1) // count for k in range(count)],
        )
        self.facts["curve"] = []
        self.resume()

    @property
    def curve(self) -> list[dict[str, float]]:
        """Step, validation accuracy in percent and training loss of every point so far."""
        curve: list[dict[str, float]] = self.facts["curve"]
        return curve

    def reached(self) -> str:
        """Measure the held-out accuracy and store the weights if it is the best."""
        self.trainer.export(self.model)
        words = translate_plain(self.model.eval(), self.data.validation)
        value = 100 * accuracy(words, self.data.validation)
        if all(value > point["accuracy"] for point in self.curve):
            self.kept = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        point = {"step": self.trainer.iteration, "accuracy": value, "loss": self.take_loss()}
        self.curve.append(point)
        values = {"validation_accuracy": point["accuracy"], "training_loss": point["loss"]}
        self.run.tracker.log(values, self.trainer.iteration)
        return f"validation {value:.1f} %"


def pretrain(config: ScanConfig, run: Run) -> None:
    """Train a model, store the state with the best validation accuracy, and write its curve."""
    data = load_data(config.dataset.name, config.seed, config.task.max_commands)
    state = Pretraining(config, run, data)
    label = f"pretrain {config.dataset.name} {config.model.name} seed {config.seed}"
    state.train(label, config.task.pretrain.checkpoint_every, "task.pretrain.iterations")
    for point in state.curve:
        columns = {"split": "validation", "step": int(point["step"])}
        run.row("accuracy", point["accuracy"], **columns)
        run.row("loss", point["loss"], split="train", step=int(point["step"]))
    best = max(state.curve, key=lambda point: point["accuracy"])
    run.fact("parameters", sum(value.numel() for value in state.model.parameters()))
    run.fact("backend", type(state.trainer).__name__)
    run.fact("best_step", int(best["step"]))
    run.fact("device", "cpu")
    run.save(WEIGHTS, state.kept, {"cell": state.model.cell, "step": int(best["step"])})
