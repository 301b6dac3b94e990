"""A language model small enough for tests, random, in float64; a scorer without sense."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from experiments.fairness import synthetic_lm
from experiments.fairness.decoding import Writer
from experiments.fairness.lists import Masker
from experiments.fairness.methods import make_writer, vocabulary_of
from experiments.fairness.models import LanguageModel
from experiments.fairness.options import FairnessModel
from experiments.fairness.scorers import Judge
from experiments.frame.options import AnyConfig
from experiments.frame.rows import LABELS


def like_llama(template: str = "<s> $A") -> Any:
    """Return a tokenizer that writes spaces as SentencePiece does, and begins texts by a token."""
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )
    from transformers import PreTrainedTokenizerFast

    words = {
        text for text, _ in synthetic_lm.make_tokenizer().get_vocab().items() if text[:1] != "<"
    }
    pieces = sorted({f"▁{word.strip()}" for word in words} | {"▁"})
    vocabulary = {w: n for n, w in enumerate(["<unk>", "<s>", "</s>", *pieces])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁[^▁]*"), "isolated")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [("<s>", 1), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(template, special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def small_language(
    seed: int = 0, end_bias: float = 0.0, tokenizer: Any | None = None
) -> LanguageModel:
    """Return a GPT-2 of width 16 with the planted model's tokenizer; nothing about it is symmetric.

    Args:
        seed: Of the weights.
        end_bias: Added to the logit of the end, through a direction that all hidden states share.
        tokenizer: Another one.
    """
    tokenizer = synthetic_lm.make_tokenizer() if tokenizer is None else tokenizer
    model = FairnessModel("small", "fairness", "planted", None, None, None, 16, 2, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = synthetic_lm.build(model, len(tokenizer)).double().eval()
        for name, value in network.named_parameters():
            if "ln" not in name:
                value.data.normal_(std=0.4)
        network.transformer.ln_f.bias.data[0] = 3.0
        network.transformer.wte.weight.data[0, 0] = end_bias
    return LanguageModel(network, tokenizer, len(tokenizer))


def arbitrary(texts: Sequence[str]) -> Tensor:
    """Label texts by a hash: any order of texts, and no relation between similar ones."""
    found = [hashlib.sha256(text.encode()).digest()[0] % len(LABELS) for text in texts]
    return torch.nn.functional.one_hot(torch.tensor(found), len(LABELS)).double()


def small_writer(config: AnyConfig, language: LanguageModel, *, mask: bool = True) -> Writer:
    """Return the writer of a configuration."""
    masker = Masker(config.group, config.task.prompts) if mask else None
    judge = Judge(arbitrary, masker) if config.method.name == "equizero" else None
    return make_writer(config, language, vocabulary_of(config, language), judge=judge)


def with_block(writer: Writer, block: int) -> Writer:
    """Return the same writer with another block."""
    return replace(writer, block=block)
