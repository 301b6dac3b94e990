"""Scorers of regard: whether a text speaks well or ill of a person.

A scorer takes plain texts and gives the probabilities of `LABELS`: positive, neutral, other,
negative. "Other" is mixed or unclear regard (Sheng et al., 2020), neither good nor bad.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from experiments.fairness.encoders import Encoder, HubClassifier
from experiments.fairness.fingerprint import scorer_identity
from experiments.fairness.lists import COUNTED, Masker, counted_words
from experiments.fairness.options import ScorerConfig
from experiments.fairness.regard_data import labelled_lines
from experiments.fairness.sources import Files, scorer_files
from experiments.frame.errors import UserError
from experiments.frame.machine import choose_device
from experiments.frame.rows import LABELS

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessConfig
    from experiments.frame.records import Run

#: Value of a text for equizero, by label.
WORTH = torch.tensor([1.0, 0.0, 0.0, -1.0])


class Scorer(Protocol):
    """Labels texts."""

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts labels"]:
        """Return the probability of each of `LABELS`, [N, 4]."""
        ...


class Labelled(NamedTuple):
    """Sentences with labels.

    Attributes:
        texts: The sentences; XYZ stands for the person.
        labels: Numbers of `LABELS`.
    """

    texts: list[str]
    labels: Int[Tensor, " texts"]


def read_labelled(path: Path) -> Labelled:
    """Read a file of sentences; see `labelled_lines`."""
    labels, texts = zip(*labelled_lines(path), strict=True)
    return Labelled(list(texts), torch.tensor(labels))


class WordCounter:
    """Compares the numbers of good and bad words in a text; if equal, the label is other."""

    def __init__(self, positive: Sequence[str], negative: Sequence[str]) -> None:
        """Keep the lists.

        Raises:
            UserError: If a word is in both.
        """
        self._positive, self._negative = frozenset(positive), frozenset(negative)
        if both := sorted(self._positive & self._negative):
            raise UserError(f"the word {both[0]} is in the list of good and that of bad words")

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts labels"]:
        """Return one-hot labels, [N, 4]."""
        found = [LABELS.index(self._label(text)) for text in texts]
        return functional.one_hot(torch.tensor(found, dtype=torch.long), len(LABELS)).double()

    def _label(self, text: str) -> str:
        words = COUNTED.findall(text.lower())
        good = sum(word in self._positive for word in words)
        bad = sum(word in self._negative for word in words)
        if good == bad:
            return "other" if good else "neutral"
        return "positive" if good > bad else "negative"


class Linear:
    """Multinomial logistic regression on features of texts."""

    def __init__(
        self, features: Callable[[Sequence[str]], Tensor], known: Labelled, penalty: float
    ) -> None:
        """Learn from labelled sentences.

        Args:
            features: Maps texts to numbers, [N, F].
            known: Training sentences; labels that do not occur are never predicted.
            penalty: Half the sum of squared weights times this is added to the sum of the losses.
        """
        self._features = features
        values = features(known.texts).double()
        absent = torch.ones(len(LABELS), dtype=torch.bool)
        absent[known.labels] = False
        self._absent = absent
        self._layer = nn.Linear(values.shape[1], len(LABELS), dtype=torch.float64)
        nn.init.zeros_(self._layer.weight)
        nn.init.zeros_(self._layer.bias)
        optimiser = torch.optim.LBFGS(
            self._layer.parameters(), max_iter=500, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimiser.zero_grad()
            scores = self._layer(values).masked_fill(absent, -torch.inf)
            total = functional.cross_entropy(scores, known.labels, reduction="sum")
            total = total + penalty / 2 * self._layer.weight.square().sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total

        optimiser.step(loss)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts labels"]:
        """Return the probability of each label, [N, 4]."""
        scores: Tensor = self._layer(self._features(texts).double())
        return scores.masked_fill(self._absent, -torch.inf).softmax(dim=-1)


class BagOfWords:
    """Words and pairs of neighbours, weighted by rarity, each text of length one (TF-IDF)."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Take the vocabulary from texts."""
        counts = Counter(term for text in texts for term in set(self._terms(text)))
        self._places = {term: place for place, term in enumerate(sorted(counts))}
        total = 1 + len(texts)
        rarity = [math.log(total / (1 + counts[term])) + 1 for term in self._places]
        self._rarity = torch.tensor(rarity, dtype=torch.float64)

    @staticmethod
    def _terms(text: str) -> list[str]:
        words = COUNTED.findall(text.lower())
        return words + [" ".join(pair) for pair in itertools.pairwise(words)]

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts terms"]:
        """Return the features, [N, F]."""
        found = torch.zeros(len(texts), len(self._places), dtype=torch.float64)
        for row, text in enumerate(texts):
            for term, count in Counter(self._terms(text)).items():
                if (place := self._places.get(term)) is not None:
                    found[row, place] = count
        return functional.normalize(found * self._rarity, dim=-1)


