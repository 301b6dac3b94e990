"""CLIP models of open_clip: building and loading. Weight files never run code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from experiments.clip.catalogue import own_size, quiet
from experiments.clip.checkpoints import fetch, of_transformers, put, put_file
from experiments.clip.inputs import Rounded
from experiments.frame.errors import UserError, one_line
from experiments.frame.files import file_digest
from experiments.images import cifar
from experiments.images.config import is_ours, pretraining_data, warn_of_training
from experiments.images.inputs import Preprocessing

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig, ClipModel
    from experiments.frame.records import Run

WEIGHTS = "model.safetensors"


def build_model(model: ClipModel) -> nn.Module:
    """Build a model; its weights are drawn from the global generator.

    Args:
        model: Its configuration, checked.

    Raises:
        UserError: If ``model.config`` has arguments that open_clip does not know, or an
            architecture needs files of the hub that are not there.
    """
    import open_clip  # type: ignore[import-untyped]

    if model.config is not None:
        try:
            built: nn.Module = open_clip.CLIP(**model.config)
        except TypeError as error:
            raise UserError(
                f"model.config: {one_line(error)}; it holds the arguments of open_clip.CLIP, see "
                "conf/model/SmallCLIP.yaml"
            ) from error
        return built
    # OpenAI's weights need an activation that the architecture does not state.
    tag = open_clip.get_pretrained_cfg(model.architecture, model.weights)
    described = _text_tower(model)
    try:
        with quiet():
            built = open_clip.create_model(
                model.architecture,
                load_weights=False,
                pretrained_text=False,
                force_quick_gelu=bool(tag.get("quick_gelu", False)),
                force_image_size=None if model.size == own_size(model) else model.size,
                **described,
            )
    except Exception as error:  # whatever it does not find
        raise UserError(
            f"model.architecture={model.architecture} with model.size={model.size} cannot be "
            f"built ({one_line(error)})"
        ) from error
    return built


def _text_tower(model: ClipModel) -> dict[str, Any]:
    """Return the arguments that let open_clip read a transformers text tower from local files."""
    import open_clip

    folder = of_transformers(model, "hf_model_name")
    if folder is None:
        return {}
    text = open_clip.get_model_config(model.architecture)["text_cfg"]
    return {"text_cfg": {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}}


class Pooled(nn.Module):
    """A tower that drops its patch outputs and returns only the embedding of the whole image."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings, [B, D], of images, [B, 3, size, size]."""
        found: Tensor = self.tower(images)[0]
        return found


def image_encoder(model: Any) -> nn.Module:
    """Return a module that maps images to embeddings, as `encode_image`, not normalised.

    Args:
        model: A model of open_clip; its parameters are the encoder's.
    """
    tower: nn.Module = model.visual
    # CoCa's decoder reads the patches, too.
    return Pooled(tower) if getattr(tower, "output_tokens", False) else tower


def make_tokenizer(model: ClipModel) -> Callable[[Sequence[str]], Tensor]:
    """Return the tokenizer: captions to ids, [n, L].

    Raises:
        UserError: If its files cannot be fetched or read; one line says which.
        Interrupted: If the process was asked to stop during the download.
    """
    import open_clip

    if model.config is not None:
        length = model.config["text_cfg"]["context_length"]
        found: Callable[[Sequence[str]], Tensor] = open_clip.SimpleTokenizer(context_length=length)
        return found
    folder = of_transformers(model, "hf_tokenizer_name")
    try:
        with quiet():
            if folder is None:
                found = open_clip.get_tokenizer(model.architecture)
            else:
                found = _hub_tokenizer(model, folder)
    except Exception as error:  # whatever it does not find
        where = "" if folder is None else f" of {folder}"
        raise UserError(
            f"the tokenizer of model.architecture={model.architecture} cannot be read{where} "
            f"({one_line(error)})"
        ) from error
    return found


def _hub_tokenizer(model: ClipModel, folder: Path) -> Callable[[Sequence[str]], Tensor]:
    """Return a tokenizer of transformers, as `open_clip.get_tokenizer` makes it."""
    import open_clip
    from open_clip.tokenizer import HFTokenizer  # type: ignore[import-untyped]

    text = open_clip.get_model_config(model.architecture)["text_cfg"]
    options = dict(text.get("tokenizer_kwargs", {}))
    for name in ("context_length", "tokenizer_mode"):
        if name in text:
            options[name] = text[name]
    found: Callable[[Sequence[str]], Tensor] = HFTokenizer(
        str(folder), local_files_only=True, **options
    )
    return found


def preprocessing(model: ClipModel) -> Preprocessing:
    """Return a model's preprocessing of square images; the resize mode does not matter."""
    assert model.size is not None and model.mean is not None and model.std is not None
    interpolation = model.interpolation
    assert interpolation is not None
    kind = Rounded if interpolation == "bilinear" else Preprocessing
    return kind(model.size, tuple(model.mean), tuple(model.std), interpolation)


def pretrained_model(config: ClipConfig, run: Run) -> nn.Module:
    """Return the frozen pretrained model of a run: the suite's, the hub's, or from a file.

    Raises:
        UserError: If weights cannot be fetched, or are not those of the architecture.
    """
    model = config.model
    with torch.random.fork_rng(devices=[]):
        built = build_model(model)
    if model.checkpoint is not None:
        put_file(built, Path(model.checkpoint), model)
        run.fact("checkpoint_sha256", file_digest(Path(model.checkpoint)))
    elif is_ours(config):
        warn_of_training(config, "model=ViT-B-32 (OpenAI)")
        finished = run.need("pretrain")
        put(built, finished.tensors(WEIGHTS)[0], model)
    else:
        path, commit, sha256 = fetch(model)
        put_file(built, path, model)
        facts = {"tag": model.weights, "file": path.name, "sha256": sha256, "commit": commit}
        run.fact("weights", facts)
    return built.eval().requires_grad_(False)


def downloads(config: ClipConfig) -> Iterator[partial[Any]]:
    """Yield what downloads each file that runs of a configuration need and this machine lacks.

    A call raises UserError if its file cannot be fetched or is not as expected, and Interrupted if
    the process was asked to stop meanwhile.
    """
    model = config.model
    if is_ours(config):
        yield partial(cifar.fetch, pretraining_data(config))
    elif model.checkpoint is None:
        yield partial(fetch, model)
    for key in ("hf_model_name", "hf_tokenizer_name"):
        yield partial(of_transformers, model, key)
    yield partial(cifar.fetch, config.dataset)
