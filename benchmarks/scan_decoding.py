"""Time and memory of decoding all test commands of SCAN, per branch and per method.

    OMP_NUM_THREADS=1 python -m benchmarks.scan_decoding --checkpoint model.safetensors

Without a checkpoint the weights are random, which decodes every command to the full 50 steps: the
worst case.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from experiments.frame.files import load_tensors
from experiments.scan.data import load_data, word_actions
from experiments.scan.nets.model import Seq2Seq
from experiments.scan.options import ScanTask, load_group
from experiments.scan.translate import translate, translate_plain, translator
from scripts._arguments import Parser

GROUPS = ("verb4", "verb_direction", "verb4_direction")


def measure(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the least and the median CPU seconds of a piece of work."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds), statistics.median(seconds)


def main() -> None:
    """Print one line per method."""
    parser = Parser(description=__doc__)
    parser.add_argument("--model", choices=("LSTM", "GRU", "RNN"), default="LSTM")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = Seq2Seq(options.model).eval()
    if options.checkpoint:
        model.load_state_dict(load_tensors(options.checkpoint)[0])
    corpus = load_data("add_jump", 0).test
    group = load_group("verb")
    reference = ScanTask(
        coupling="apart", selection="sequence", score="padded", space="log_probabilities"
    )
    joint = ScanTask(coupling="joint", selection="sequence", score="emitted", space="probabilities")
    works: dict[str, Callable[[], object]] = {
        "pretrained, one branch": lambda: translate_plain(model, corpus),
        "equitune, apart": lambda: translate(
            translator(model, group, "equitune", reference), corpus
        ),
        "equitune, joint": lambda: translate(translator(model, group, "equitune", joint), corpus),
        "equizero, apart": lambda: translate(
            translator(model, group, "equizero", reference), corpus
        ),
    }
    for name in GROUPS:
        order = word_actions(load_group(name)).commands.group.order
        works[f"equizero, {name}, |G| = {order}"] = partial(
            translate, translator(model, load_group(name), "equizero", reference), corpus
        )
    print(f"{options.model}, {len(corpus)} commands, CPU seconds (least / median)")
    for name, work in works.items():
        least, median = measure(work, options.repeats)
        print(f"  {name:36s} {least:6.2f} {median:6.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"  peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
