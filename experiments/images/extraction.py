"""The orbit of a data set through a network, computed once and kept.

Every method, seed, epoch and transform of an image reads the same outputs: a turned image has the
same orbit in another order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from experiments.errors import Interrupted, UserError
from experiments.files import load_tensors, save_tensors
from experiments.images.inputs import Preprocessing
from experiments.images.members import MEMBERS
from experiments.images.views import SQUARE
from experiments.progress import progress

if TYPE_CHECKING:
    from experiments.images.sets import OpenImages
    from experiments.records import FinishedRun, Run

log = logging.getLogger(__name__)

FEATURES = "features.safetensors"
#: Images whose pixels are kept.
SAMPLE = 64
#: Passes after which what is computed is kept.
PASSES = 8


def shuffled(count: int) -> Int64[Tensor, " count"]:
    """Return all rows in an order that is always the same: files may be sorted by class."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


class Orbits(NamedTuple):
    """What a network makes of all views of some images.

    Attributes:
        values: At gx, in the order of `MEMBERS` of the group that is stored, [V, N, ...].
        labels: Classes, [N].
        views: That group's name.
        sample: Pixels of some of the images, in the order of `shuffled`.
    """

    values: Float[Tensor, "views n ..."]
    labels: Int64[Tensor, " n"]
    views: str
    sample: UInt8[Tensor, "k 3 s s"]

    def rows(self, chosen: Tensor) -> Orbits:
        """Return some of the images."""
        return self._replace(values=self.values[:, chosen], labels=self.labels[chosen])


def orbit_outputs(
    network: Callable[[Tensor], Tensor],
    pixels: UInt8[Tensor, "batch 3 s s"],
    see: Preprocessing,
    elements: tuple[int, ...],
) -> Float[Tensor, "views batch ..."]:
    """Send all views of a batch through a network; single precision comes out.

    Each view is a pass of its own, so that its last bits do not depend on which others there are.
    """
    inputs = see(pixels)
    return torch.stack([network(SQUARE.act(g, inputs)).float() for g in elements])


class Extraction(NamedTuple):
    """How outputs are computed.

    Attributes:
        network: Maps inputs [B, 3, size, size] to outputs [B, ...], on ``device``.
        see: What it sees of the images.
        views: Name of the group whose orbit is computed.
        batch: Images per pass; memory, not numbers.
        device: Where the network is.
    """

    network: Callable[[Tensor], Tensor]
    see: Preprocessing
    views: str
    batch: int
    device: torch.device


@torch.inference_mode()
def orbits_of(images: OpenImages, how: Extraction) -> Orbits:
    """Compute the orbits of all images and keep none of it on disk."""
    return Orbits(_compute(images, how, 0, len(images)), images.labels, how.views, _sample(images))


def _compute(
    images: OpenImages,
    how: Extraction,
    start: int,
    stop: int,
    look: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Return the outputs of rows start to stop - 1, [V, n, ...]; tells how far it is."""
    parts = []
    for first in range(start, stop, how.batch):
        pixels = images.read(first, min(first + how.batch, stop)).to(how.device)
        parts.append(orbit_outputs(how.network, pixels, how.see, MEMBERS[how.views]).cpu())
        look(first + len(pixels))
    return torch.cat(parts, dim=1)


def _sample(images: OpenImages) -> Tensor:
    """Return some pixels: to run the whole network on, without decoding all again."""
    rows = shuffled(len(images))[:SAMPLE].tolist()
    return torch.cat([images.read(row, row + 1) for row in rows])


@torch.inference_mode()
def extract(run: Run, images: OpenImages, how: Extraction, split: str, label: str) -> None:
    """Compute the orbits of all images and keep them.

    They are written in parts while they are computed; a run that was interrupted takes up those
    that are whole.

    Args:
        run: Keeps them.
        images: The images.
        how: The network.
        split: Of the images.
        label: Of the progress bar.

    Raises:
        Interrupted: If the process was asked to stop.
    """
    count, step = len(images), how.batch * PASSES
    parts: list[Tensor] = []
    with progress(label, count) as bar:

        def look(done: int) -> None:
            bar.update(done)
            if run.should_checkpoint:
                raise Interrupted(f"stopped on request; {run.folder.name} resumes")

        for start in range(0, count, step):
            path, stop = run.folder / f"features-{start:08}.safetensors", min(start + step, count)
            part = _kept(path, stop - start)
            if part is None:
                part = _compute(images, how, start, stop, look)
                save_tensors(path, {"outputs": part})
            parts.append(part)
            look(stop)
    values = torch.cat(parts, dim=1)
    run.row("images", count, split=split)
    run.fact("shape", list(values.shape))
    run.fact("device", str(how.device))
    tensors = {"features": values, "labels": images.labels, "sample": _sample(images)}
    run.save(FEATURES, tensors, {"views": how.views})
    for path in run.folder.glob("features-*.safetensors"):
        path.unlink()


def _kept(path: Path, count: int) -> Tensor | None:
    """Return a part of an earlier attempt, or None without one that is whole and as long."""
    if not path.is_file():
        return None
    try:
        outputs = load_tensors(path)[0]["outputs"]
    except (UserError, KeyError) as error:
        log.warning("%s; this part is computed again", error)
        return None
    return outputs if outputs.shape[1] == count else None


def load_orbits(run: Run, finished: FinishedRun) -> Orbits:
    """Return what a finished run has computed; its pages are read from disk as they are needed.

    Args:
        run: The run that builds on it; notes so.
        finished: The run of `extract`.
    """
    run.fact("features_by", finished.record["name"])
    if "pretrained_by" in finished.record["facts"]:
        run.fact("pretrained_by", finished.record["facts"]["pretrained_by"])
    tensors, facts = finished.tensors(FEATURES)
    return Orbits(tensors["features"], tensors["labels"], facts["views"], tensors["sample"])
