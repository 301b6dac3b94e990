"""Stage ``evaluate``: zero-shot accuracy of one method on one split (Tables 2, 8, 9)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

import equitune
from experiments.environment import choose_device
from experiments.scan.config import ScanGroup, error_group, load_group
from experiments.scan.data import Corpus, ScanData, load_data, word_actions
from experiments.scan.pretrain import load_model
from experiments.scan.translate import correct, equivariance_error, translate, translator
from experiments.scan.weighting import collect_views, held_out_gain, train_lambda

if TYPE_CHECKING:
    from experiments.records import Run
    from experiments.scan.nets.training import Network
    from experiments.schema import RunConfig

#: Test commands on which the equivariance error is measured.
ERROR_COMMANDS = 500


def evaluate(config: RunConfig, run: Run) -> None:
    """Measure accuracy on validation and test commands, and the equivariance error."""
    device = choose_device(config.device)
    model = load_model(config, run).to(device)
    data = load_data(config.dataset.name, config.seed, config.task.max_commands)
    weigh = None
    if config.method.name == "lambda_equitune":
        weigh = _learn_weights(model, data, config, run).to(device)
    # A model that is equivariant by itself is run as it is.
    group = ScanGroup("trivial") if config.model.equivariant else config.group
    equivariant = translator(model, group, config.method.name, config.task, weigh)
    unseeded = config.task.validation == "unseeded"
    parts = {
        "validation": data.unseeded_validation if unseeded else data.validation,
        "test": data.test,
    }
    outcomes = {}
    for split, corpus in parts.items():
        outcomes[split] = correct(translate(equivariant, corpus), corpus)
        share = float(outcomes[split].double().mean())
        run.row("accuracy", 100 * share, split=split)
        run.row("commands", len(corpus), split=split)
    run.save("outcomes.safetensors", {k: v.to(torch.uint8) for k, v in outcomes.items()})
    actions = word_actions(load_group(error_group(config)))
    error = equivariance_error(equivariant, actions, _sample(data.test))
    run.row("equivariance_error", error, split="test")
    run.fact("validation_split", "unseeded" if unseeded else "held_out")
    run.fact("device", device.type)


def _sample(corpus: Corpus) -> Corpus:
    """Return evenly spaced commands, enough to see a defect of a percent."""
    count = min(ERROR_COMMANDS, len(corpus))
    return corpus.take(np.linspace(0, len(corpus) - 1, count).astype(int))


def _learn_weights(
    model: Network, data: ScanData, config: RunConfig, run: Run
) -> equitune.LambdaNet:
    """Train lambda on the training pairs and compare it with uniform weights on held-out pairs."""
    actions = word_actions(config.group)
    settings = config.method.lambda_net
    assert settings is not None
    views = collect_views(model, data.train, actions)
    net = train_lambda(views, settings, config.task.space, config.seed)
    held_out = collect_views(model, data.validation.without(data.train), actions)
    gain = held_out_gain(held_out, net, config.task.space, config.seed)
    for name, value in gain._asdict().items():
        run.row(f"nll_{name}", value, split="validation")
    run.save("lambda.safetensors", net.state_dict(), dataclasses.asdict(settings))
    return net
