"""CPU time of probing CNNs: features stored once, against features computed in every step.

    OMP_NUM_THREADS=1 python -m benchmarks.cnn_probing
    OMP_NUM_THREADS=1 python -m benchmarks.cnn_probing --architecture cifar:resnet20 --batch 128

Random images through torchvision's ResNet-18, untrained and adapted to 32 x 32: what is learned
does not matter here. Microseconds per image and epoch of each curve of Figure 5b, then what follows
for the whole figure: 20 000 images, four curves, three seeds, ten epochs. The authors' code
computes the features in every step of each of these 120 epochs.
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import torch

from experiments.cnn.backbones import build_backbone
from experiments.cnn.options import ProbeRecipe
from experiments.cnn.orbit_sources import Live
from experiments.cnn.probe import Learner, Plan, build_probe, phases
from experiments.frame.options import LambdaNetConfig
from experiments.images.extraction import Orbits, orbit_outputs
from experiments.images.inputs import Preprocessing
from experiments.images.orbit_data import Stored, TurnedImages
from experiments.images.symmetries import members
from scripts._arguments import Parser

NET = LambdaNetConfig(
    hidden=100, depth=2, dropout=0.0, positive="exp", learning_rate=1e-3, weight_decay=0.0
)
_COMMON = ("rot90", "rot90")
CURVES = {
    "lambda_equitune": Plan("lambda_equitune", *_COMMON, None, None, NET, None, False),
    "equitune": Plan("equitune", *_COMMON, None, None, None, None, False),
    "equizero, max probability": Plan(
        "equizero", *_COMMON, "max_probability", "mean", None, None, False
    ),
    "equizero, entropy": Plan("equizero", *_COMMON, "entropy", "mean", None, None, False),
}
IMAGES, SEEDS, EPOCHS, CLASSES = 20_000, 3, 10, 10


class Cost(NamedTuple):
    """CPU microseconds per image and epoch."""

    stored: float
    live: float


def microseconds(asked: Plan, source: TurnedImages, batch: int, repeats: int) -> float:
    """Return the time per image and epoch, the least of some epochs."""
    recipe = ProbeRecipe(
        epochs=repeats, batch_size=batch, learning_rate=1e-3, momentum=0.9, validation=0.0
    )
    probe = build_probe(asked, source.shape, CLASSES, seed=0)
    rule, parameters = phases(asked, probe)[0]
    times, start = [], time.process_time()
    for _ in Learner(probe, source, recipe, seed=0).learn(rule, parameters, 1):
        times.append(time.process_time() - start)
        start = time.process_time()
    return 1e6 * min(times) / len(source.labels)


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="torchvision:resnet18")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--images", type=int, default=2000, help="stored")
    parser.add_argument("--live", type=int, default=40, help="images where the backbone runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = build_backbone(options.architecture, CLASSES, 32).eval().requires_grad_(False)
    see = Preprocessing(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    pixels = torch.randint(256, (options.images, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(CLASSES, (options.images,))
    start = time.process_time()
    values = orbit_outputs(backbone.features, pixels[: options.live], see, members("rot90"))
    extraction = 1e6 * (time.process_time() - start) / options.live
    # Time does not depend on what the features are.
    values = torch.randn(values.shape[0], options.images, *values.shape[2:])
    stored = Stored(Orbits(values, labels, "rot90", pixels[:4]), *_COMMON)
    few = slice(options.live)
    live = Live(backbone, pixels[few], labels[few], see, _COMMON, chunk=options.batch)
    costs = {}
    print(f"microseconds per image and epoch, batch {options.batch}, {options.architecture}")
    for name, asked in CURVES.items():
        costs[name] = Cost(
            microseconds(asked, stored, options.batch, 3),
            microseconds(asked, live, options.batch, 3),
        )
        print(f"{name:28} stored {costs[name].stored:8.0f}   live {costs[name].live:9.0f}")
    each = IMAGES * SEEDS * EPOCHS / 60e6
    ours = sum(cost.stored for cost in costs.values()) * each
    theirs = sum(cost.live for cost in costs.values()) * each
    once = extraction * IMAGES / 60e6
    print(f"the figure: {ours:.1f} CPU-minutes, and {once:.1f} once for the features")
    print(f"with the backbone in every step: {theirs:.0f} CPU-minutes")
    print(f"ratio {theirs / (ours + once):.0f}")
    more = costs["lambda_equitune"].live / costs["equitune"].live - 1
    print(f"lambda_equitune over equitune where the backbone runs: {100 * more:+.1f} %")


if __name__ == "__main__":
    main()
