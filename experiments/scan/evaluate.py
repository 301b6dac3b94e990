"""Stage ``evaluate``: accuracy of one method on one split (Tables 2 and 8 to 12, Figure 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from experiments.costs import parameters
from experiments.frame.fields import given
from experiments.frame.machine import choose_device
from experiments.lambdas import copy_rows
from experiments.scan.data import Corpus, ScanData, load_data, word_actions
from experiments.scan.finetune import load_snapshot, snapshots
from experiments.scan.fingerprint import nontrivial_group
from experiments.scan.options import ScanGroup
from experiments.scan.pretrain import load_model
from experiments.scan.train_lambda import load_temperature, load_weights
from experiments.scan.translate import (
    Translator,
    correct,
    equivariance_error,
    lengths,
    passes,
    translate,
    translator,
)

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.frame.records import Run
    from experiments.scan.options import ScanConfig

#: Test commands on which the equivariance error is measured.
ERROR_COMMANDS = 500


def evaluate(config: ScanConfig, run: Run) -> None:
    """Measure accuracy on validation and test commands, and the equivariance error."""
    device = choose_device(config.device)
    model = load_model(config, run).to(device)
    data = load_data(config.dataset.name, config.seed, config.task.max_commands)
    weigh = load_weights(config, run, model)
    if weigh is not None:
        weigh = weigh.to(device)
    # A model that is equivariant by construction needs no method.
    group = ScanGroup("trivial") if config.model.equivariant else config.group
    temperature = load_temperature(config, run)
    equivariant = translator(model, group, config.method.name, config.task, weigh, temperature)
    unseeded = config.task.validation == "unseeded"
    parts = {
        "validation": data.unseeded_validation if unseeded else data.validation,
        "test": data.test,
    }
    outcomes: dict[str, Tensor] = {}
    if config.task.finetune is None:
        outcomes = _measure(equivariant, parts, data, config, run, None)
        if config.method.is_fitted:
            copy_rows(run, "lambda")
    else:
        finished = run.need("finetune")
        for step, weights in snapshots(finished).items():
            load_snapshot(model, weights)
            outcomes |= _measure(equivariant, parts, data, config, run, step)
    run.save("outcomes.safetensors", outcomes)
    run.fact("validation_split", "unseeded" if unseeded else "held_out")
    run.fact("device", device.type)


def _measure(
    equivariant: Translator,
    parts: dict[str, Corpus],
    data: ScanData,
    config: ScanConfig,
    run: Run,
    step: int | None,
) -> dict[str, Tensor]:
    """Write the rows of a model after ``step`` iterations of fine-tuning (None: zero-shot).

    Returns:
        Whether each command is translated correctly, by split and step, uint8.
    """
    columns = {} if step is None else {"step": step}
    outcomes = {}
    for split, corpus in parts.items():
        words = translate(equivariant, corpus)
        right = correct(words, corpus)
        written, wanted = lengths(words), torch.tensor([len(t) for t in corpus.targets])
        for metric, found in (
            ("accuracy", right),
            ("longer_than_target", written > wanted),
            ("shorter_than_target", written < wanted),
        ):
            run.row(metric, 100 * float(found.double().mean()), split=split, **columns)
        run.row("commands", len(corpus), split=split, **columns)
        outcomes[split if step is None else f"{split}.{step}"] = right.to(torch.uint8)
    if step is None or step == given(config.task.finetune).iterations:
        actions = word_actions(nontrivial_group(config))
        error = equivariance_error(equivariant, actions, _sample(data.test))
        run.row("equivariance_error", error, split="test", **columns)
        command = torch.tensor(data.test.commands[:1])
        run.row("passes", passes(equivariant, command), split="test", **columns)
        run.row("trained_parameters", _trained(config, equivariant), split="test", **columns)
    return outcomes


def _trained(config: ScanConfig, equivariant: Translator) -> int:
    """Return how many numbers are trained for the method, besides those of the pretrained model."""
    whole = config.task.finetune is not None or config.method.entry.augments
    model = equivariant.model if whole else None
    net = equivariant.weigh.net if equivariant.weigh else None
    return parameters(model, net) + config.method.fits_temperature


def _sample(corpus: Corpus) -> Corpus:
    """Return evenly spaced commands, enough to detect an error of one percent."""
    count = min(ERROR_COMMANDS, len(corpus))
    return corpus.take(np.linspace(0, len(corpus) - 1, count).astype(int))
