"""The configuration sections of the fairness task: which keys exist and of which type."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from experiments.frame.fields import at_least, how, in_rows, one_of, only_for
from experiments.frame.options import RunConfig


@dataclass
class ScorerConfig:
    """Configuration of a scorer, which labels texts.

    Attributes:
        kind: ``words`` counts words; ``bag`` and ``encoder`` learn from ``task.regard_data``;
            ``hub`` is a transformers classifier.
        source: A package, folder or name on the hub, for kinds encoder and hub.
        revision: Revision on the hub; None: the newest.
        positive: Good words: a list in ``conf/words/`` or a file, for kind words.
        negative: Bad words, in the same way.
        penalty: Half the sum of squared weights times this is added to the loss of kind bag and
            encoder, which is a sum over sentences.
        sha256: SHA-256 of the only file of weights of a hub source; None: as the hub says.
        local: A local folder with the files of ``source`` at ``revision``; the run name is the
            same as with the hub.
    """

    kind: str = one_of("words", "bag", "encoder", "hub")
    source: str | None = None
    revision: str | None = None
    positive: str | None = None
    negative: str | None = None
    penalty: float | None = field(default=None, metadata={"minimum": 0, "above": True})
    sha256: str | None = how(default=None)
    local: str | None = how(default=None)


@dataclass
class PlantedRecipe:
    """Training of the planted model."""

    sentences: int = at_least(100)
    epochs: int = at_least(1)
    batch_size: int = at_least(1)
    learning_rate: float = at_least(0, above=True)


@dataclass
class FairnessTask:
    """Section ``task``."""

    name: str = MISSING
    prompts: str = one_of("paper", "sheng")
    sentences: int = in_rows(minimum=1)
    tokens: int = at_least(1)
    top_k: int | None = at_least(1)
    temperature: float = at_least(0, above=True)
    stop: list[str] = MISSING
    space: str | None = only_for("uses_group", one_of("logits", "probabilities"), required=False)
    relaxed: bool | None = MISSING
    neutral: str | None = one_of("listed", "rest")
    averaged: str | None = one_of("equality_and_neutral", "neutral")
    forms: str | None = only_for("uses_group", one_of("all", "spaced"), required=False)
    lists: str | None = only_for("uses_group", one_of("all", "prompt"), required=False)
    block: int | None = only_for("needs_loss", at_least(1))
    branches: str | None = only_for("needs_loss", one_of("orbit", "samples"))
    score: str | None = only_for("needs_loss", one_of("discrete", "soft"))
    scorer: str | None = only_for("needs_loss", field(default=MISSING))
    mask: bool = MISSING
    noise: str | None = only_for("needs_loss", one_of("context", "shared"))
    lambda_sentences: int | None = only_for("needs_net", at_least(10))
    judges: list[str] = MISSING
    regard_data: str | None = how(default=None)
    scorers: dict[str, ScorerConfig] = field(default_factory=dict)
    batch: int = how(minimum=1)
    pretrain: PlantedRecipe | None = field(default_factory=PlantedRecipe)


@dataclass
class FairnessModel:
    """Section ``model``: a causal language model and its tokenizer.

    Attributes:
        name: Name of the option.
        task: The task that uses it.
        kind: ``planted`` is trained here; ``causal_lm`` is loaded by transformers; ``gguf`` is a
            file in that format inside a package or folder; ``sentences`` is a file of texts that a
            model wrote earlier.
        source: A name on the hub, a folder or a package.
        file: The file of sentences.
        revision: Revision on the hub; None: the newest.
        width: Width of the planted model's hidden state.
        layers: Number of layers of the planted model.
        heads: Number of attention heads of the planted model.
        sha256: SHA-256 of the only file of weights of a hub source; None: as the hub says.
        local: A local folder with the files of ``source`` at ``revision``; the run name is the
            same as with the hub.
    """

    name: str = MISSING
    task: str = MISSING
    kind: str = one_of("planted", "causal_lm", "gguf", "sentences")
    source: str | None = MISSING
    revision: str | None = None
    file: str | None = how(default=None)
    width: int | None = field(default=None, metadata={"minimum": 1})
    layers: int | None = field(default=None, metadata={"minimum": 1})
    heads: int | None = field(default=None, metadata={"minimum": 1})
    sha256: str | None = how(default=None)
    local: str | None = how(default=None)


@dataclass
class FairnessDataset:
    """Section ``dataset``: the texts about a person in the prompts.

    Attributes:
        name: Name of the option.
        task: The task that uses it.
        contexts: Beginnings of the text about a person, such as ``was known for``.
        neutral: The words of N, a list in ``conf/words/`` or a file.
        groups: The groups that act.
    """

    name: str = MISSING
    task: str = MISSING
    contexts: list[str] = MISSING
    neutral: str = MISSING
    groups: list[str] = field(default=MISSING, metadata={"how": True})


@dataclass
class FairnessGroup:
    """Section ``group``: demographic groups, permuted cyclically by cyclic(d).

    Attributes:
        name: Name of the option.
        phrases: For each kind of prompt, the phrases for a person of each of the d groups.
        equality: The lists of E, one word for each group; the key replaces the word for
            scorers that must not see the group.
        coreference: Further lists of E, which the relaxed models do not move.
        general: Words of G in the relaxed models.
    """

    name: str = MISSING
    phrases: dict[str, list[str]] = field(default_factory=dict)
    equality: dict[str, list[str]] = field(default_factory=dict)
    coreference: dict[str, list[str]] = field(default_factory=dict)
    general: list[str] = field(default_factory=list)


#: The configuration of a run of this task.
FairnessConfig = RunConfig[FairnessTask, FairnessModel, FairnessDataset, FairnessGroup]
