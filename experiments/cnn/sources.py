"""Where the features of turned images come from: stored, or computed in the step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from experiments.cnn.features import Features, load_features
from experiments.cnn.identity import is_live
from experiments.cnn.inputs import Preprocessing, preprocessing
from experiments.cnn.pretrain import pretrained_backbone
from experiments.cnn.views import MEMBERS, SQUARE, lookup
from experiments.images.sets import load_images

if TYPE_CHECKING:
    from experiments.cnn.backbones import Backbone
    from experiments.records import Run
    from experiments.schema import RunConfig

#: Images per pass where features are stored.
CHUNK = 2000


class Source(ABC):
    """Images whose orbits are seen through a backbone.

    Attributes:
        labels: Classes, [N].
        turns: Number R of turns that an image may have had.
        chunk: Images per pass where nothing is learned.
    """

    labels: Int64[Tensor, " n"]
    turns: int
    chunk: int

    @abstractmethod
    def views(
        self, rows: Int64[Tensor, " batch"], turned: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "group batch channels height width"]:
        """Return the features of the orbits of some images.

        Args:
            rows: Which images.
            turned: Which turn each has had, from 0 to R - 1.
        """

    @abstractmethod
    def take(self, rows: Int64[Tensor, " m"]) -> Source:
        """Return some of the images."""

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield what is learned besides the last layers, by name."""
        yield from ()


class Stored(Source):
    """Features of a finished run; the orbit of a turned image is looked up."""

    def __init__(self, features: Features, group: str, transform: str) -> None:
        """Choose the views of a group."""
        self.features, self._names = features, (group, transform)
        self.labels = features.labels
        self._table = lookup(group, transform, features.views)
        self.turns = self._table.shape[1]
        self.chunk = CHUNK

    def views(
        self, rows: Int64[Tensor, " batch"], turned: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "group batch channels height width"]:
        """Look the features up."""
        return self.features.values[self._table[:, turned], rows]

    def take(self, rows: Int64[Tensor, " m"]) -> Stored:
        """Return some of the images."""
        return Stored(self.features.rows(rows), *self._names)


class Live(Source):
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
            backbone: The network; what of it is learned has a gradient.
            pixels: The images.
            labels: Their classes.
            see: What the network sees of them.
            names: Group, and set of turns.
            chunk: Images per pass where nothing is learned.
            batch_statistics: Normalise by the statistics of the batch, in evaluation too.
        """
        self.backbone, self.pixels, self.labels, self.see = backbone, pixels, labels, see
        self._names, self.chunk = names, chunk
        self._members, self._turns = (MEMBERS[name] for name in names)
        self.turns = len(self._turns)
        self._batch_statistics = batch_statistics

    def views(
        self, rows: Int64[Tensor, " batch"], turned: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "group batch channels height width"]:
        """Run the orbits through the backbone, in one pass."""
        self.backbone.train(self._batch_statistics)
        inputs = self.see(self.pixels[rows])
        for number, element in enumerate(self._turns):
            chosen = turned == number
            inputs[chosen] = SQUARE.act(element, inputs[chosen])
        orbit = torch.stack([SQUARE.act(g, inputs) for g in self._members])
        features = self.backbone.features(orbit.flatten(0, 1))
        return features.reshape(*orbit.shape[:2], *features.shape[1:])

    def take(self, rows: Int64[Tensor, " m"]) -> Live:
        """Return some of the images."""
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
        """Yield the backbone, whose weights or running averages may move."""
        yield "backbone", self.backbone


@torch.no_grad()
def correctness(probe: nn.Module, source: Source) -> Bool[Tensor, "transforms n"]:
    """Return which images are classified correctly, for every turn of them."""
    probe.eval()
    found = []
    everything = torch.arange(len(source.labels))
    for turn in range(source.turns):
        parts = [
            probe(source.views(rows, torch.full_like(rows, turn))).argmax(dim=-1)
            for rows in torch.split(everything, source.chunk)
        ]
        found.append(torch.cat(parts) == source.labels)
    return torch.stack(found)


def make_source(config: RunConfig, run: Run, split: str) -> Source:
    """Return the images of a split as the configuration wants them seen."""
    task, names = config.task, (config.group.name, config.task.transform)
    if not is_live(config):
        source: Source = Stored(load_features(config, run, split), *names)
    else:
        backbone = pretrained_backbone(config, run)
        backbone.requires_grad_(task.training == "all")
        images = load_images(config.dataset, split)  # type: ignore[arg-type]
        batch = task.batch_norm == "train"
        source = Live(
            backbone,
            images.pixels,
            images.labels,
            preprocessing(config.model),
            names,
            chunk=task.probe.batch_size if batch else task.feature_batch,
            batch_statistics=batch,
        )
    if task.max_images is not None:
        source = source.take(torch.arange(min(task.max_images, len(source.labels))))
    return source
