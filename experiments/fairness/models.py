"""Language models and their tokenizers: trained here, or from a package, folder or the hub."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from experiments.fairness import synthetic_lm
from experiments.fairness.pretrained import Pretrained, load_pretrained
from experiments.fairness.sources import Files, model_files, weights_identity
from experiments.frame.machine import choose_device

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessConfig
    from experiments.frame.records import Run


class LanguageModel(NamedTuple):
    """A causal language model.

    Attributes:
        network: The network in evaluation mode, in float32, on the run's device.
        tokenizer: Its tokenizer.
        size: Number of logits for the next token.
    """

    network: Any
    tokenizer: Any
    size: int


def load_model(config: FairnessConfig, run: Run) -> LanguageModel:
    """Load or train the run's model.

    Raises:
        UserError: If it cannot be found, is not a causal language model, or would run code.
    """
    model = config.model
    if model.kind == "planted":
        network, tokenizer = synthetic_lm.load(config, run)
    else:
        files = model_files(config)
        network, tokenizer = _load(files, f"model.source={model.source}")
        run.fact("weights", files.facts() | weights_identity(model))
    device = choose_device(config.device)
    run.fact("device", str(device))
    network = network.to(device=device, dtype=torch.float32).eval()
    return LanguageModel(network, tokenizer, int(network.config.vocab_size))


# Consecutive jobs of a sweep in one process often use the same model.
@functools.lru_cache(maxsize=1)
def _load(files: Files, origin: str) -> Pretrained:
    return load_pretrained("AutoModelForCausalLM", files, origin)
