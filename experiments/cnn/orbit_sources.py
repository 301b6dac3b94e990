"""Sources of the features of turned images: stored, or computed in each step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from experiments.cnn.backbones import preprocessing
from experiments.cnn.features import load_features
from experiments.cnn.fingerprint import is_live, stores_stem
from experiments.cnn.pretrain import pretrained_backbone
from experiments.frame.fields import given
from experiments.images.arrays import Split
from experiments.images.extraction import SAMPLE, limited, load_orbits, shuffled
from experiments.images.inputs import Preprocessing
from experiments.images.orbit_data import (
    CHUNK,
    Stored,
    TurnedImages,
    orbits_of_turned,
    over_turns,
)
from experiments.images.sets import load_images, open_images
from experiments.images.symmetries import members

if TYPE_CHECKING:
    from experiments.cnn.backbones import Backbone
    from experiments.cnn.options import CnnConfig
    from experiments.frame.records import Run


class Live(TurnedImages):
    """Images that run through the backbone in every step."""

    def __init__(
        self,
        backbone: Backbone,
        pixels: UInt8[Tensor, "n 3 s s"],
        labels: Int64[Tensor, " n"],
        see: Preprocessing,
        names: tuple[str, str],
        *,
        chunk: int,
        batch_statistics: bool = False,
    ) -> None:
        """Keep the network and the images.

        Args:
            backbone: The network; its trained parameters have gradients.
            pixels: The images.
            labels: Their classes.
            see: Preprocessing.
            names: Names of the group and of the set of turns.
            chunk: Images per pass in evaluation.
            batch_statistics: Whether to normalise by batch statistics in evaluation, too.
        """
        self.backbone, self.pixels, self.labels, self.see = backbone, pixels, labels, see
        self._names, self.chunk = names, chunk
        self._members, self._turns = (members(name) for name in names)
        self.turns = len(self._turns)
        self._batch_statistics = batch_statistics
        self.shape = backbone.feature_shape
        self.sample = pixels[:SAMPLE]

    def views(
        self, rows: Int64[Tensor, " batch"], turned: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "group batch channels height width"]:
        """Run the orbits through the backbone, in one pass."""
        self.backbone.eval()
        for module in self.backbone.modules() if self._batch_statistics else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
        orbit = orbits_of_turned(self.see(self.pixels[rows]), turned, self._turns, self._members)
        features = self.backbone.features(orbit.flatten(0, 1))
        return features.reshape(*orbit.shape[:2], *features.shape[1:])

    def take(self, rows: Int64[Tensor, " m"]) -> Live:
        """Return a subset of the images."""
        return Live(
            self.backbone,
            self.pixels[rows],
            self.labels[rows],
            self.see,
            self._names,
            chunk=self.chunk,
            batch_statistics=self._batch_statistics,
        )

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the backbone if it is trained."""
        if any(parameter.requires_grad for parameter in self.backbone.parameters()):
            yield "backbone", self.backbone


class Pixels(TurnedImages):
    """Images themselves; the features of a view are its preprocessed pixels."""

    def __init__(
        self,
        pixels: UInt8[Tensor, "n 3 s s"],
        labels: Int64[Tensor, " n"],
        see: Preprocessing,
        names: tuple[str, str],
    ) -> None:
        """Keep the images; the names are those of the group and of the set of turns."""
        self.pixels, self.labels, self.see, self._names = pixels, labels, see, names
        self._members, self._turns = (members(name) for name in names)
        self.turns, self.chunk = len(self._turns), CHUNK
        self.shape = (3, see.size, see.size)
        self.sample = pixels[:SAMPLE]

    def views(
        self, rows: Int64[Tensor, " batch"], turned: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "group batch 3 size size"]:
        """Turn the images."""
        inputs = self.see(self.pixels[rows])
        return orbits_of_turned(inputs, turned, self._turns, self._members)

    def take(self, rows: Int64[Tensor, " m"]) -> Pixels:
        """Return some of the images."""
        return Pixels(self.pixels[rows], self.labels[rows], self.see, self._names)


class Beside(TurnedImages):
    """Images with what a choice reads of each view, and behind it the features, flattened."""

    def __init__(self, seen: TurnedImages, features: TurnedImages) -> None:
        """Keep both sources of the same images.

        Args:
            seen: What the choice reads.
            features: What the last layers read.
        """
        self.seen, self.features = seen, features
        self.labels, self.sample = features.labels, features.sample
        self.turns, self.chunk, self.together = features.turns, features.chunk, features.together
        self.width = math.prod(seen.shape)
        self.shape = (self.width + math.prod(features.shape),)

    def views(
        self, rows: Int64[Tensor, " batch"], turned: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "group batch width"]:
        """Return both, one behind the other."""
        both = (part.views(rows, turned).flatten(2) for part in (self.seen, self.features))
        return torch.cat([*both], dim=2)

    def take(self, rows: Int64[Tensor, " m"]) -> Beside:
        """Return some of the images."""
        return Beside(self.seen.take(rows), self.features.take(rows))


class Behind(nn.Module):
    """Last layers that read the features of `Beside`."""

    def __init__(self, head: nn.Module, images: Beside) -> None:
        """Keep the layers, and where the features are."""
        super().__init__()
        self.head, self.width, self.shape = head, images.width, images.features.shape

    def forward(self, both: Float[Tensor, "group batch width"]) -> Tensor:
        """Return the logits, [G, B, K]."""
        logits: Tensor = self.head(torch.unflatten(both[..., self.width :], -1, self.shape))
        return logits


def correctness(probe: nn.Module, images: TurnedImages) -> Bool[Tensor, "transforms n"]:
    """Return whether each image is classified correctly, in every turn."""
    probe.eval()

    def right(views: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = probe(views)
        return logits.argmax(dim=-1) == labels

    return over_turns(images, right)


def make_source(config: CnnConfig, run: Run, split: Split) -> TurnedImages:
    """Return the source of a split's features, as the configuration asks."""
    task, names = config.task, (config.group.name, config.task.transform)
    if not is_live(config):
        return Stored(load_features(config, run, split), *names)
    backbone = pretrained_backbone(config, run)
    backbone.requires_grad_(task.training == "all")
    images = load_images(config.dataset, split)
    chosen = shuffled(len(images.labels))[: task.max_images]
    batch = task.batch_norm == "train"
    return Live(
        backbone,
        images.pixels[chosen],
        images.labels[chosen],
        preprocessing(config.model),
        names,
        chunk=given(task.probe).batch_size if batch else task.feature_batch,
        batch_statistics=batch,
    )


class Weighable(NamedTuple):
    """What a weighting combines.

    Attributes:
        images: Images with the features of their views.
        head: Last layers that read them.
    """

    images: TurnedImages
    head: nn.Module


def weighable(
    config: CnnConfig, run: Run, split: Split, images: TurnedImages, head: nn.Module
) -> Weighable:
    """Return images and last layers, with what the choice of an early exit reads beside them."""
    if not config.method.entry.needs_stem:
        return Weighable(images, head)
    names = (config.group.name, config.task.transform)
    seen: TurnedImages
    if stores_stem(config):
        seen = Stored(load_orbits(run.need(f"stem_{split}")), *names)
    else:
        own = limited(open_images(config.dataset, split), config.task.max_images)
        pixels, see = own.read(0, len(own)), preprocessing(config.model)
        seen = Pixels(pixels, own.labels, see, names)
    beside = Beside(seen, images)
    return Weighable(beside, Behind(head, beside))
