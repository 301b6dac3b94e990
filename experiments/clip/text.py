"""Stage ``text``: embeddings of the classes, from captions (Radford et al. 2021, Section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from experiments.clip.models import make_tokenizer, pretrained_model
from experiments.clip.prompts import captions, class_names, templates
from experiments.environment import choose_device, ieee_float32
from experiments.images.sets import open_images
from experiments.images.training import precision

if TYPE_CHECKING:
    from experiments.records import Run
    from experiments.schema import RunConfig

TEXT = "text.safetensors"
#: Captions per pass; memory, not numbers.
BATCH = 512


@torch.inference_mode()
def class_embeddings(
    model: Any, ids: Int64[Tensor, "classes templates length"], name: str
) -> Float[Tensor, "embedding classes"]:
    """Return one unit vector per class: the mean of the unit vectors of its captions, normalised.

    Args:
        model: A CLIP.
        ids: The captions.
        name: Precision of the matrix products.
    """
    flat = ids.flatten(0, 1)
    with precision(name, ids.device):
        parts = [
            model.encode_text(part, normalize=True).float() for part in torch.split(flat, BATCH)
        ]
    means = torch.cat(parts).reshape(*ids.shape[:2], -1).mean(dim=1)
    return functional.normalize(means, dim=-1).T.contiguous()


@ieee_float32()
def text(config: RunConfig, run: Run) -> None:
    """Embed the classes of a data set, and keep the model's own scale with them."""
    found = open_images(config.dataset, "test").classes
    names, lines = class_names(config.dataset, found), templates(config.dataset)
    device = choose_device(config.device)
    model: Any = pretrained_model(config, run).to(device)
    tokenizer = make_tokenizer(config.model)
    ids = torch.stack([tokenizer(row) for row in captions(lines, names)]).to(device)
    classifier = class_embeddings(model, ids, config.task.precision)
    scale = float(model.logit_scale.exp())
    run.row("captions", ids.shape[0] * ids.shape[1])
    run.fact("templates", list(lines))
    run.fact("class_names", list(names))
    run.fact("device", str(device))
    run.save(TEXT, {"classifier": classifier.cpu()}, {"scale": scale})
