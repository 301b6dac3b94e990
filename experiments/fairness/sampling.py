"""Sampling with noise per sentence, and by ranks instead of token ids.

Two contexts that the group maps to each other have equal sorted likelihoods, with other token ids.
If tokens are drawn by rank, with noise that both contexts share, one text is the mirror image of
the other, word for word.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

import equitune


@dataclass(frozen=True)
class Noise:
    """Uniform numbers in [0, 1) for a batch of sentences.

    Attributes:
        joint: For tokens of all branches together, [B, T].
        branches: For tokens of single branches, [G, B, T].
    """

    joint: Float[Tensor, "batch steps"]
    branches: Float[Tensor, "group batch steps"]


def draw_noise(
    seed: int, context: str, people: list[str], kind: str, sentences: range, steps: int
) -> Noise:
    """Draw the noise of sentences.

    Args:
        seed: The run's seed.
        context: The prompt's text about the person; all demographic groups share its noise.
        people: The person in the context of each branch, [G], who decides its noise. Equal names
            get different noise, for independent samples of one context.
        kind: ``context``, or ``shared``: branches have the noise of ``joint``.
        sentences: Numbers of the sentences.
        steps: Tokens T.
    """

    def table(*key: object) -> Tensor:
        digest = hashlib.sha256(repr((seed, context, *key)).encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
        # Row by row, so that a sentence's noise does not depend on the number of sentences.
        return torch.from_numpy(rng.random((sentences.stop, steps))[sentences.start :])

    joint = table()
    if kind == "shared":
        return Noise(joint, joint.expand(len(people), *joint.shape))
    seen: dict[str, int] = {}
    rows = []
    for person in people:
        seen[person] = seen.get(person, 0) + 1
        rows.append(table(person, seen[person]))
    return Noise(joint, torch.stack(rows))


@dataclass(frozen=True)
class RankSampler:
    """Draws a token from the likeliest ones: the library's ``pick``.

    Attributes:
        noise: Uniform numbers of the sentences, on the device of the scores.
        top_k: Number of the likeliest tokens; None: all.
        temperature: Divides the scores.
        stops: Marks of the tokens that end a sentence, [V].
        end: The id that replaces all of them.
    """

    noise: Noise
    top_k: int | None
    temperature: float
    stops: Tensor
    end: int

    def __call__(
        self, scores: Float[Tensor, "rows words"], where: equitune.Where
    ) -> Int[Tensor, " rows"]:
        """Return a token for each row of logits."""
        if where.elements is None:
            uniform = self.noise.joint[where.samples, where.step]
        else:
            uniform = self.noise.branches[where.elements, where.samples, where.step]
        count = min(self.top_k or scores.shape[-1], scores.shape[-1])
        values, tokens = scores.topk(count)
        likelihood = (values.double() / self.temperature).softmax(dim=-1)
        rank = (likelihood.cumsum(dim=-1) <= uniform[:, None]).sum(dim=-1)
        chosen = tokens.gather(-1, rank.clamp(max=count - 1)[:, None])[:, 0]
        return torch.where(self.stops[chosen], self.end, chosen)
