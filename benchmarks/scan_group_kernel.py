"""CPU milliseconds per training iteration of the group models, for each cell and group.

    OMP_NUM_THREADS=1 python -m benchmarks.scan_group_kernel --csv scan_group_kernel.csv

The stream is the one of `scan_kernel`: synthetic, with the lengths of SCAN and a rule that can be
learnt. The group turns the first words of both vocabularies in a circle, four (jump, run, walk,
look) or two (right, left). Each model first trains for `--warmup` iterations, so that decodes are
as long as they are in a trained model. Times are CPU times of the process, one thread.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.scan_kernel import synthetic_stream
from equitune import Relabel, cycle_permutations, cyclic
from experiments.scan.nets.cells import KINDS
from experiments.scan.nets.group_kernel import GroupTrainer
from experiments.scan.nets.group_model import GroupSeq2Seq
from experiments.scan.nets.training import Settings


class Measurement(NamedTuple):
    """One line of the table.

    Attributes:
        cell: recurrent cell.
        order: number of group elements.
        first_call_s: wall seconds of the first iteration; compilation, if it was not cached.
        min_ms: CPU milliseconds per iteration, fastest block.
        median_ms: the same, median block.
        loss: mean loss over the timed iterations.
    """

    cell: str
    order: int
    first_call_s: float
    min_ms: float
    median_ms: float
    loss: float


def make_trainer(cell: str, order: int) -> GroupTrainer:
    """Start from a model of the real width with the cyclic group of the given order."""
    cycle = [list(range(2, 2 + order))]
    commands, words = (Relabel(cyclic(order), cycle_permutations(n, cycle)) for n in (15, 8))
    torch.manual_seed(0)
    settings = Settings(lr=1e-4, weight_decay=0.0, clip=5.0, dropout=0.0, seed=0)
    return GroupTrainer(GroupSeq2Seq(cell, commands, words), settings)


def measure(cell: str, order: int, warmup: int, blocks: int, size: int) -> Measurement:
    """Train one model for `warmup` iterations, then time `blocks` blocks of `size` iterations."""
    stream = synthetic_stream(warmup + blocks * size)
    trainer = make_trainer(cell, order)
    begun = time.perf_counter()
    trainer.run(stream, 0, 1)
    first = time.perf_counter() - begun
    trainer.run(stream, 1, warmup)
    times, losses = [], []
    for start in range(warmup, warmup + blocks * size, size):
        cpu = time.process_time()
        losses.append(trainer.run(stream, start, start + size).mean())
        times.append(1e3 * (time.process_time() - cpu) / size)
    low, middle = min(times), statistics.median(times)
    return Measurement(cell, order, first, low, middle, float(np.mean(losses)))


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", nargs="+", choices=list(KINDS), default=["LSTM", "GRU", "RNN"])
    parser.add_argument("--orders", nargs="+", type=int, choices=[1, 2, 3, 4], default=[4, 2])
    parser.add_argument("--warmup", type=int, default=2000, help="training before the timing")
    parser.add_argument("--blocks", type=int, default=10, help="timed blocks per model")
    parser.add_argument("--iterations", type=int, default=200, help="iterations per block")
    parser.add_argument("--csv", type=Path, help="write the table to this file as well")
    options = parser.parse_args()
    if min(options.warmup, options.blocks, options.iterations) < 1:
        parser.error("--warmup, --blocks and --iterations must be at least 1")
    torch.set_num_threads(1)
    results: list[Measurement] = []
    print(
        f"{'cell':5} {'order':>5} {'first call s':>12} {'min ms':>8} {'median ms':>10} {'loss':>8}"
    )
    for cell in options.cells:
        for order in options.orders:
            row = measure(cell, order, options.warmup, options.blocks, options.iterations)
            results.append(row)
            print(
                f"{row.cell:5} {row.order:5} {row.first_call_s:12.1f} {row.min_ms:8.3f} "
                f"{row.median_ms:10.3f} {row.loss:8.3f}",
                flush=True,
            )
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Measurement._fields)
            writer.writerows(results)


if __name__ == "__main__":
    main()
