"""Writing with EquiLM and EquizeroLM at the size of GPT-2 small, against plain loops and generate.

    OMP_NUM_THREADS=1 python -m benchmarks.fairness_decoding
    python -m benchmarks.fairness_decoding --device cuda --sentences 500

Weights are random, so nothing is downloaded; that changes no time. Two demographic groups, prompts
of five tokens, 15 new ones, top-k 40. The plain loops recompute every context at every token, one
sentence at a time. Equizero's scorer costs nothing, in both. Seconds are those of the process's CPU
time, on a GPU of the clock; all take turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

import equitune
from benchmarks.plain_language import plain_equilm, plain_equizero
from experiments.fairness.decoding import Prompt, Writer, all_alike, orbit_of
from experiments.fairness.kv_cache import CachedModel
from experiments.fairness.scorers import Judge
from experiments.fairness.token_rules import ByRegard, uniform_rule
from experiments.fairness.words import Vocabulary
from experiments.frame.rows import LABELS
from scripts._arguments import Parser

PAIRS, TOKENS, BLOCK, TOP_K, SEED = 40, 15, 5, 40, 0


class Numbers:
    """A tokenizer whose words are numbers."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the numbers of a text."""
        return [int(word) for word in text.split()]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of numbers."""
        return " ".join(map(str, token_ids))


def no_sense(texts: Sequence[str]) -> Tensor:
    """Label texts by their length."""
    found = torch.tensor([len(text) % len(LABELS) for text in texts])
    return torch.nn.functional.one_hot(found, len(LABELS)).double()


def make_network(device: str) -> Any:
    """Return GPT-2 small with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(SEED)
    network: Any = GPT2LMHeadModel(GPT2Config())
    return network.to(device).eval()


def make_writers(network: Any) -> dict[str, Writer]:
    """Return the plain model, EquiLM and EquizeroLM."""
    size, device = network.config.vocab_size, network.device
    cycles = [[2 * k + 1000, 2 * k + 1001] for k in range(PAIRS)]
    table, group = equitune.cycle_permutations(size, cycles), equitune.cyclic(2)
    ids, scores = equitune.Relabel(group, table), equitune.PermuteAxis(group, table)
    orbit = orbit_of(Vocabulary(ids.to(device), scores.to(device), (), ()))
    alike = all_alike(size, equitune.trivial())
    alike.ids.to(device)
    alike.scores.to(device)
    end = size - 1
    marks = torch.zeros(size, dtype=torch.bool)
    equi = Writer(
        model=CachedModel(network),
        tokenizer=Numbers(),
        beginning=(),
        branches=orbit,
        make_rule=uniform_rule("logits"),
        block=1,
        log_probabilities=False,
        tokens=TOKENS,
        top_k=TOP_K,
        temperature=1.0,
        stops=marks,
        end=end,
        phrases=("one", "two"),
        noise="context",
        seed=SEED,
    )

    judge = Judge(no_sense, None)
    by_regard = partial(ByRegard, judge, "discrete", orbit.ids, equi.text, end)
    zero = replace(equi, make_rule=by_regard, block=BLOCK)
    return {"plain": replace(equi, branches=alike), "equi": equi, "equizero": zero}


def seconds(work: Callable[[], object], device: str) -> float:
    """Return how long some work takes."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    begun = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - begun


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    network = make_network(chosen.device)
    writers = make_writers(network)
    prompt, many = Prompt(0, "", "464 1000 373 1900 329"), range(chosen.sentences)
    given = writers["equi"].encode(prompt)[None]
    options: dict[str, Any] = {
        "do_sample": True,
        "top_k": TOP_K,
        "max_new_tokens": TOKENS,
        "pad_token_id": 0,
    }
    options |= {"eos_token_id": None, "num_return_sequences": chosen.sentences}
    judge = Judge(no_sense, None)
    works: dict[str, tuple[int, Callable[[], object]]] = {
        "transformers' generate, plain model": (
            chosen.sentences, lambda: network.generate(given, **options)
        ),
        "ours, plain model": (chosen.sentences, lambda: writers["plain"].write(prompt, many)),
        "EquiLM, ours": (chosen.sentences, lambda: writers["equi"].write(prompt, many)),
        "EquizeroLM, ours": (chosen.sentences, lambda: writers["equizero"].write(prompt, many)),
        "EquiLM, plain loop": (1, lambda: plain_equilm(writers["equi"], prompt, 0)),
        "EquizeroLM, plain loop": (
            1, lambda: plain_equizero(writers["equizero"], judge, prompt, 0)
        ),
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(chosen.rounds):
        for name, (count, work) in works.items():
            found[name].append(seconds(work, chosen.device) / count)
    each = {name: statistics.median(values) for name, values in found.items()}
    print(f"device {chosen.device}, {chosen.sentences} sentences, medians of {chosen.rounds}")
    for name, value in each.items():
        spread = f"{min(found[name]):.4f}-{max(found[name]):.4f}"
        print(f"{name:38s} {value:9.4f} s a sentence ({spread}), {TOKENS / value:8.1f} tokens/s")
    for name in ("EquiLM", "EquizeroLM"):
        ratio = each[f"{name}, plain loop"] / each[f"{name}, ours"]
        print(f"{name}: plain loop / ours {ratio:.1f}")
    plain = each["transformers' generate, plain model"]
    print(f"EquiLM / (2 x generate) {each['EquiLM, ours'] / (2 * plain):.3f}")


if __name__ == "__main__":
    main()
