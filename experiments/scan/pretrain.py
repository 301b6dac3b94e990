"""Stage ``pretrain``: one sequence-to-sequence model, trained at batch 1 (Section 5.1.3)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from experiments.errors import UserError
from experiments.files import load_tensors
from experiments.progress import progress
from experiments.scan.data import (
    ACTIONS,
    COMMANDS,
    Corpus,
    ScanData,
    draw_order,
    load_data,
    word_actions,
)
from experiments.scan.nets.group_model import GroupSeq2Seq
from experiments.scan.nets.model import Seq2Seq
from experiments.scan.nets.training import Network, Settings, Stream, Trainer, make_trainer
from experiments.scan.translate import accuracy, translate_plain

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.records import Run
    from experiments.schema import RunConfig

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
#: Iterations between two looks at the clock and at signals.
CHUNK = 1000


def build_model(config: RunConfig) -> Network:
    """Build a model with weights drawn by the seed, leaving the global generator as it was."""
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
                word_bias=config.task.word_bias,
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


def load_model(config: RunConfig, run: Run) -> Network:
    """Return the pretrained model: from ``model.checkpoint``, or from the pretraining run.

    Raises:
        UserError: If the file is damaged or belongs to another architecture.
    """
    model = build_model(config)
    if config.model.checkpoint is not None:
        weights = _read_checkpoint(model, config.model.checkpoint)
    else:
        finished = run.need("pretrain")
        weights, _ = finished.tensors(WEIGHTS)
        run.fact("pretrained_by", finished.record["name"])
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise UserError("the pretrained weights are not all finite numbers")
    model.load_state_dict(weights)
    return model.eval()


def _read_checkpoint(model: Network, path: str) -> dict[str, Tensor]:
    weights, _ = load_tensors(Path(path), own=False)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != expected:
        name = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise UserError(
            f"model.checkpoint={path} is of another architecture: {name} is "
            f"{found.get(name, 'absent')}, model={model.cell} needs {expected.get(name, 'none')}"
        )
    return weights


def _stream(data: Corpus, config: RunConfig, iterations: int) -> Stream:
    teacher_forcing = config.task.pretrain.teacher_forcing
    draws = draw_order(len(data), iterations, teacher_forcing, config.seed)
    return Stream.pack(data.commands, data.targets, draws.samples, draws.teacher)


class Pretraining:
    """The state of a pretraining run between two chunks of iterations."""

    def __init__(self, config: RunConfig, run: Run, data: ScanData) -> None:
        settings = config.task.pretrain
        self.run, self.data, self.settings = run, data, settings
        self.total = settings.budget
        if settings.backend == "torch":
            log.warning("no compiled kernel: plain PyTorch trains, %d iterations", self.total)
        self.model = build_model(config)
        recipe = Settings(
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
            dropout=config.model.dropout,
            seed=config.seed,
            reduction=config.model.reduction or "sum",
        )
        self.trainer: Trainer = make_trainer(self.model, recipe, settings.backend)
        self.stream = _stream(data.train, config, self.total)
        self.curve: list[dict[str, float]] = []
        self.loss_sum, self.loss_count = 0.0, 0
        self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        self._resume()

    def _resume(self) -> None:
        saved = self.run.resume()
        if saved is None:
            return
        tensors, facts = saved
        self.trainer.load_state_dict(_part(tensors, "trainer."))
        self.best = _part(tensors, "best.")
        self.curve = facts["curve"]
        self.loss_sum, self.loss_count = facts["loss_sum"], facts["loss_count"]
        log.info("resumed at iteration %d", self.trainer.iteration)

    def save(self) -> None:
        """Write the checkpoint."""
        tensors = {f"trainer.{k}": v for k, v in self.trainer.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        facts: dict[str, Any] = {
            "curve": self.curve,
            "loss_sum": self.loss_sum,
            "loss_count": self.loss_count,
        }
        self.run.checkpoint(tensors, facts)

    def points(self) -> list[int]:
        """Return the iterations after which the model is validated."""
        count = self.settings.evaluations
        return [self.total * (k + 1) // count for k in range(count)]

    def advance(self, stop: int) -> None:
        """Train up to iteration ``stop``."""
        losses = self.trainer.run(self.stream, self.trainer.iteration, stop)
        self.loss_sum += float(losses.sum())
        self.loss_count += len(losses)

    def validate(self) -> float:
        """Measure the held-out accuracy, keep the weights if it is the best, and return it."""
        self.trainer.export(self.model)
        words = translate_plain(self.model.eval(), self.data.validation)
        value = 100 * accuracy(words, self.data.validation)
        if all(value > point["accuracy"] for point in self.curve):
            self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        step = self.trainer.iteration
        point = {"step": step, "accuracy": value, "loss": self.loss_sum / self.loss_count}
        self.curve.append(point)
        self.loss_sum, self.loss_count = 0.0, 0
        values = {"validation_accuracy": point["accuracy"], "training_loss": point["loss"]}
        self.run.tracker.log(values, step)
        return value


def pretrain(config: RunConfig, run: Run) -> None:
    """Train a model, keep the one of the best validation accuracy, and write its curve."""
    data = load_data(config.dataset.name, config.seed, config.task.max_commands)
    state = Pretraining(config, run, data)
    total, points = state.total, state.points()
    every = config.task.pretrain.checkpoint_every
    label = f"pretrain {config.dataset.name} {config.model.name} seed {config.seed}"
    with progress(label, total, state.trainer.iteration) as bar:
        while (now := state.trainer.iteration) < total:
            if now == points[len(state.curve)]:
                bar.update(now, f"validation {state.validate():.1f} %")
            state.advance(min(points[len(state.curve)], now + CHUNK))
            if state.trainer.iteration % every < CHUNK or run.should_checkpoint:
                state.save()
            bar.update(state.trainer.iteration)
        if len(state.curve) < len(points):
            state.validate()
    _finish(state, run)


def _finish(state: Pretraining, run: Run) -> None:
    for point in state.curve:
        columns = {"split": "validation", "step": int(point["step"])}
        run.row("accuracy", point["accuracy"], **columns)
        run.row("loss", point["loss"], split="train", step=int(point["step"]))
    best = max(state.curve, key=lambda point: point["accuracy"])
    run.fact("parameters", sum(value.numel() for value in state.model.parameters()))
    run.fact("backend", type(state.trainer).__name__)
    run.fact("best_step", int(best["step"]))
    run.fact("device", "cpu")
    run.save(WEIGHTS, state.best, {"cell": state.model.cell, "step": int(best["step"])})


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
