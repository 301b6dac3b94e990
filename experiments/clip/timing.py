"""Stage ``timing``: time and memory of the methods, side by side (Table 1)."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

import equitune
from experiments.clip.inputs import open_seen
from experiments.clip.models import build_model, image_encoder, preprocessing
from experiments.clip.scoring import LOSSES, Scorer
from experiments.frame.errors import Interrupted
from experiments.frame.fields import given
from experiments.frame.machine import choose_device, hardware, ieee_float32
from experiments.frame.methods import LAMBDA_EQUITUNE, METHODS, PAPERS, Parts
from experiments.frame.progress import progress
from experiments.images.symmetries import make_action
from experiments.images.training import precision

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig
    from experiments.frame.records import Run

#: Name of the lambda variant with a second, frozen encoder, as in the authors' code.
SECOND = "second encoder"
#: The largest resident set of the process since the last reset, on Linux.
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Contender(NamedTuple):
    """One way to classify images.

    Attributes:
        method: Name of the method.
        variant: Name of the variant.
        make: Returns a function from images to classes; called in each round, so that the memory
            of a second encoder counts for this contender alone.
    """

    method: str
    variant: str
    make: Callable[[], Callable[[Tensor], Tensor]]


def contenders(config: ClipConfig, device: torch.device) -> list[Contender]:
    """Return the methods, with random weights, which do not affect run time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = build_model(config.model).eval().requires_grad_(False)
        encoder = image_encoder(model).to(device)
        width = _width(encoder, given(config.model.size), device)
        classifier = torch.randn(width, config.dataset.classes)
        net = equitune.LambdaNet(width)
    action, name = make_action(config.group.name), config.task.precision

    def embed(encoder: nn.Module, images: Tensor) -> Tensor:
        orbit = action.orbit(images)
        with precision(name, device):
            found: Tensor = encoder(orbit.flatten(0, 1)).float()
        return found.reshape(*orbit.shape[:2], -1)

    def through(rule: equitune.Weighting, second: bool = False) -> Callable[[Tensor], Tensor]:
        scorer = Scorer(rule, classifier, 100.0, "features").to(device).eval()
        encoders = [encoder, copy.deepcopy(encoder)] if second else [encoder]

        def classify(images: Tensor) -> Tensor:
            embeddings = torch.cat([embed(each, images) for each in encoders], dim=-1)
            scores: Tensor = scorer(embeddings)
            return scores.argmax(dim=-1)

        return classify

    parts = Parts(action.group, LOSSES["similarity"], net)
    once = [
        Contender(name, "", partial(through, method.weighting(parts)))
        for name, method in METHODS.items()
        if method.uses_group and (name in PAPERS or not (method.is_fitted or method.augments))
    ]
    learned = METHODS[LAMBDA_EQUITUNE].weighting(parts)
    return [*once, Contender(LAMBDA_EQUITUNE, SECOND, partial(through, learned, second=True))]


@torch.no_grad()
def _width(encoder: nn.Module, size: int, device: torch.device) -> int:
    """Return the width of embeddings, from a forward pass, as not every tower states it."""
    found: Tensor = encoder(torch.zeros(1, 3, size, size, device=device))
    return found.shape[-1]


@ieee_float32()
@torch.inference_mode()
def timing(config: ClipConfig, run: Run) -> None:
    """Classify the test images with every method, in turns, batch by batch.

    The first round warms up and does not count. A row's time is the median of the rounds, for all
    images, its memory their most. Ratios to equitune are the medians of the rounds' ratios, with
    the least and the greatest.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
    """
    task, device = config.task, choose_device(config.device)
    found = open_seen(config.dataset, config.model, "test")
    images = found.read(0, task.max_images or len(found))
    see, entries = preprocessing(config.model), contenders(config, device)
    inputs = [see(part) for part in torch.split(images, task.timing_batch)]
    seconds: list[list[float]] = [[] for _ in entries]
    memory: list[list[float]] = [[] for _ in entries]
    with progress(f"timing {config.model.name}", (task.timing_rounds + 1) * len(entries)) as bar:
        for turn in range(task.timing_rounds + 1):
            for place, entry in enumerate(entries):
                if run.should_checkpoint:
                    raise Interrupted(f"stopped on request; {run.folder.name} begins again")
                taken, peak = _measure(entry.make(), inputs, device)
                if turn:
                    seconds[place].append(taken)
                    memory[place].append(peak)
                bar.update(turn * len(entries) + place + 1)
    cuda, threads = device.type == "cuda", torch.get_num_threads()
    processor = (device.type == "cpu" and hardware()["processor"]) or str(device)
    machine = torch.cuda.get_device_name(device) if cuda else f"{processor}, threads={threads}"
    name = f"{machine}, batch {task.timing_batch}, {task.precision}, {len(images)} images"
    for entry, taken_by, peaks in zip(entries, seconds, memory, strict=True):
        # The view names the machine, so that rows of several machines can be compared.
        columns = {"method": entry.method, "variant": entry.variant, "split": "test", "view": name}
        run.row("inference_seconds", statistics.median(taken_by), **columns)
        _ratio(run, "relative_seconds", taken_by, seconds[0], columns)
        if all(peaks):
            run.row("peak_memory_mib", max(peaks), **columns)
            _ratio(run, "relative_memory", peaks, memory[0], columns)
        run.row("images", len(images), **columns)
    run.fact("device", str(device))
    run.fact("hardware", machine)


def _ratio(
    run: Run, metric: str, own: list[float], even: list[float], columns: dict[str, str]
) -> None:
    """Write the ratio of two methods' numbers, round by round."""
    ratios = [one / other for one, other in zip(own, even, strict=True)]
    run.row(metric, statistics.median(ratios), **columns)
    run.row(f"{metric}_low", min(ratios), **columns)
    run.row(f"{metric}_high", max(ratios), **columns)


def _measure(
    classify: Callable[[Tensor], Tensor], inputs: list[Tensor], device: torch.device
) -> tuple[float, float]:
    """Return the seconds that all batches take and the peak of memory in MiB, 0 where unknown."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    known = cuda or _reset_peak()
    start = time.perf_counter()
    for batch in inputs:
        classify(batch.to(device))
    if cuda:
        torch.cuda.synchronize(device)
    taken = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if cuda else _peak()
    return taken, peak if known else 0.0


def _reset_peak() -> bool:
    """Forget the peak so far; without that it is not known."""
    try:
        _RESET.write_text("5")
    except OSError:  # not Linux, or not allowed
        return False
    return True


def _peak() -> float:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0.0
    (found,) = [line for line in lines if line.startswith("VmHWM")] or ["VmHWM: 0 kB"]
    return int(found.split()[1]) / 2**10