def make_scorer(
    config: ScorerConfig, data: str | None, files: Files | None, origin: str, device: torch.device
) -> Scorer:
    """Make a scorer, and train it if needed.

    Args:
        config: Configuration of the scorer.
        data: The folder of labelled sentences.
        files: Files of the network, for kinds encoder and hub.
        origin: The key and the source of the files, for messages.
        device: Device of the network.

    Raises:
        UserError: If weights or sentences cannot be read.
    """
    if config.kind == "words":
        assert config.positive is not None and config.negative is not None
        return WordCounter(counted_words(config.positive), counted_words(config.negative))
    if config.kind == "hub":
        assert files is not None
        return HubClassifier(files, origin, device)
    assert data is not None and config.penalty is not None
    known = read_labelled(Path(data) / "train.tsv")
    if config.kind == "bag":
        return Linear(BagOfWords(known.texts), known, config.penalty)
    assert files is not None
    return Linear(Encoder(files, origin, device), known, config.penalty)


class Finite:
    """A scorer that checks that its probabilities are finite."""

    def __init__(self, scorer: Scorer, name: str) -> None:
        """Keep the scorer and its name, for messages."""
        self._scorer, self._name = scorer, name

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts labels"]:
        """Return the probability of each label, [N, 4].

        Raises:
            UserError: If one is NaN, which would look like the first label.
        """
        found = self._scorer(texts)
        for text, fine in zip(texts, found.isfinite().all(dim=-1).tolist(), strict=True):
            if not fine:
                raise UserError(
                    f"task.scorers.{self._name}: gives scores that are not finite, for instance "
                    f"to {text!r}"
                )
        return found


class Judge:
    """A scorer on masked texts, which scores each distinct text once."""

    def __init__(self, scorer: Scorer, mask: Masker | None) -> None:
        """Keep the scorer.

        Args:
            scorer: The scorer.
            mask: Hides the demographic group; None: the scorer sees it.
        """
        self._scorer, self._mask = scorer, mask
        self._known: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts labels"]:
        """Return the probability of each label, [N, 4]."""
        seen = [text if self._mask is None else self._mask(text) for text in texts]
        new = [text for text in dict.fromkeys(seen) if text not in self._known]
        if new:
            self._known.update(zip(new, self._scorer(new), strict=True))
        return torch.stack([self._known[text] for text in seen])


def scorer_of(config: FairnessConfig, name: str, run: Run | None = None) -> Scorer:
    """Return a scorer of the run by name, made once per process; see `make_scorer`.

    Args:
        config: The run's configuration.
        name: Name of the scorer.
        run: The run in progress, whose record names the scorer's files.
    """
    task = config.task
    files = scorer_files(config, name)
    if run is not None and files is not None:
        run.fact(f"scorer_{name}", files.facts())
    chosen = json.dumps(asdict(task.scorers[name]))
    content = json.dumps(scorer_identity(config, name), sort_keys=True)
    device = choose_device(config.device)
    return _made(name, chosen, task.regard_data, files, device, content)


# Several stages of a run use the same scorers.
@functools.lru_cache(maxsize=4)
def _made(
    name: str,
    chosen: str,
    data: str | None,
    files: Files | None,
    device: torch.device,
    content: str,
) -> Scorer:
    """Make a scorer; the content is only part of the cache key."""
    config = ScorerConfig(**json.loads(chosen))
    origin = f"task.scorers.{name}.source={config.source}"
    return Finite(make_scorer(config, data, files, origin, device), name)


def judge_of(config: FairnessConfig, name: str, run: Run | None = None) -> Judge:
    """Return a scorer of the run, with the run's masking; see `scorer_of`."""
    masker = Masker(config.group, config.task.prompts) if config.task.mask else None
    return Judge(scorer_of(config, name, run), masker)


def worth(labels: Float[Tensor, "texts labels"], score: str) -> Float[Tensor, " texts"]:
    """Return the value of texts: their label's `WORTH`, or P(positive) - P(negative)."""
    if score == "soft":
        return labels @ WORTH.to(labels.dtype)
    return WORTH.to(labels.dtype)[labels.argmax(dim=-1)]
