"""CPU milliseconds per SCAN training iteration: pretraining, fine-tuning, equivariant models.

    OMP_NUM_THREADS=1 python -m benchmarks.scan_training --csv scan_training.csv
    OMP_NUM_THREADS=1 python -m benchmarks.scan_training --what pretraining --torch

The pairs are those of add_jump, in the order of seed 0. Every model first trains for `--warmup`
iterations with the compiled back end, so that decodes are as long as they are in a trained model;
fine-tuning starts from there. Times are CPU times of the process, one thread.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from experiments.scan.data import draw_stream, load_data, word_actions
from experiments.scan.nets.examples import Stream
from experiments.scan.nets.group_model import GroupSeq2Seq
from experiments.scan.nets.model import CELLS, EncoderDecoder, Seq2Seq
from experiments.scan.nets.objective import Objective
from experiments.scan.nets.training import Settings, Trainer
from experiments.scan.options import load_group
from experiments.scan.trainers import make_finetuner, make_trainer
from scripts._arguments import Parser

KINDS = ("pretraining", "finetuning", "equivariant")
GROUPS = ("verb4", "verb")
PLAIN = Settings(dropout=0.1)


class Measurement(NamedTuple):
    """One line of the table.

    Attributes:
        what: what is trained, and with which back end.
        cell: recurrent cell.
        least_ms: CPU milliseconds per iteration, fastest block.
        median_ms: the same, median block.
        loss: mean loss over the timed iterations.
    """

    what: str
    cell: str
    least_ms: float
    median_ms: float
    loss: float


def warm(model: EncoderDecoder, settings: Settings, stream: Stream, iterations: int) -> Trainer:
    """Train a model from scratch for some iterations with the compiled back end."""
    trainer = make_trainer(model, settings, "numba")
    trainer.run(stream, 0, iterations)
    return trainer


def cases(
    kind: str, cell: str, stream: Stream, warmup: int, backends: list[str]
) -> Iterator[tuple[str, Trainer]]:
    """Yield the trainers of one kind, each with its name."""
    torch.manual_seed(0)
    if kind == "equivariant":
        for name in GROUPS:
            actions = word_actions(load_group(name))
            model = GroupSeq2Seq(cell, actions.commands, actions.words)
            order = actions.commands.group.order
            yield f"G-model, |G| = {order}", warm(model, Settings(reduction="mean"), stream, warmup)
        return
    plain = Seq2Seq(cell)
    trained = warm(plain, PLAIN, stream, warmup)
    for backend in backends:
        if kind == "pretraining":
            trainer = make_trainer(plain, PLAIN, backend)
            trainer.load_state_dict(trained.state_dict())
            yield f"pretraining, {backend}", trainer
            continue
        trained.export(plain)
        actions = word_actions(load_group("verb"))
        for name, objective, steps in (
            ("equitune", Objective(actions.commands, actions.words), 1),
            ("equizero", Objective(actions.commands, actions.words, "select", score="padded"), 2),
        ):
            settings = Settings(lr=2e-5, weight_decay=1e-4, dropout=0.1, optimizer_steps=steps)
            yield f"{name}, {backend}", make_finetuner(plain, settings, objective, backend)


def measure(
    what: str, cell: str, trainer: Trainer, stream: Stream, blocks: int, size: int
) -> Measurement:
    """Time some blocks of iterations, after a first one that loads or compiles the loop."""
    trainer.run(stream, trainer.iteration, trainer.iteration + 1)
    times, losses = [], []
    for _ in range(blocks):
        start, cpu = trainer.iteration, time.process_time()
        losses.append(float(trainer.run(stream, start, start + size).mean()))
        times.append(1e3 * (time.process_time() - cpu) / size)
    return Measurement(what, cell, min(times), statistics.median(times), statistics.fmean(losses))


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=["LSTM", "GRU", "RNN"])
    parser.add_argument("--torch", action="store_true", help="time plain PyTorch as well")
    parser.add_argument("--warmup", type=int, default=10000, help="training before the timing")
    parser.add_argument("--blocks", type=int, default=10, help="timed blocks per line")
    parser.add_argument("--iterations", type=int, default=200, help="per block; PyTorch: a tenth")
    parser.add_argument("--csv", type=Path, help="write the table to this file as well")
    options = parser.parse_args()
    if min(options.warmup, options.blocks) < 1 or options.iterations < 10:
        parser.error("--warmup and --blocks must be at least 1, --iterations at least 10")
    torch.set_num_threads(1)
    total = options.warmup + 1 + options.blocks * options.iterations
    stream = draw_stream(load_data("add_jump", 0).train, total, 0.5, 0)
    backends = ["numba", "torch"] if options.torch else ["numba"]
    results: list[Measurement] = []
    print(f"{'':24} {'cell':5} {'least ms':>9} {'median ms':>10} {'loss':>8}")
    for kind in options.what:
        for cell in options.cells:
            for what, trainer in cases(kind, cell, stream, options.warmup, backends):
                size = options.iterations // (10 if what.endswith("torch") else 1)
                row = measure(what, cell, trainer, stream, options.blocks, size)
                results.append(row)
                print(
                    f"{row.what:24} {row.cell:5} {row.least_ms:9.3f} {row.median_ms:10.3f} "
                    f"{row.loss:8.3f}",
                    flush=True,
                )
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Measurement._fields)
            writer.writerows(results)


if __name__ == "__main__":
    main()
