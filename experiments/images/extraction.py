"""The orbit of a data set through a network, computed once and stored.

Every method, seed, epoch and transform of an image reads the same outputs: a turned image has the
same orbit in another order.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

import equitune
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.files import load_tensors, save_tensors
from experiments.frame.progress import progress
from experiments.images.inputs import Preprocessing
from experiments.images.symmetries import members

if TYPE_CHECKING:
    from experiments.frame.records import FinishedRun, Run
    from experiments.images.sets import OpenImages

log = logging.getLogger(__name__)

#: The action of the largest group.
SQUARE = equitune.DihedralImage()
FEATURES = "features.safetensors"
#: Number of images whose pixels are stored.
SAMPLE = 64
#: Number of batches of a stored part.
PASSES = 8
SHORTER = "task.max_images makes it shorter"

#: Maps inputs [B, ...] to outputs [B, ...].
Network = Callable[[Tensor], Tensor]
#: Wraps a network to show its progress.
Watch = Callable[[Network], Network]


def shuffled(count: int) -> Int64[Tensor, " count"]:
    """Return all rows in a fixed random order, as files may be sorted by class."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


def limited(images: OpenImages, limit: int | None) -> OpenImages:
    """Return the images of a trial: the first ``limit`` of `shuffled`; all if it is None."""
    return images if limit is None else images.take(shuffled(len(images))[:limit])


@contextmanager
def watched(
    run: Run, label: str, total: int, end: str, done: int = 0, shorter: str = SHORTER
) -> Iterator[Watch]:
    """Show the progress of passes through a network, and stop between passes if asked to.

    Args:
        run: The run in progress.
        label: Label of the progress bar.
        total: The number of inputs, counting each view of an image.
        end: What an interrupted run does next time: ``resumes`` or ``begins again``.
        done: Inputs of an earlier attempt.
        shorter: Advice to show if it takes long.

    Yields:
        A function that wraps a network. The wrapped one raises Interrupted before a pass, if the
        process was asked to stop.
    """
    with progress(label, total, done, shorter) as bar:

        def watch(network: Network) -> Network:
            def call(inputs: Tensor) -> Tensor:
                if run.should_checkpoint:
                    raise Interrupted(f"stopped on request; {run.folder.name} {end}")
                outputs = network(inputs)
                bar.update(bar.done + len(inputs))
                return outputs

            return call

        yield watch


class Orbits(NamedTuple):
    """The outputs of a network for all views of some images.

    Attributes:
        values: Outputs at gx, in the order of the `members` of the stored group, [V, N, ...].
        labels: Classes, [N].
        views: Name of the stored group.
        sample: Pixels of some images, in the order of `shuffled`; in a trial, of the first ones.
    """

    values: Float[Tensor, "views n ..."]
    labels: Int64[Tensor, " n"]
    views: str
    sample: UInt8[Tensor, "k 3 s s"]

    def rows(self, chosen: Tensor) -> Orbits:
        """Return a subset of the images."""
        return self._replace(values=self.values[:, chosen], labels=self.labels[chosen])


def orbit_outputs(
    network: Network,
    pixels: UInt8[Tensor, "batch 3 s s"],
    see: Preprocessing,
    elements: tuple[int, ...],
) -> Float[Tensor, "views batch ..."]:
    """Return the outputs of a network for all views of a batch, in single precision.

    Each view is a separate pass, so that its rounding does not depend on the other views.
    """
    inputs = see(pixels)
    return torch.stack([network(SQUARE.act(g, inputs)).float() for g in elements])


class Extraction(NamedTuple):
    """The settings of an extraction.

    Attributes:
        network: Maps inputs [B, 3, size, size] to outputs [B, ...], on ``device``.
        see: Preprocessing of the images.
        views: Name of the group whose orbit is computed.
        batch: Images per pass; affects memory use, not results.
        device: Device of the network.
    """

    network: Network
    see: Preprocessing
    views: str
    batch: int
    device: torch.device


@torch.inference_mode()
def orbits_of(images: OpenImages, how: Extraction) -> Orbits:
    """Compute the orbits of all images, without storing them."""
    return Orbits(_compute(images, how, 0, len(images)), images.labels, how.views, _sample(images))


def inputs_of(images: OpenImages, how: Extraction) -> int:
    """Return the number of inputs of the network: every view of every image."""
    return len(images) * len(members(how.views))


