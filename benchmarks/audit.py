"""How often the recommendation of an audit is as good as the best method, on networks for CIFAR-10.

    OMP_NUM_THREADS=1 python -m benchmarks.audit ../shared/data
    python -m benchmarks.audit ../shared/data --network cifar:resnet56=FILE --sizes 400

The folder holds `cifar10/` and `cnn/resnet20-12fca82f.th`, a public ResNet-20 trained on CIFAR-10.
A cell is a network, a group, a kind of images, a number of images to audit and a draw of them. They
are drawn from one part of the test set; the truth is measured on the other, with the weightings
that the audit made. A recommendation is a hit if the best method there is not surely better than
it, or by no more than the audit's margin. Undecided cells are counted apart. Each recommendation
also says how far behind it can be; the cells where this is true are counted, too.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import equitune
from equitune.audit.statistics import gain
from equitune.audit.stored import Ruler, Stored, correct, pass_through
from experiments.cnn.backbones import build_backbone
from experiments.cnn.checkpoints import put_weights
from experiments.external.weight_files import load_weights
from experiments.images import cifar
from experiments.images.inputs import Preprocessing
from experiments.images.options import ImageDataset
from scripts._arguments import Parser

SEE = Preprocessing(32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MARGIN = 0.01
BATCH = 100
GROUPS: dict[str, Callable[[], equitune.Action]] = {
    "rot90": equitune.Rot90,
    "rot180": equitune.Rot180,
    "mirror": equitune.Mirror,
    "upside down": lambda: equitune.Mirror(-2),
    "dihedral": equitune.DihedralImage,
}


def noisy(pixels: Tensor) -> Tensor:
    """Add noise of 20 of 255 levels, the same for the same images."""
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    return (pixels + 20 * noise).clamp(0, 255)


def blurred(pixels: Tensor) -> Tensor:
    """Halve the images and enlarge them again."""
    small = functional.avg_pool2d(pixels, 2)
    return functional.interpolate(small, (32, 32), mode="bilinear")


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "clean": lambda pixels: pixels,
    "noisy": noisy,
    "blurred": blurred,
    "grey": lambda pixels: pixels.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1),
}


class Outcome(NamedTuple):
    """The result of a cell.

    Attributes:
        recommended: The recommended method, or None.
        best: The best method on the images of the truth.
        behind: By how much the recommended one is behind it there.
        is_hit: Whether that is within noise, or less than what matters.
        bound: By how much it can be behind, as the audit says.
    """

    recommended: str | None
    best: str
    behind: float
    is_hit: bool
    bound: float | None


def judged(found: equitune.Audit, truth: list[Stored], ruler: Ruler) -> Outcome:
    """Return the outcome of an audit by images that it did not see."""
    values = {
        name: ruler.measure([(rule, batch) for batch in truth]).values.mean(dim=0)
        for name, rule in found.weightings.items()
    }
    best = max(values, key=lambda name: float(values[name].mean()))
    if found.recommended is None:
        return Outcome(None, best, 0.0, False, None)
    behind = gain(values[best] - values[found.recommended], 1.0, comparisons=1)
    is_hit = behind.low <= 0 or behind.mean <= MARGIN
    return Outcome(found.recommended, best, behind.mean, is_hit, found.at_most_behind)


def batches(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield preprocessed batches."""
    for part, classes in zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True):
        yield (SEE(part), classes)


def load(name: str, file: Path) -> nn.Module:
    """Return a network for CIFAR-10 with weights."""
    network = build_backbone(name, 10, 32)
    put_weights(network, load_weights(file))
    return network.eval().requires_grad_(False)


def outcomes(options: argparse.Namespace, network: nn.Module, name: str) -> Iterator[Outcome]:
    """Audit a network in all cells; print a line for each."""
    data = ImageDataset(kind="cifar10", root=str(options.folder / "cifar10"), classes=10, size=32)
    read = cifar.read(data, "test")
    # The files may be sorted by class.
    order = torch.randperm(len(read.labels), generator=torch.Generator().manual_seed(0))
    pixels = torch.from_numpy(read.pixels)[order].float()
    labels = torch.from_numpy(read.labels)[order]
    for kind in options.kinds:
        images = KINDS[kind](pixels)
        for group in options.groups:
            turns = GROUPS[group]()
            same = equitune.Invariant(turns.group)
            ruler = Ruler(turns.group, same, correct)
            wrapped = equitune.Equivariant(network, turns, same)
            kept = slice(len(labels) - options.truth, None)
            truth = pass_through(wrapped, batches(images[kept], labels[kept])).batches
            for size in options.sizes:
                for draw in options.draws:
                    generator = torch.Generator().manual_seed(draw)
                    rows = torch.randperm(len(labels) - options.truth, generator=generator)[:size]
                    found = equitune.audit(
                        network,
                        batches(images[rows], labels[rows]),
                        turns,
                        same,
                        margin=MARGIN,
                        seed=draw,
                    )
                    outcome = judged(found, truth, ruler)
                    print(f"{name}, {kind}, {group}, {size} images, draw {draw}: {outcome}")
                    yield outcome


def main() -> None:
    """Read the command line, run all cells, print the shares."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", action="append", default=[], help="ARCHITECTURE=FILE")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=[*GROUPS])
    parser.add_argument("--sizes", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--draws", nargs="+", type=int, default=[0, 1], help="seeds of the draws")
    parser.add_argument("--truth", type=int, default=5000, help="images that judge, the last ones")
    options = parser.parse_args()
    public = f"cifar:resnet20={options.folder / 'cnn' / 'resnet20-12fca82f.th'}"
    found: list[Outcome] = []
    for network in options.network or [public]:
        name, _, file = network.partition("=")
        found += outcomes(options, load(name, Path(file)), name)
    decided = [outcome for outcome in found if outcome.recommended is not None]
    hits = sum(outcome.is_hit for outcome in decided)
    bounded = sum(one.behind <= one.bound for one in decided if one.bound is not None)
    print(f"{len(found)} cells, {len(found) - len(decided)} undecided")
    print(f"recommended within noise of the best: {hits} of {len(decided)}")
    print(f"behind the best by no more than the audit says: {bounded} of {len(decided)}")
    print("recommended:", dict(Counter(outcome.recommended for outcome in decided)))
    print("best:", dict(Counter(outcome.best for outcome in found)))


if __name__ == "__main__":
    main()
