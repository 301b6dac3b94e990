"""CLIP: the orbit against open_clip's own encoder, and our figures against the authors' arithmetic.

OMP_NUM_THREADS=1 python -m benchmarks.clip_orbits --model ViT-B-32
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import equitune
from experiments.clip.scoring import Elementwise, Scorer
from experiments.images.extraction import SQUARE, orbit_outputs
from experiments.images.inputs import Preprocessing
from experiments.images.symmetries import members
from scripts._arguments import Parser

CLASSES = 100
ROT90, ROT180 = members("rot90"), members("rot180")


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call: of the process's CPU time, or on a GPU of the clock."""
    if device.type != "cuda":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def in_turns(
    works: dict[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Time several pieces of work in turns, after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            taken = timed(work, device)
            if turn:
                found[name].append(taken)
    return found


def turned(inputs: Tensor, elements: tuple[int, ...]) -> Tensor:
    """Return all views, group after group, in one batch."""
    return torch.cat([SQUARE.act(g, inputs) for g in elements])


class Authors:
    """The arithmetic of the authors' code: a pass over the images per method and transform."""

    def __init__(self, encoder: nn.Module, classifier: Tensor, batch: int) -> None:
        """Keep the model."""
        self.encoder, self.classifier, self.batch = encoder, classifier, batch

    def figures(self, inputs: Tensor) -> int:
        """Do Figures 7, 8a and 8b for one seed; returns the views that were encoded."""
        views = 0
        for part in torch.split(inputs, self.batch):
            # Figure 7: as they are, half turned, turned.
            for element in (0, 2, 1):
                views += self._classify(SQUARE.act(element, part), (0,))
            # Figure 8: equitune and equizero, each with its own pass over the orbit.
            for element, group in ((1, ROT90), (2, ROT180)):
                for _ in ("equitune", "equizero"):
                    views += self._classify(SQUARE.act(element, part), group)
        return views

    def _classify(self, inputs: Tensor, group: tuple[int, ...]) -> int:
        features = self.encoder(turned(inputs, group))
        features = features / features.norm(dim=-1, keepdim=True)
        shares = (features @ self.classifier).softmax(dim=-1).unflatten(0, (len(group), -1))  # type: ignore[no-untyped-call]
        shares.mean(dim=0).argmax(dim=-1)
        return len(group) * len(inputs)


def ours(
    encoder: nn.Module, classifier: Tensor, pixels: Tensor, see: Preprocessing, batch: int
) -> int:
    """Do the same from one orbit; returns the views that were encoded."""
    parts = [
        orbit_outputs(encoder, part.to(classifier.device), see, ROT90)
        for part in torch.split(pixels, batch)
    ]
    orbit = torch.cat(parts, dim=1)
    for group in (ROT90, ROT180):
        views = orbit[list(group)]
        for rule in (equitune.Identity(equitune.cyclic(1)), equitune.Uniform(), Elementwise()):
            Scorer(rule, classifier, 1.0, "probabilities")(views).argmax(dim=-1)
    return int(orbit.shape[0] * orbit.shape[1])


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16, help="images per pass")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    import open_clip  # type: ignore[import-untyped]

    device = torch.device(options.device)
    torch.manual_seed(0)
    model: Any = open_clip.create_model(options.model, load_weights=False).eval().to(device)
    seen = model.visual.image_size
    size = seen if isinstance(seen, int) else int(seen[0])
    see = Preprocessing(size, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    pixels = torch.randint(256, (options.images, 3, size, size), dtype=torch.uint8)
    inputs = see(pixels.to(device))
    views = turned(inputs, ROT90)
    width = int(model.visual.output_dim)
    classifier = nn.functional.normalize(torch.randn(width, CLASSES), dim=0).to(device)

    def plain(size: int) -> None:
        for part in torch.split(views, size):
            model.encode_image(part)

    works: dict[str, Callable[[], object]] = {
        f"encode_image, {size} views a pass": partial(plain, size)
        for size in (options.batch, 2 * options.batch, 4 * options.batch)
    }
    works["orbit"] = lambda: [
        orbit_outputs(model.visual, part.to(device), see, ROT90)
        for part in torch.split(pixels, options.batch)
    ]
    found = in_turns(works, options.rounds, device)
    rates = {name: len(views) / statistics.median(times) for name, times in found.items()}
    for name, rate in rates.items():
        print(f"{name:34} {rate:9.1f} views/s")
    best = max(rate for name, rate in rates.items() if name != "orbit")
    print(f"orbit against the best of encode_image: {rates['orbit'] / best:.3f}")
    reference = Authors(model.visual, classifier, 32)
    counts = {
        "authors": reference.figures(inputs[:2]) / 2,
        "ours": ours(model.visual, classifier, pixels[:2], see, options.batch) / 2,
    }
    works = {
        "authors": lambda: reference.figures(inputs),
        "ours": lambda: ours(model.visual, classifier, pixels, see, options.batch),
    }
    found = in_turns(works, max(1, options.rounds // 2), device)
    for name, times in found.items():
        seconds = statistics.median(times)
        print(f"Figures 7, 8a, 8b, {name:8} {counts[name]:4.0f} passes per image, {seconds:.2f} s")
    ratios = [a / o for a, o in zip(found["authors"], found["ours"], strict=True)]
    print(f"ratio {statistics.median(ratios):.2f} (per seed; further seeds cost us no pass)")


if __name__ == "__main__":
    main()
