"""Tokens: a causal language model of transformers that writes about two groups alike."""

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

import equitune

# Small and untrained here, or AutoModelForCausalLM.from_pretrained(...).
shape = {"vocab_size": 50, "n_layer": 2, "n_head": 2, "n_embd": 32}
size = GPT2Config(**shape, bos_token_id=0, eos_token_id=0)
net = GPT2LMHeadModel(size).eval()

MAN, WOMAN, HE, SHE = 10, 11, 12, 13  # token ids
swap = equitune.cyclic(2)
table = equitune.cycle_permutations(50, [[MAN, WOMAN], [HE, SHE]])
words, scores = equitune.Relabel(swap, table), equitune.PermuteAxis(swap, table)


def step(read: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
    """The state is all words so far [N, T]; scores of the next one, [N, V]."""
    read = torch.cat([read, more], dim=1)
    return net(read).logits[:, -1].log_softmax(dim=-1), read


def write(prompts: Tensor) -> Tensor:
    """Continue prompts [B, T] by 8 words, from one distribution for both groups."""
    state = words.orbit(prompts[:, :-1]).flatten(0, 1)
    last, rule = prompts[:, -1], equitune.by_average()
    found = equitune.decode(step, state, last, words, scores, rule, max_steps=8)
    return found.words


prompts = torch.tensor([[3, MAN, 5, 6], [7, 8, HE, 9]])
mirrored = words.act(1, prompts)
assert torch.equal(write(mirrored), words.act(1, write(prompts)))
