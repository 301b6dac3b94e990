"""CPU milliseconds per SCAN training iteration, for each cell and back end.

    OMP_NUM_THREADS=1 python -m benchmarks.scan_kernel --csv scan_kernel.csv

The stream is synthetic, with the lengths of SCAN (commands of 3 to 9 words, targets of about 13)
and a rule that can be learnt. Each cell first trains for `--warmup` iterations with the compiled
back end; both back ends are then timed from there, so that decodes are as long as they are in a
trained model. Times are CPU times of the process, one thread.
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

from experiments.scan.nets.model import CELLS, Seq2Seq
from experiments.scan.nets.stream import Stream
from experiments.scan.nets.training import Settings, make_trainer


class Measurement(NamedTuple):
    """One line of the table.

    Attributes:
        cell: recurrent cell.
        backend: "numba" or "torch".
        first_call_s: wall seconds of the first iteration; compilation, if it was not cached.
        min_ms: CPU milliseconds per iteration, fastest block.
        median_ms: the same, median block.
        loss: mean loss over the timed iterations.
    """

    cell: str
    backend: str
    first_call_s: float
    min_ms: float
    median_ms: float
    loss: float


def synthetic_stream(iterations: int, seed: int = 0) -> Stream:
    """Examples with SCAN's lengths in which every command word stands for a run of one action.

    Args:
        iterations: length of the visiting order.
        seed: seed of the examples, their order and teacher forcing.

    Returns:
        The stream: 2000 examples, drawn with replacement, teacher forcing in half of the draws.
    """
    rng = np.random.default_rng(seed)
    commands, targets = [], []
    for _ in range(2000):
        words = rng.integers(2, 15, rng.integers(3, 10))
        # 13 command words: six actions, repeated 1 to 3 times; 2.0 times on average.
        runs = [[2 + (word - 2) % 6] * int(1 + word % 3) for word in words]
        commands.append([*words, Seq2Seq.EOS])
        targets.append([*(action for run in runs for action in run), Seq2Seq.EOS])
    samples = rng.integers(0, len(commands), iterations)
    return Stream.pack(commands, targets, samples, rng.random(iterations) < 0.5)


def measure(
    cell: str, backends: list[str], warmup: int, blocks: int, sizes: dict[str, int]
) -> list[Measurement]:
    """Train one cell for `warmup` iterations, then time `blocks` blocks of each back end."""
    stream = synthetic_stream(warmup + 1 + blocks * max(sizes.values()))
    torch.manual_seed(0)
    model = Seq2Seq(cell)
    trained = make_trainer(model, Settings(dropout=0.1), "numba")
    begun = time.perf_counter()
    trained.run(stream, 0, 1)
    compile_s = time.perf_counter() - begun
    trained.run(stream, 1, warmup)
    state = trained.state_dict()
    results = []
    for backend in backends:
        trainer = make_trainer(model, Settings(dropout=0.1), backend)
        trainer.load_state_dict(state)
        begun = time.perf_counter()
        trainer.run(stream, warmup, warmup + 1)
        first = compile_s if backend == "numba" else time.perf_counter() - begun
        times, losses = [], []
        for block in range(blocks):
            start = warmup + 1 + block * sizes[backend]
            cpu = time.process_time()
            losses.append(trainer.run(stream, start, start + sizes[backend]).mean())
            times.append(1e3 * (time.process_time() - cpu) / sizes[backend])
        low, middle = min(times), statistics.median(times)
        results.append(Measurement(cell, backend, first, low, middle, float(np.mean(losses))))
    return results


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=["LSTM", "GRU", "RNN"])
    parser.add_argument("--backends", nargs="+", choices=["numba", "torch"], default=["numba"])
    parser.add_argument("--warmup", type=int, default=4000, help="training before the timing")
    parser.add_argument("--blocks", type=int, default=10, help="timed blocks per back end")
    parser.add_argument("--numba-iterations", type=int, default=300, help="iterations per block")
    parser.add_argument("--torch-iterations", type=int, default=20, help="iterations per block")
    parser.add_argument("--csv", type=Path, help="write the table to this file as well")
    options = parser.parse_args()
    if options.warmup < 1 or options.blocks < 1:
        parser.error("--warmup and --blocks must be at least 1")
    torch.set_num_threads(1)
    sizes = {"numba": options.numba_iterations, "torch": options.torch_iterations}
    results: list[Measurement] = []
    print(
        f"{'cell':5} {'backend':8} {'first call s':>12} {'min ms':>8} {'median ms':>10} {'loss':>8}"
    )
    for cell in options.cells:
        for row in measure(cell, options.backends, options.warmup, options.blocks, sizes):
            results.append(row)
            print(
                f"{row.cell:5} {row.backend:8} {row.first_call_s:12.1f} {row.min_ms:8.3f} "
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
