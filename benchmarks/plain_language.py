"""The methods for language as plain loops: no cache, no batches, every context anew at every token.

The yardstick of the speed of the suite's decoding, and in the tests its specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

import equitune
from experiments.fairness.scorers import worth

if TYPE_CHECKING:
    from experiments.fairness.decoding import Prompt, Writer
    from experiments.fairness.scorers import Judge


@torch.no_grad()
def plain_equilm(writer: Writer, prompt: Prompt, number: int) -> list[int]:
    """Write a sentence by the mean of the logits of all contexts, one after the other.

    Args:
        writer: Of method=equitune or method=pretrained; its model, action and noise are used.
        prompt: The prompt.
        number: Of the sentence.

    Returns:
        Token ids without the prompt's, the end behind the end.
    """
    ids, scores, network = writer.branches.ids, writer.branches.scores, writer.model.network
    group = ids.group
    pick = writer.sampler(prompt, range(number, number + 1))
    text, written = writer.encode(prompt), []
    for step in range(writer.tokens):
        views = []
        for g in range(group.order):
            logits = network(ids.act(g, text[None])).logits[:, -1]
            views.append(scores.act(int(group.inverses[g]), logits)[0])
        where = equitune.Where(torch.tensor([0]), None, step)
        written.append(int(pick(torch.stack(views).mean(dim=0)[None], where)))
        text = torch.cat((text, text.new_tensor(written[-1:])))
        if written[-1] == writer.end:
            break
    return written + [writer.end] * (writer.tokens - len(written))


@torch.no_grad()
def plain_equizero(
    writer: Writer, judge: Judge, prompt: Prompt, number: int
) -> tuple[list[int], int]:
    """Search a sentence: the branches one after the other, every token from the whole text.

    Args:
        writer: Of method=equizero; its model, action, block and noise are used.
        judge: Labels texts.
        prompt: The prompt.
        number: Of the sentence.

    Returns:
        Token ids without the prompt's, the end behind the end; and how often a branch had ended
        that was not chosen.
    """
    ids, network = writer.branches.ids, writer.model.network
    pick = writer.sampler(prompt, range(number, number + 1))
    chosen, losers_ended = writer.encode(prompt).tolist(), 0
    begin = len(chosen)
    while len(chosen) - begin < writer.tokens and writer.end not in chosen[begin:]:
        size = min(writer.block, writer.tokens - (len(chosen) - begin))
        found = []
        for g in range(ids.group.order):
            text = ids.act(g, torch.tensor([chosen]))[0].tolist()
            total = 0.0
            for step in range(size):
                logits = network(torch.tensor([text])).logits[:, -1]
                at = len(chosen) - begin + step
                where = equitune.Where(torch.tensor([0]), torch.tensor([g]), at)
                text.append(int(pick(logits, where)))
                if text[-1] == writer.end:
                    break
                total += float(logits.softmax(dim=-1)[0, text[-1]])
            value = float(worth(judge([writer.text(text)]), "discrete"))
            back = ids.act(int(ids.group.inverses[g]), torch.tensor([text]))[0].tolist()
            found.append((value, total, back))
        best = max(found, key=lambda branch: branch[:2])
        losers_ended += any(writer.end in b[2] and b is not best for b in found)
        chosen = best[2]
    words = chosen[begin:]
    return words + [writer.end] * (writer.tokens - len(words)), losers_ended
