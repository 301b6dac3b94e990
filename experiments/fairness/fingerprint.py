"""Fingerprints of the fairness stages: the options that decide their numbers; part of run names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.fairness.lists import counted_words, read_words
from experiments.fairness.regard_data import SPLITS
from experiments.fairness.sources import NETWORKS, scorer_source, weights_identity
from experiments.frame.fields import given
from experiments.frame.files import digest, file_digest
from experiments.frame.stages import built_on
from experiments.frame.variant import deciding, variant

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessConfig

#: The result version of every stage: raised whenever a change of code alters its numbers.
VERSIONS = {"pretrain": 1, "regard": 1, "lambda": 1, "generate": 1, "evaluate": 1}


def pretrain_identity(config: FairnessConfig) -> dict[str, Any]:
    """Return the options that decide the planted model."""
    model = config.model
    return {
        "recipe": config.task.pretrain and deciding(config.task.pretrain),
        "width": model.width,
        "layers": model.layers,
        "heads": model.heads,
        "seed": config.seed,
    }


def _weights(config: FairnessConfig) -> dict[str, Any]:
    if config.model.kind == "planted":
        return {"pretrained_by": built_on(VERSIONS["pretrain"], pretrain_identity(config))}
    return weights_identity(config.model)


def _digest(words: Iterable[str]) -> str:
    return digest("\n".join(words))[:16]


def scorer_identity(config: FairnessConfig, name: str) -> dict[str, Any]:
    """Return the options that decide the labels that a scorer gives."""
    chosen, folder = config.task.scorers[name], config.task.regard_data
    found: dict[str, Any] = {"kind": chosen.kind}
    if chosen.kind == "words":
        lists = {"positive": chosen.positive, "negative": chosen.negative}
        return found | {key: _digest(counted_words(given(name))) for key, name in lists.items()}
    if chosen.kind in ("bag", "encoder"):
        found |= {"data": file_digest(Path(given(folder)) / "train.tsv"), "penalty": chosen.penalty}
    if chosen.kind in NETWORKS:
        found |= scorer_source(chosen)
    return found


def _prompts(config: FairnessConfig) -> dict[str, Any]:
    group = config.group
    return {
        "phrases": group.phrases[config.task.prompts],
        "contexts": config.dataset.contexts,
    }


def _lists(config: FairnessConfig) -> dict[str, Any]:
    """Return the options that decide which words are moved and which are kept."""
    task, group = config.task, config.group
    found: dict[str, Any] = {
        "equality": list(group.equality.values()),
        "coreference": list(group.coreference.values()),
        "relaxed": task.relaxed,
        "forms": task.forms,
        "lists": task.lists,
    }
    if task.averaged is not None:
        listed = task.neutral == "listed"
        found |= {
            "general": group.general,
            "neutral": _digest(read_words(config.dataset.neutral)) if listed else task.neutral,
            "averaged": task.averaged,
        }
    return found


def _decoding(config: FairnessConfig) -> dict[str, Any]:
    task = config.task
    return {
        "tokens": task.tokens,
        "top_k": task.top_k,
        "temperature": task.temperature,
        "stop": task.stop,
        "seed": config.seed,
    }


def _masking(config: FairnessConfig) -> dict[str, Any]:
    group = config.group
    lists = {**group.equality, **group.coreference}
    return {"mask": lists if config.task.mask else None}


def lambda_identity(config: FairnessConfig) -> dict[str, Any]:
    """Return the options that decide lambda."""
    net = config.method.lambda_net
    return {
        "weights": _weights(config),
        **_prompts(config),
        **_lists(config),
        **_decoding(config),
        "space": config.task.space,
        "sentences": config.task.lambda_sentences,
        "lambda_net": net and deciding(net),
    }


def generate_identity(config: FairnessConfig) -> dict[str, Any]:
    """Return the options that decide the sentences."""
    task, method = config.task, config.method.name
    found = {
        "weights": _weights(config),
        "method": method,
        **_prompts(config),
        **_decoding(config),
        "sentences": task.sentences,
    }
    if task.lists is not None:
        found |= _lists(config) | {"space": task.space}
    if config.method.entry.needs_loss:
        found |= {
            "block": task.block,
            "branches": task.branches,
            "score": task.score,
            "noise": task.noise,
            "scorer": scorer_identity(config, given(task.scorer)),
            **_masking(config),
        }
    if config.method.entry.needs_net:
        found["weighed_by"] = built_on(VERSIONS["lambda"], lambda_identity(config))
    return found


def regard_identity(config: FairnessConfig) -> dict[str, Any]:
    """Return the options that decide the measured quality of the scorers."""
    folder = config.task.regard_data
    return {
        "judges": {name: scorer_identity(config, name) for name in sorted(config.task.judges)},
        "data": folder and [file_digest(Path(given(folder)) / f"{split}.tsv") for split in SPLITS],
        "phrases": config.group.phrases[config.task.prompts],
    }


def _regarded_by(config: FairnessConfig) -> dict[str, Any]:
    """Return the identity of the scorers' quality; empty without labelled sentences."""
    if config.task.regard_data is None:
        return {}
    return {"regarded_by": built_on(VERSIONS["regard"], regard_identity(config))}


def evaluate_identity(config: FairnessConfig) -> dict[str, Any]:
    """Return the options that decide an evaluation."""
    return {
        "generated_by": built_on(VERSIONS["generate"], generate_identity(config)),
        "judges": {name: scorer_identity(config, name) for name in config.task.judges},
        **_regarded_by(config),
        **_masking(config),
        "lists": _lists(config),
        "variant": variant(config),
        "protocol": config.protocol.name,
        "scale_name": config.scale.name,
    }


def pretrain_label(config: FairnessConfig) -> str:
    """Return the readable part of the name of a planted model's run."""
    return f"{config.model.name}-seed{config.seed}"


def regard_label(config: FairnessConfig) -> str:
    """Return the readable part of the name of a run that tests scorers."""
    return f"{'-'.join(sorted(config.task.judges))}-{config.group.name}"


def label(config: FairnessConfig) -> str:
    """Return the readable part of the name of any other run."""
    method = config.method.name
    kind = {"samples": "best_of-", None: ""}.get(config.task.branches, "")
    relaxed = "relaxed-" if config.task.relaxed else ""
    return (
        f"{config.dataset.name}-{config.model.name}-{config.group.name}-{relaxed}{kind}{method}-"
        f"seed{config.seed}"
    )
