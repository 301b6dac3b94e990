"""Language models and their tokenizers: trained here, from a package, a folder or the hub."""

from __future__ import annotations

import contextlib
import functools
import io
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from experiments.environment import choose_device
from experiments.errors import UserError
from experiments.fairness import planted
from experiments.fairness.sources import find_folder, gguf_file, not_loaded, weights_facts

if TYPE_CHECKING:
    from experiments.records import Run
    from experiments.schema import RunConfig


class LanguageModel(NamedTuple):
    """A causal language model.

    Attributes:
        network: In evaluation mode, in float32, on the run's device.
        tokenizer: Its tokenizer.
        size: Number of scores that it gives for the next token.
    """

    network: Any
    tokenizer: Any
    size: int


def load_model(config: RunConfig, run: Run) -> LanguageModel:
    """Load or train the run's model.

    Raises:
        UserError: If it cannot be found, is not a causal language model, or holds pickles only.
    """
    model = config.model
    if model.kind == "planted":
        network, tokenizer = planted.load(config, run)
    else:
        quiet()
        assert model.source is not None
        network, tokenizer = _load(model.kind, model.source, model.revision)
        run.fact("weights", weights_facts(model) | {"commit": _commit(network)})
    device = choose_device(config.device)
    run.fact("device", str(device))
    network = network.to(device=device, dtype=torch.float32).eval()
    return LanguageModel(network, tokenizer, int(network.config.vocab_size))


def quiet() -> None:
    """Have transformers show warnings, but no bars."""
    from transformers.utils import logging as theirs

    theirs.disable_progress_bar()  # type: ignore[no-untyped-call]


def _commit(network: Any) -> str | None:
    found: str | None = getattr(network.config, "_commit_hash", None)
    return found


# A sweep's jobs that follow each other in one process mostly have the same model.
@functools.lru_cache(maxsize=1)
def _load(kind: str, name: str, revision: str | None) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if kind == "gguf":
        file = gguf_file(name)
        places: dict[str, Any] = {"gguf_file": file.name}
        weights, source = places, str(file.parent)
    else:
        places, source = {"revision": revision}, str(find_folder(name) or name)
        weights = places | {"use_safetensors": True}
    try:
        # Reading that format shows a bar of its own, which no setting hides.
        with contextlib.redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(source, **places)
            network = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **weights)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(not_loaded("model.source", name, error)) from error
    return network, tokenizer
