"""An equivariant language model for `transformers`: its `forward` holds the orbit.

For everything that takes a causal language model: ``generate`` with greedy search or sampling,
pipelines, scoring. The suite's own decoding (`writing`) draws noise that belongs to the sentence,
and knows equizero; this is the drop-in form of equitune.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

import equitune
from experiments.fairness.token_rules import relaxed_weights
from experiments.fairness.words import Vocabulary


class EquivariantLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc, no-untyped-call]
    """A causal language model whose next-token logits are averaged over a group (Section C.2).

    P(gw | gX) = P(w | X): EquiLM, or with ``averaged`` R-EquiLM, where that holds for those tokens
    alone.
    """

    weights: Tensor | None
    main_input_name = "input_ids"
    # It has no attention of its own; the model inside has chosen one before.
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True

    def __init__(
        self, network: Any, vocabulary: Vocabulary, averaged: Bool[Tensor, " words"] | None = None
    ) -> None:
        """Keep the model; it is shared, not copied.

        Args:
            network: A causal language model of transformers.
            vocabulary: How the group acts on its tokens.
            averaged: Marks of the tokens whose logits are averaged, [V]; others have those of the
                context itself. Default None: all.
        """
        super().__init__(network.config)
        self.network = network
        self.ids, self.scores = vocabulary.ids, vocabulary.scores
        weights = None if averaged is None else relaxed_weights(averaged, self.ids.group)
        # No buffer: in no state dict, it would be lost where buffers get new memory.
        self.weights = weights
        self.generation_config = network.generation_config
        self.to(network.device)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        labels: Tensor | None = None,
        cache_position: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **others: Any,
    ) -> CausalLMOutputWithPast:
        """Return the logits of every next token, [B, T, V], and the cache of all G * B rows.

        Args:
            input_ids: Tokens, [B, T].
            attention_mask: Marks of the tokens that count, [B, T].
            position_ids: Their positions, [B, T].
            past_key_values: The cache of an earlier call.
            use_cache: Whether to return one.
            logits_to_keep: Logits of so many last tokens alone; 0: of all.
            labels: The same tokens, [B, T], -100 where they do not count; the loss is returned.
            cache_position: Places of the tokens in the cache, [T].
            num_items_in_batch: Number of labels that the sum of losses is divided by, as the
                Trainer of transformers gives it; None: the mean of this call's labels.
            others: Refused, unless they are None, False or ``return_dict=True``.

        Raises:
            ValueError: For what one average over the group has not: other inputs than tokens,
                hidden states and attentions, tuples, masks that are not [B, T].
        """
        self._refuse(others)
        if labels is not None and not (isinstance(logits_to_keep, int) and logits_to_keep == 0):
            raise ValueError("labels need the logits of all tokens: leave logits_to_keep at 0")
        order, rows = self.ids.group.order, input_ids.shape[0]

        def repeat(value: Tensor | None) -> Tensor | None:
            if value is not None and not (isinstance(value, Tensor) and value.ndim == 2):
                raise ValueError(
                    "masks and positions must be [batch, tokens]; a static cache makes others: "
                    'choose cache_implementation="dynamic"'
                )
            return None if value is None else value.repeat(order, 1)

        found = self.network(
            input_ids=self.ids.orbit(input_ids).flatten(0, 1),
            attention_mask=repeat(attention_mask),
            position_ids=repeat(position_ids),
            past_key_values=past_key_values,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            return_dict=True,
            **({} if cache_position is None else {"cache_position": cache_position}),
        )
        undone = self.scores.undo(found.logits.unflatten(0, (order, rows)))
        weights = None if self.weights is None else self.weights.to(undone.device)
        logits = equitune.average(undone, weights)
        loss = None
        if labels is not None:
            loss = self.network.loss_function(
                logits,
                labels,
                vocab_size=logits.shape[-1],
                num_items_in_batch=num_items_in_batch,
            )
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=found.past_key_values
        )

    def _refuse(self, others: dict[str, Any]) -> None:
        """Raise ValueError for options, of a call or the configuration, that it does not have."""
        wanted = {k: v for k, v in others.items() if v is not None and v is not False}
        if others.get("return_dict") is False:
            raise ValueError("return_dict=False: an equivariant model returns a named output")
        if refused := sorted(wanted.keys() - {"return_dict"}):
            raise ValueError(f"an equivariant model does not take {', '.join(refused)}")
        told = [k for k in ("output_hidden_states", "output_attentions") if getattr(self.config, k)]
        if told or self.config.return_dict is False:
            named = told[0] if told else "return_dict=False"
            raise ValueError(f"an equivariant model does not take {named} of its configuration")

    @torch.no_grad()
    def generate(self, *inputs: Any, **options: Any) -> Any:
        """Generate as any model of transformers does; see its documentation.

        Raises:
            ValueError: For beam search, which reorders a cache of B rows where this one has G * B,
                and for a cache of a fixed size.
        """
        config = options.get("generation_config") or self.generation_config
        cache = options.get("cache_implementation") or getattr(config, "cache_implementation", None)
        if cache not in (None, "dynamic"):
            raise ValueError(
                f"cache_implementation={cache}: it is made for one row of each text; choose "
                'cache_implementation="dynamic"'
            )
        beams = options.get("num_beams") or getattr(config, "num_beams", None) or 1
        if beams > 1:
            raise ValueError(
                f"num_beams={beams}: an equivariant model keeps {self.ids.group.order} rows for "
                "each text, which beam search mixes up; choose num_beams=1 (greedy or do_sample)"
            )
        return super().generate(*inputs, **options)  # type: ignore[misc]
