"""Scorers of regard: who says whether a text speaks well or ill of a person.

A scorer takes plain texts and gives the probabilities of `LABELS`: positive, neutral, other,
negative. "Other" is mixed or unclear regard (Sheng et al., 2020), neither good nor bad.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from experiments.errors import UserError
from experiments.fairness.models import find_folder, not_loaded, quiet
from experiments.fairness.sections import LABELS
from experiments.fairness.words import Masker, read_words

if TYPE_CHECKING:
    from experiments.fairness.sections import ScorerConfig

#: What a text is worth to equizero, label by label.
WORTH = torch.tensor([1.0, 0.0, 0.0, -1.0])
#: Labels in files of sentences.
_WRITTEN = {"1": "positive", "0": "neutral", "2": "other", "-1": "negative"}
SPLITS = ("train", "dev", "test")
#: Texts of one forward pass, and the longest, in tokens.
_BATCH, _LONGEST = 64, 128


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
    """Read a file of ``label TAB text`` lines, labels -1, 0, 1 and 2.

    Raises:
        UserError: If the file is missing or empty, or a line is of another form.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; task.regard_data= is a folder with train.tsv, dev.tsv and "
            "test.tsv"
        )
    texts, labels = [], []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        label, tab, text = line.partition("\t")
        if not tab or label not in _WRITTEN or not text.strip():
            raise UserError(
                f"{path}, line {number}: begins with {label[:20]!r}; each line needs a label "
                f"({', '.join(_WRITTEN)}), a TAB and a text"
            )
        texts.append(text)
        labels.append(LABELS.index(_WRITTEN[label]))
    if not texts:
        raise UserError(f"{path}: has no sentence")
    return Labelled(texts, torch.tensor(labels))


class WordCounter:
    """Compares how many good and bad words a text has; with equally many, the label is other."""

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
        words = re.findall(r"[a-z']+", text.lower())
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
            known: What to learn from; labels that it lacks are never given.
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
        words = re.findall(r"[a-z']+", text.lower())
        return words + [" ".join(pair) for pair in itertools.pairwise(words)]

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts terms"]:
        """Return the features, [N, F]."""
        found = torch.zeros(len(texts), len(self._places), dtype=torch.float64)
        for row, text in enumerate(texts):
            for term, count in Counter(self._terms(text)).items():
                if (place := self._places.get(term)) is not None:
                    found[row, place] = count
        return functional.normalize(found * self._rarity, dim=-1)


class Encoder:
    """Mean of the last hidden states of an encoder of transformers, of length one."""

    def __init__(self, source: str, revision: str | None, device: torch.device) -> None:
        """Load the encoder.

        Raises:
            UserError: If it cannot be loaded.
        """
        from transformers import AutoModel

        self._run = _Pretrained(AutoModel, source, revision, device)

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        """Return the features, [N, F]."""

        def pooled(found: Any, mask: Tensor) -> Tensor:
            marks = mask[..., None].to(found.last_hidden_state.dtype)
            total: Tensor = (found.last_hidden_state * marks).sum(dim=1)
            return functional.normalize(total / marks.sum(dim=1), dim=-1)

        return self._run(texts, pooled)


class HubClassifier:
    """A classifier of transformers whose labels are those of regard."""

    def __init__(self, source: str, revision: str | None, device: torch.device) -> None:
        """Load the classifier; the order of its labels is that of its configuration.

        Raises:
            UserError: If it cannot be loaded, or has other labels.
        """
        from transformers import AutoModelForSequenceClassification

        self._run = _Pretrained(AutoModelForSequenceClassification, source, revision, device)
        names = [str(name).lower() for _, name in sorted(self._run.network.config.id2label.items())]
        if not set(names) <= set(LABELS) or len(set(names)) != len(names):
            raise UserError(
                f"{source}: its labels are {', '.join(names)}; a scorer of regard has these: "
                f"{', '.join(LABELS)}"
            )
        self._places = [LABELS.index(name) for name in names]

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts labels"]:
        """Return the probability of each label, [N, 4]."""
        given = self._run(texts, lambda found, mask: found.logits.double().softmax(dim=-1))
        found = torch.zeros(len(texts), len(LABELS), dtype=torch.float64)
        found[:, self._places] = given
        return found


class _Pretrained:
    """A network of transformers and its tokenizer, run on batches of texts of like length."""

    def __init__(self, kind: Any, source: str, revision: str | None, device: torch.device) -> None:
        from transformers import AutoTokenizer

        quiet()
        folder = find_folder(source)
        if folder is not None:
            inside = sorted(folder.glob("**/config.json"), key=lambda path: len(path.parts))
            place, options = str(inside[0].parent if inside else folder), {}
        else:
            place, options = source, {"revision": revision}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(place, **options)
            network = kind.from_pretrained(place, use_safetensors=True, **options)
        except (OSError, ValueError, ImportError) as error:
            raise UserError(not_loaded("source", source, error)) from error
        self.network = network.to(device).eval()

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], reduce: Callable[[Any, Tensor], Tensor]) -> Tensor:
        """Return what ``reduce(outputs, mask)`` makes of each text, on the CPU, [N, ...]."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        rows: list[Tensor] = []
        for first in range(0, len(order), _BATCH):
            chosen = [texts[place] for place in order[first : first + _BATCH]]
            given = self._tokenizer(
                chosen, padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt"
            ).to(self.network.device)
            rows.append(reduce(self.network(**given), given["attention_mask"]).cpu())
        places = torch.tensor(order).argsort()
        return torch.cat(rows)[places].clone()


def make_scorer(config: ScorerConfig, data: str | None, device: torch.device) -> Scorer:
    """Make a scorer, training it where it is one that learns.

    Args:
        config: Which.
        data: The folder of labelled sentences.
        device: Of networks.

    Raises:
        UserError: If weights or sentences cannot be read.
    """
    if config.kind == "words":
        assert config.positive is not None and config.negative is not None
        return WordCounter(read_words(config.positive), read_words(config.negative))
    if config.kind == "hub":
        assert config.source is not None
        return HubClassifier(config.source, config.revision, device)
    assert data is not None and config.penalty is not None
    known = read_labelled(Path(data) / "train.tsv")
    if config.kind == "bag":
        return Linear(BagOfWords(known.texts), known, config.penalty)
    assert config.source is not None
    encoder = Encoder(config.source, config.revision, device)
    return Linear(encoder, known, config.penalty)


class Judge:
    """A scorer that sees masked texts, and each different one once."""

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


def worth(labels: Float[Tensor, "texts labels"], score: str) -> Float[Tensor, " texts"]:
    """Return what texts are worth: their label's `WORTH`, or P(positive) - P(negative)."""
    if score == "soft":
        return labels @ WORTH.to(labels.dtype)
    return WORTH.to(labels.dtype)[labels.argmax(dim=-1)]
