"""Transformers networks that read texts: a sentence encoder, and a classifier of regard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from experiments.fairness.pretrained import load_pretrained
from experiments.fairness.sources import Files
from experiments.frame.errors import UserError
from experiments.frame.rows import LABELS

#: Texts of one forward pass, and the longest, in tokens.
_BATCH, _LONGEST = 64, 128


class Encoder:
    """Normalised mean of the last hidden states of a transformers encoder."""

    def __init__(self, files: Files, origin: str, device: torch.device) -> None:
        """Load the encoder.

        Args:
            files: Files of the encoder.
            origin: The key and the source, for messages.
            device: Device of the network.

        Raises:
            UserError: If it cannot be loaded.
        """
        # All but the pooler, for which many encoders have no weights.
        self._run = _Network("AutoModel", files, origin, device, unused="pooler.")

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        """Return the features, [N, F]."""

        def pooled(found: Any, mask: Tensor) -> Tensor:
            marks = mask[..., None].to(found.last_hidden_state.dtype)
            total: Tensor = (found.last_hidden_state * marks).sum(dim=1)
            return functional.normalize(total / marks.sum(dim=1), dim=-1)

        return self._run(texts, pooled)


class HubClassifier:
    """A transformers classifier with the labels of regard."""

    def __init__(self, files: Files, origin: str, device: torch.device) -> None:
        """Load the classifier; its configuration gives the order of its labels.

        Args:
            files: Files of the classifier.
            origin: The key and the source, for messages.
            device: Device of the network.

        Raises:
            UserError: If it cannot be loaded, or has other labels.
        """
        self._run = _Network("AutoModelForSequenceClassification", files, origin, device)
        names = [str(name).lower() for _, name in sorted(self._run.network.config.id2label.items())]
        if not set(names) <= set(LABELS) or len(set(names)) != len(names):
            raise UserError(
                f"{origin}: its labels are {', '.join(names)}; a scorer of regard has these: "
                f"{', '.join(LABELS)}"
            )
        self._places = [LABELS.index(name) for name in names]

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts labels"]:
        """Return the probability of each label, [N, 4]."""

        def probabilities(found: Any, mask: Tensor) -> Tensor:
            logits: Tensor = found.logits.double()
            # Minus infinity would look like a label that is never predicted.
            return logits.where(logits.isfinite(), torch.nan).softmax(dim=-1)

        given = self._run(texts, probabilities)
        found = torch.zeros(len(texts), len(LABELS), dtype=torch.float64)
        found[:, self._places] = given
        return found


class _Network:
    """A transformers network and its tokenizer, run on batches of texts of similar length."""

    def __init__(
        self, kind: str, files: Files, origin: str, device: torch.device, unused: str = ""
    ) -> None:
        network, self._tokenizer = load_pretrained(kind, files, origin, unused)
        self.network = network.to(device)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], reduce: Callable[[Any, Tensor], Tensor]) -> Tensor:
        """Return ``reduce(outputs, mask)`` of each text, on the CPU, [N, ...]."""
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
