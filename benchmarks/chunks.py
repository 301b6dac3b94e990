"""Peak memory and time of the orbit in chunks, for groups of 4 to 48 elements.

OMP_NUM_THREADS=1 python -m benchmarks.chunks --model resnet18 --size 64 --device cuda

Memory is what PyTorch's allocator held at most on a GPU; on a CPU the growth of the process's peak,
measured in a process of its own for each case, since a peak never falls.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import torchvision  # type: ignore[import-untyped]
from torch import Tensor

import equitune
from scripts._arguments import Parser

MIB = 2**20


class Case(NamedTuple):
    """One measurement.

    Attributes:
        order: Size of the group.
        chunk: Views at a time; None for all.
        mode: ``no_grad``, ``train`` (forward and backward) or ``checkpoint`` (train, with it).
    """

    order: int
    chunk: int | None
    mode: str


class Rolled(equitune.Action):
    """Shifts of images by columns: cheap. An action only where n divides the width; costs alike."""

    def __init__(self, order: int) -> None:
        """Take the order of the group."""
        super().__init__(equitune.cyclic(order))

    def act(self, g: int, x: Tensor) -> Tensor:
        """Return images shifted by g columns."""
        return x.roll(g, -1)


def cases(orders: list[int], chunks: list[int | None], modes: list[str]) -> Iterator[Case]:
    """Yield the cases; chunks as large as the group are that of all views."""
    for order in orders:
        for chunk in chunks:
            if chunk is None or chunk < order:
                yield from (Case(order, chunk, mode) for mode in modes)


def measure(case: Case, options: argparse.Namespace) -> tuple[float, float]:
    """Return the peak of memory in MiB beyond the model's, and the median seconds of a call."""
    torch.manual_seed(0)
    device = torch.device(options.device)
    action = Rolled(case.order)
    net = torchvision.models.get_model(options.model, weights=None).eval()
    model = equitune.Equivariant(
        net,
        action,
        equitune.Invariant(action.group),
        chunk=case.chunk,
        checkpoint=case.mode == "checkpoint",
    ).to(device)
    images = torch.rand(options.batch, 3, options.size, options.size, device=device)

    def call() -> None:
        with torch.no_grad() if case.mode == "no_grad" else nullcontext():
            output = model(images)
        if case.mode != "no_grad":
            output.square().mean().backward()
            model.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    before = held(device)
    call()
    peak = (held(device) - before) / MIB
    times = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return peak, statistics.median(times)


def held(device: torch.device) -> int:
    """Return the most memory that was held so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__)
    parser.add_argument("--model", default="resnet18", help="a name of torchvision")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--orders", type=int, nargs="+", default=[4, 8, 24, 48])
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 4, 0], help="0 is all")
    options = parser.parse_args()
    modes = ["no_grad", "train", "checkpoint"]
    context: Any = multiprocessing.get_context("spawn")
    print(f"{'|G|':>4} {'chunk':>6}  {'mode':10} {'peak MiB':>9} {'seconds':>8}")
    for case in cases(options.orders, [chunk or None for chunk in options.chunks], modes):
        with context.Pool(1) as pool:
            peak, seconds = pool.apply(measure, (case, options))
        chunk = "all" if case.chunk is None else str(case.chunk)
        print(f"{case.order:4} {chunk:>6}  {case.mode:10} {peak:9.1f} {seconds:8.3f}", flush=True)


if __name__ == "__main__":
    main()
