"""A causal language model as a step function with a state, as the library's decoding needs."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from experiments.frame.errors import UserError


class Read(NamedTuple):
    """The state of a model after the tokens that it has read.

    Attributes:
        cache: Keys and values of every attention layer, each [N, heads, T, width].
        hidden: The last layer's output at the last token, [N, H]; None unless asked for.
    """

    cache: tuple[tuple[Tensor, Tensor], ...]
    hidden: Float[Tensor, "rows width"] | None


@dataclass(frozen=True)
class CachedModel:
    """A causal transformers language model that continues from a stored state.

    An earlier state stays valid: reading appends to copies, so that decoding can go back to it.

    Attributes:
        network: The model, in evaluation mode.
        with_hidden: Whether states hold the hidden state.
    """

    network: Any
    with_hidden: bool = False

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        found: torch.device = self.network.device
        return found

    def start(self, words: Int[Tensor, "rows length"]) -> Read:
        """Read the beginnings of texts.

        Args:
            words: Token ids, at least one in each row, [N, T].

        Raises:
            UserError: If the model's cache is not keys and values of attention.
        """
        from transformers import DynamicCache

        return self._read(DynamicCache(), words)[1]

    def step(
        self, state: Read, words: Int[Tensor, "rows new"]
    ) -> tuple[Float[Tensor, "rows words"], Read]:
        """Read tokens; return the logits of the next token, [N, V], and the new state."""
        from transformers.cache_utils import Cache, DynamicLayer

        layers: list[Any] = []
        for keys, values in state.cache:
            layer = DynamicLayer()  # type: ignore[no-untyped-call]
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            layers.append(layer)
        return self._read(Cache(layers=layers), words)

    @torch.no_grad()
    def _read(self, cache: Any, words: Tensor) -> tuple[Tensor, Read]:
        found = self.network(
            input_ids=words,
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=self.with_hidden,
            **_last_only(self.network),
        )
        kept: list[Any] = [
            (getattr(x, "keys", None), getattr(x, "values", None)) for x in cache.layers
        ]
        if not kept or any(keys is None or values is None for keys, values in kept):
            raise UserError(
                f"{type(self.network).__name__} keeps something else than keys and values of "
                "attention; choose a model with a plain cache"
            )
        hidden = found.hidden_states[-1][:, -1] if self.with_hidden else None
        return found.logits[:, -1], Read(tuple(kept), hidden)


def _last_only(network: Any) -> dict[str, int]:
    """Return the argument that limits a model's logits to the last token."""
    takes = "logits_to_keep" in inspect.signature(network.forward).parameters
    return {"logits_to_keep": 1} if takes else {}
