"""Stages ``features_train`` and ``features_test``: the orbit of a data set through a backbone.

Every method, seed, epoch and turn of an image reads the same features: a turned image has the same
orbit in another order.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from experiments.cnn.identity import views
from experiments.cnn.inputs import Preprocessing, preprocessing
from experiments.cnn.pretrain import pretrained_backbone
from experiments.cnn.views import MEMBERS, SQUARE
from experiments.environment import choose_device
from experiments.errors import Interrupted
from experiments.images.arrays import Split
from experiments.images.sets import load_images
from experiments.progress import progress

if TYPE_CHECKING:
    from experiments.cnn.backbones import Backbone
    from experiments.records import Run
    from experiments.schema import RunConfig

FEATURES = "features.safetensors"
#: Images whose pixels are kept.
SAMPLE = 64


def shuffled(count: int) -> Int64[Tensor, " count"]:
    """Return all rows in an order that is always the same: files may be sorted by class."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


class Features(NamedTuple):
    """Features of all views of some images.

    Attributes:
        values: At gx, in the order of `MEMBERS` of the group that is stored, [V, N, C, h, w].
        labels: Classes, [N].
        views: That group's name.
        sample: Pixels of some of the images.
    """

    values: Float[Tensor, "views n channels height width"]
    labels: Int64[Tensor, " n"]
    views: str
    sample: UInt8[Tensor, "k 3 s s"]

    def rows(self, chosen: Tensor) -> Features:
        """Return some of the images."""
        return self._replace(values=self.values[:, chosen], labels=self.labels[chosen])


@torch.inference_mode()
def orbit_features(
    backbone: Backbone,
    pixels: UInt8[Tensor, "batch 3 s s"],
    see: Preprocessing,
    elements: tuple[int, ...],
) -> Float[Tensor, "views batch channels height width"]:
    """Send all views of a batch through a backbone, in one pass."""
    inputs = see(pixels)
    orbit = torch.stack([SQUARE.act(g, inputs) for g in elements])
    features = backbone.features(orbit.flatten(0, 1))
    return features.float().unflatten(0, orbit.shape[:2])  # type: ignore[no-untyped-call,no-any-return]


def _extract(config: RunConfig, run: Run, split: Split) -> None:
    """Compute and keep the features of one split.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
    """
    images = load_images(config.dataset, split)
    backbone = pretrained_backbone(config, run)
    device, see = choose_device(config.device), preprocessing(config.model)
    elements = MEMBERS[views(config)]
    backbone.to(device)
    parts = []
    with progress(f"features of {config.dataset.name} ({split})", len(images.labels)) as bar:
        for pixels in torch.split(images.pixels, config.task.feature_batch):
            parts.append(orbit_features(backbone, pixels.to(device), see, elements).cpu())
            bar.update(sum(part.shape[1] for part in parts))
            if run.should_checkpoint:
                raise Interrupted(f"stopped on request; {run.folder.name} begins again next time")
    values = torch.cat(parts, dim=1)
    run.row("images", len(images.labels), split=split)
    run.fact("shape", list(values.shape))
    run.fact("device", str(device))
    tensors = {"features": values, "labels": images.labels}
    # To measure the equivariance error of the whole network on, without decoding all again.
    tensors["sample"] = images.pixels[shuffled(len(images.labels))[:SAMPLE]]
    run.save(FEATURES, tensors, {"views": views(config)})


train = partial(_extract, split="train")
test = partial(_extract, split="test")


def load_features(config: RunConfig, run: Run, split: Split) -> Features:
    """Return the features that a run builds on."""
    finished = run.need(f"features_{split}")
    run.fact("features_by", finished.record["name"])
    if "pretrained_by" in finished.record["facts"]:
        run.fact("pretrained_by", finished.record["facts"]["pretrained_by"])
    tensors, facts = finished.tensors(FEATURES)
    return Features(tensors["features"], tensors["labels"], facts["views"], tensors["sample"])
