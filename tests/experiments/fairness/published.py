"""Tiny models with the files of real repositories of the hub, and the hub that has them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as to_safetensors

from experiments.fairness import synthetic_lm
from tests.experiments.emulated import emulated_hub
from tests.experiments.hub_server import HubServer, Repository

GPT2, GPT2_COMMIT = "openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e"
REGARD, REGARD_MAIN = "sasha/regardv3", "9232a1dd" + "0" * 32
REGARD_PR = "8b12c2d43677897b036a8d5afc7046a4ec79d0fc"
LABELS = {0: "negative", 1: "neutral", 2: "positive", 3: "other"}
SAFE, PICKLE = "model.safetensors", "pytorch_model.bin"
#: What training leaves in repositories; nobody may fetch it.
BALLAST = ("optimizer.pt", "scheduler.pt", "training_args.bin", "README.md")


@cache
def gpt2() -> dict[str, bytes]:
    """The files of openai-community/gpt2: names of weights begin with h., attn.bias is one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=5000,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(synthetic_lm._every_text(), trainer)
    known = json.loads(inner.to_str())["model"]
    size = inner.get_vocab_size()
    config = GPT2Config(
        vocab_size=size, n_positions=64, n_embd=8, n_layer=1, n_head=2,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    network = GPT2LMHeadModel(config)
    names = {name.removeprefix("transformer."): v for name, v in network.state_dict().items()}
    weights = {name: v.clone() for name, v in names.items() if name != "lm_head.weight"}
    weights["h.0.attn.bias"] = torch.ones(64, 64).tril()[None, None]
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in known["merges"])])
    return {
        "config.json": json.dumps(config.to_diff_dict()).encode(),
        "generation_config.json": b'{"bos_token_id": 0, "eos_token_id": 0}',
        "tokenizer_config.json": b'{"model_max_length": 1024}',
        "tokenizer.json": inner.to_str().encode(),
        "vocab.json": json.dumps(known["vocab"]).encode(),
        "merges.txt": f"{merges}\n".encode(),
        SAFE: to_safetensors(weights, {"format": "pt"}),
    }


@cache
def regard(seed: int = 0) -> dict[str, bytes]:
    """The files of sasha/regardv3 with those that only its pull request has, model.safetensors."""
    from transformers import BertConfig, BertForSequenceClassification

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "xyz", "was", "known", "kind", "cruel"]
    config = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, id2label=LABELS, label2id={name: n for n, name in LABELS.items()},
        architectures=["BertForSequenceClassification"],
    )  # fmt: skip
    torch.manual_seed(seed)
    network = BertForSequenceClassification(config)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    weights["bert.embeddings.position_ids"] = torch.arange(512)[None]
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    return {
        "config.json": json.dumps(config.to_diff_dict()).encode(),
        "tokenizer_config.json": b'{"do_lower_case": true, "model_max_length": 512}',
        "special_tokens_map.json": json.dumps(special).encode(),
        "vocab.txt": "\n".join(words).encode(),
        PICKLE: pickled(weights),
        SAFE: to_safetensors(weights, {"format": "pt"}),
        **dict.fromkeys(BALLAST, b"ballast"),
    }


def pickled(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def without(files: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name not in names}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def add_gpt2(hub: HubServer) -> None:
    branches = {"main": GPT2_COMMIT}
    hub.add(Repository(GPT2, "model", {GPT2_COMMIT: gpt2()}, branches), "gpt2")


def add_regard(hub: HubServer) -> None:
    commits = {REGARD_MAIN: without(regard(), SAFE), REGARD_PR: regard()}
    branches = {"main": REGARD_MAIN, "refs/pr/1": REGARD_PR}
    hub.add(Repository(REGARD, "model", commits, branches))


@contextmanager
def hub_of_the_paper(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[HubServer]:
    """Start a hub that has the paper's model and scorer."""
    with emulated_hub(monkeypatch, cache) as hub:
        add_gpt2(hub)
        add_regard(hub)
        yield hub
