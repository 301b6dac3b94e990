"""The wrapper against |G| plain passes, and what lambda and explain cost on top of equitune.

python -m benchmarks.wrapper --model resnet18 --size 64
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torchvision  # type: ignore[import-untyped]
from torch import nn

import equitune
from scripts._arguments import Parser


def main() -> None:
    """Print median times and ratios; calls take turns in one process."""
    parser = Parser(description=__doc__)
    parser.add_argument("--model", default="resnet18", help="a ResNet of torchvision")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    torch.manual_seed(0)
    net = torchvision.models.get_model(options.model, weights=None).eval()
    images = torch.randn(options.batch, 3, options.size, options.size)
    action = equitune.Rot90()
    invariant = equitune.Invariant(action.group)
    mean = equitune.Equivariant(net, action, invariant)
    backbone = nn.Sequential(*list(net.children())[:-1], nn.Flatten())
    rule = equitune.Learned(equitune.LambdaNet(net.fc.in_features), reads="features")
    learned = equitune.Equivariant(backbone, action, invariant, rule, head=net.fc).eval()
    views = action.orbit(images).flatten(0, 1)
    calls: dict[str, Callable[[], object]] = {
        "|G| plain passes": lambda: net(views),
        "equitune": lambda: mean(images),
        "lambda on the model's features": lambda: learned(images),
        "explain": lambda: mean.explain(images),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for round_ in range(options.rounds + 2):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                # The first two rounds warm up.
                if round_ >= 2:
                    seconds[name].append(time.perf_counter() - start)
    plain = seconds["|G| plain passes"]
    for name, found in seconds.items():
        ratios = sorted(each / base for each, base in zip(found, plain, strict=True))
        median = 1000 * statistics.median(found)
        print(f"{name:32s} {median:7.1f} ms   {statistics.median(ratios):.3f} x plain")


if __name__ == "__main__":
    main()
