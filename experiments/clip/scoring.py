"""From the embeddings of an orbit to one score per class (Eq. 4 and Figure 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

import equitune
from experiments.frame.methods import Parts
from experiments.images.fits import UNFITTED, Fitted
from experiments.images.symmetries import make_action

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "similarity": equitune.losses.max_score,
    # The log-odds grow with the largest probability, and do not saturate.
    "max_probability": partial(equitune.losses.max_probability, log_odds=True),
    "entropy": equitune.losses.entropy,
    "energy": equitune.losses.energy,
}


class Elementwise(equitune.Weighting):
    """The largest probability of each class over the views, as in the authors' code.

    It lies outside Eq. 4: the entries come from different views, and do not sum to one.
    """

    def forward(self, views: equitune.Views) -> Float[Tensor, "batch classes"]:
        """Return the maxima; in training, with the gradient of the mean."""
        largest: Tensor = views.undone.amax(dim=0)
        if not torch.is_grad_enabled():
            return largest
        found: Tensor = equitune.straight_through(largest, equitune.average(views.undone))
        return found


class Scorer(nn.Module):
    """Log-probabilities of the classes, from the embeddings of all views."""

    classifier: Tensor

    def __init__(
        self,
        rule: equitune.Weighting,
        classifier: Float[Tensor, "embedding classes"],
        scale: float,
        space: str,
        temperature: nn.Module | None = None,
    ) -> None:
        """Combine a rule with the embeddings of the captions.

        Args:
            rule: Combines the views.
            classifier: Unit vectors of the classes, [D, K].
            scale: Scale of the similarities before a softmax.
            space: What is combined: ``features`` (unit vectors; the mean is normalised),
                ``logits`` or ``probabilities``.
            temperature: Network from a view's embedding to the scale of its similarities; not part
                of Eq. 4.
        """
        super().__init__()
        self.rule, self.scale, self.space, self.temperature = rule, scale, space, temperature
        self.register_buffer("classifier", classifier, persistent=False)

    def forward(
        self,
        embeddings: Float[Tensor, "group batch width"],
        weighed: Float[Tensor, "group batch"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Return log-probabilities, [B, K]; those of ``Elementwise`` do not sum to one.

        Args:
            embeddings: Embeddings of all views, not normalised, [G, B, D]. After fine-tuning, those
                of the pretrained encoder, which lambda reads, are appended, [G, B, 2 D].
            weighed: Precomputed lambda values from `weigh`, [G, B]; None: lambda is computed.
        """
        units, read = self.split(embeddings)
        logits = self.scale * units @ self.classifier
        if self.temperature is not None:
            factor: Tensor = self.temperature(read) if weighed is None else weighed
            logits = factor[..., None] * logits
        if self.space == "features":
            mean = self._combine(equitune.Views(read, logits, units, read), weighed)
            scores = self.scale * functional.normalize(mean, dim=-1) @ self.classifier
            return scores.log_softmax(dim=-1)
        if self.space == "logits":
            combined = self._combine(equitune.Views(read, logits, logits, read), weighed)
            return combined.log_softmax(dim=-1)
        views = equitune.Views(read, logits, logits.softmax(dim=-1), read)
        probabilities = self._combine(views, weighed)
        # Logarithm and gradient stay finite, even for a class that every view excludes.
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()

    def _combine(self, views: equitune.Views, weighed: Tensor | None) -> Tensor:
        """Return the combined views, [B, ...]."""
        if weighed is not None and isinstance(self.rule, equitune.Learned):
            return equitune.average(views.undone, weighed)
        combined: Tensor = self.rule(views)
        return combined

    @torch.no_grad()
    def weigh(
        self, embeddings: Float[Tensor, "group batch embedding"]
    ) -> Float[Tensor, "group batch"]:
        """Return lambda's values for the embeddings of all views, for `forward`."""
        assert self.net is not None
        found: Tensor = self.net(functional.normalize(embeddings, dim=-1))
        return found

    @property
    def net(self) -> nn.Module | None:
        """The network lambda, as weight or as temperature; None for methods without it."""
        return self.rule.net if isinstance(self.rule, equitune.Learned) else self.temperature

    def split(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Return two sets of unit vectors, [G, B, D]: the embeddings, and lambda's inputs."""
        width = len(self.classifier)
        own = functional.normalize(embeddings[..., :width], dim=-1)
        before = embeddings[..., width:]
        return own, functional.normalize(before, dim=-1) if before.shape[-1] else own


def scoring(
    config: ClipConfig, classifier: Float[Tensor, "embedding classes"], own_scale: float
) -> Callable[..., Scorer]:
    """Return the function from a rule to its scorer; see `make_scorer`."""
    scale = own_scale if config.task.scale is None else config.task.scale
    return partial(Scorer, classifier=classifier, scale=scale, space=config.task.space)


def make_scorer(
    config: ClipConfig,
    classifier: Float[Tensor, "embedding classes"],
    own_scale: float,
    fitted: Fitted = UNFITTED,
) -> Scorer:
    """Return the scorer of a configuration's method.

    Args:
        config: The configuration, checked.
        classifier: The captions' embeddings.
        own_scale: The scale stored in the model.
        fitted: What the method has learned in stage=lambda.

    Raises:
        ValueError: If the method needs a part that is not given.
    """
    task, method = config.task, config.method.entry
    group = make_action(config.group.name).group
    make = scoring(config, classifier, own_scale)
    if task.lambda_as == "temperature":
        return make(equitune.Uniform(), temperature=fitted.net)
    if task.maximum == "elementwise":
        return make(Elementwise())
    # ``straight_through`` is None outside fine-tuning, where no gradient is needed.
    loss = None if task.loss is None else LOSSES[task.loss]
    parts = Parts(
        group,
        loss,
        fitted.net,
        straight_through=task.straight_through,
        temperature=fitted.temperature,
        rank=fitted.rank,
        reads="features",
    )
    return make(method.weighting(parts))


def learning_loss(
    name: str, scores: Float[Tensor, "batch classes"], labels: Tensor
) -> Float[Tensor, ""]:
    """Return the training loss: the cross-entropy, of the scores or after a second softmax.

    Args:
        name: ``cross_entropy`` or ``cross_entropy_of_probabilities``.
        scores: Log-probabilities, [B, K].
        labels: Classes, [B].
    """
    if name == "cross_entropy":
        return functional.nll_loss(scores, labels)
    return functional.cross_entropy(scores.exp(), labels)
