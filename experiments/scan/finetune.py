"""Stage ``finetune``: fine-tuning of a pretrained model through a method (Section 5.1.3)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from experiments.frame.fields import given
from experiments.frame.files import part
from experiments.frame.methods import Kind
from experiments.scan.data import ScanData, WordActions, draw_stream, load_data, word_actions
from experiments.scan.fingerprint import TUNED, learning_rate
from experiments.scan.loop import TrainingLoop
from experiments.scan.nets.model import EncoderDecoder, Seq2Seq
from experiments.scan.nets.objective import Objective
from experiments.scan.nets.training import Settings
from experiments.scan.pretrain import load_model
from experiments.scan.train_lambda import load_weights
from experiments.scan.trainers import make_finetuner

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.frame.records import FinishedRun, Run
    from experiments.scan.options import ScanConfig

log = logging.getLogger(__name__)

SNAPSHOTS = "models.safetensors"


class Finetuning(TrainingLoop):
    """Fine-tuning loop that stores the model at every point."""

    def __init__(self, config: ScanConfig, run: Run, data: ScanData) -> None:
        """Start, or continue from the run's checkpoint."""
        settings, task = given(config.task.finetune), config.task
        model = load_model(config, run)
        assert isinstance(model, Seq2Seq)
        recipe = Settings(
            lr=learning_rate(config),
            weight_decay=settings.weight_decay,
            clip=settings.clip,
            dropout=config.model.dropout,
            seed=config.seed,
            optimizer_steps=settings.equizero_steps or 1,
        )
        objective = _objective(config, run, model, data, word_actions(config.group))
        if task.pretrain.backend == "torch":
            log.warning("no compiled kernel: plain PyTorch trains, about 40 times slower")
        super().__init__(
            run,
            make_finetuner(model, recipe, objective, task.pretrain.backend),
            draw_stream(data.train, settings.iterations, settings.teacher_forcing, config.seed),
            settings.steps,
        )
        self.model = model
        self.facts["curve"] = []
        self.resume()

    def reached(self) -> str:
        """Store the weights."""
        self.trainer.export(self.model)
        step = self.trainer.iteration
        weights = self.model.state_dict().items()
        self.kept |= {f"{step}.{name}": value.detach().clone() for name, value in weights}
        if step:
            self.facts["curve"].append({"step": step, "loss": self.take_loss()})
            self.run.tracker.log({"training_loss": self.facts["curve"][-1]["loss"]}, step)
        return ""


def _objective(
    config: ScanConfig, run: Run, model: Seq2Seq, data: ScanData, actions: WordActions
) -> Objective:
    """Return the objective of a method.

    Raises:
        ValueError: If methods of this kind are not fine-tuned here.
    """
    method = config.method.entry
    if method.kind not in TUNED:
        raise ValueError(f"method={method.name} is not fine-tuned: it neither averages nor chooses")
    space = given(config.task.space)
    if method.kind is Kind.CHOICE:
        score = given(config.task.score)
        return Objective(
            actions.commands, actions.words, combine="select", space=space, score=score
        )
    # Lambda is not changed after its training on the frozen model (Section 5.2.1).
    weigh = load_weights(config, run, model)
    return Objective(
        actions.commands,
        actions.words,
        space=space,
        coupling=given(config.task.coupling),
        weights=None if weigh is None else weigh.of_corpus(data.train, actions),
    )


def finetune(config: ScanConfig, run: Run) -> None:
    """Fine-tune a pretrained model and store it at the configured points."""
    data = load_data(config.dataset.name, config.seed, config.task.max_commands)
    state = Finetuning(config, run, data)
    method, seed = config.method.name, config.seed
    label = f"finetune {config.dataset.name} {config.model.name} {method} seed {seed}"
    state.train(label, given(config.task.finetune).checkpoint_every, "task.finetune.iterations")
    for point in state.facts["curve"]:
        run.row("loss", point["loss"], split="train", step=point["step"])
    run.fact("backend", type(state.trainer).__name__)
    run.fact("device", "cpu")
    run.fact("learning_rate", learning_rate(config))
    run.save(SNAPSHOTS, state.kept, {"cell": state.model.cell, "steps": state.points})


def snapshots(finished: FinishedRun) -> dict[int, dict[str, Tensor]]:
    """Return the stored weights of a finished run by iteration."""
    tensors, facts = finished.tensors(SNAPSHOTS)
    return {int(step): part(tensors, f"{step}.") for step in facts["steps"]}


def load_snapshot(model: EncoderDecoder, weights: dict[str, Tensor]) -> EncoderDecoder:
    """Load stored weights into a model."""
    model.load_state_dict(weights)
    return model.eval()