def _compute(images: OpenImages, how: Extraction, start: int, stop: int) -> Tensor:
    """Return the outputs of rows start to stop - 1, [V, n, ...].

    Raises:
        UserError: If one is not finite.
    """
    parts = []
    for first in range(start, stop, how.batch):
        last = min(first + how.batch, stop)
        pixels = images.read(first, last).to(how.device)
        values = orbit_outputs(how.network, pixels, how.see, members(how.views)).cpu()
        if not values.isfinite().all():
            raise UserError(
                f"the network gives outputs that are not finite for images {first} to {last - 1}"
            )
        parts.append(values)
    return torch.cat(parts, dim=1)


def _sample(images: OpenImages) -> Tensor:
    """Return the pixels of some images, for runs of the whole network without decoding again."""
    chosen = limited(images, SAMPLE)
    return chosen.read(0, len(chosen))


@torch.inference_mode()
def extract(
    run: Run,
    images: OpenImages,
    how: Extraction,
    split: str,
    label: str,
    limit: int | None = None,
) -> None:
    """Compute and store the orbits of all images, or of those of a trial.

    They are written in parts during the computation; an interrupted run reuses the complete
    parts.

    Args:
        run: The run in progress, which stores them.
        images: The images.
        how: The settings.
        split: The split of the images.
        label: Label of the progress bar.
        limit: The number of images of a trial; None: all.

    Raises:
        Interrupted: If the process was asked to stop.
        UserError: If there is too little disk space.
    """
    sample = _sample(images)[:limit]
    images = limited(images, limit)
    count, step = len(images), how.batch * PASSES
    starts = range(0, count, step)
    parts: list[Tensor] = []
    _announce(run, images, how, label)
    paths = {start: run.folder / f"features-{start:08}.safetensors" for start in starts}
    kept = {start: _kept(path, min(step, count - start)) for start, path in paths.items()}
    done = sum(part.shape[0] * part.shape[1] for part in kept.values() if part is not None)
    with watched(run, label, inputs_of(images, how), "resumes", done) as watch:
        seen = how._replace(network=watch(how.network))
        for start, path in paths.items():
            part = kept[start]
            if part is None:
                part = _compute(images, seen, start, min(start + step, count))
                save_tensors(path, {"outputs": part})
            parts.append(part)
    values = torch.cat(parts, dim=1)
    run.row("images", count, split=split)
    run.fact("shape", list(values.shape))
    run.fact("device", str(how.device))
    tensors = {"features": values, "labels": images.labels, "sample": sample}
    run.save(FEATURES, tensors, {"views": how.views})
    for path in run.folder.glob("features-*.safetensors"):
        path.unlink()


def _announce(run: Run, images: OpenImages, how: Extraction, label: str) -> None:
    """Log the amount of computation and storage before the start.

    Raises:
        UserError: If the disk lacks space for the parts and the result at the same time.
    """
    one = how.network(how.see(images.read(0, 1).to(how.device)))
    each = 4 * one.numel() * len(members(how.views))  # in single precision
    size = each * len(images)
    log.info(
        "%s: %d images x %d views, %.1f MB of features",
        label,
        len(images),
        len(members(how.views)),
        size / 1e6,
    )
    kept = sum(path.stat().st_size for path in run.folder.glob("features-*.safetensors"))
    free = shutil.disk_usage(run.folder).free + kept
    if 2 * size > free:
        raise UserError(
            f"{label}: {2 * size / 1e6:.0f} MB are needed on the disk of {run.folder}, "
            f"{free / 1e6:.0f} MB are free; give results= on a larger one, or "
            f"task.max_images={max(2, free // (2 * each))} for a trial"
        )


def _kept(path: Path, count: int) -> Tensor | None:
    """Return a part of an earlier attempt; None if it is damaged or of another length."""
    if not path.is_file():
        return None
    try:
        outputs = load_tensors(path)[0]["outputs"]
    except (UserError, KeyError) as error:
        log.warning("%s; this part is computed again", error)
        return None
    return outputs if outputs.shape[1] == count else None


def load_orbits(finished: FinishedRun) -> Orbits:
    """Return the orbits of a finished run, as a memory-mapped file.

    Args:
        finished: The run of `extract`.
    """
    tensors, facts = finished.tensors(FEATURES)
    return Orbits(tensors["features"], tensors["labels"], facts["views"], tensors["sample"])
