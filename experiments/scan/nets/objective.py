"""The fine-tuning loss: that of the combined branches (Eq. 4), in plain PyTorch.

Every group element has a branch: the model on the command transformed by this element.
`TorchFinetuner` specifies one iteration with autograd and the library; `FinetuneTrainer` of
`experiments.scan.kernels` is tested against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

import equitune
from experiments.scan.nets.dropout import dropout_mask
from experiments.scan.nets.examples import Stream
from experiments.scan.nets.model import Seq2Seq
from experiments.scan.nets.training import (
    Settings,
    TorchTrainer,
    decode_greedy,
    sequence_loss,
)

COMBINES = ("average", "select")
COUPLINGS = ("apart", "joint")
SPACES = ("log_probabilities", "probabilities", "logits")
SCORES = ("padded", "emitted")


@dataclass(frozen=True)
class Objective:
    """How the branches are combined into one output.

    Attributes:
        commands: The group's action on command words.
        words: The group's action on action words.
        combine: "average" (equitune, lambda-equitune), or "select" (equizero): the output of the
            branch of least proxy loss, with the gradient of the uniform average (straight-through).
        space: The averaged quantity: "log_probabilities" (mean not normalised), "probabilities" or
            "logits" (mean normalised).
        coupling: Without teacher forcing, every branch feeds back its own words ("apart") or all
            feed back the word of the average ("joint"). A selection always decodes apart.
        score: The proxy loss of a selection is minus the largest probability, averaged over the
            steps up to the branch's end ("emitted"), or over all `max_steps` rows, of which those
            after the end count one over the number of words ("padded").
        weights: lambda(gx) of every example, `[G, N]`, positive; None is uniform.

    Raises:
        ValueError: If an option is unknown, or a selection has weights.
    """

    commands: equitune.Relabel
    words: equitune.Relabel
    combine: str = "average"
    space: str = "log_probabilities"
    coupling: str = "apart"
    score: str = "emitted"
    weights: Float[Tensor, "group examples"] | None = None

    def __post_init__(self) -> None:
        """Refuse unknown options."""
        for name, choices in (
            ("combine", COMBINES),
            ("space", SPACES),
            ("coupling", COUPLINGS),
            ("score", SCORES),
        ):
            if getattr(self, name) not in choices:
                found = getattr(self, name)
                raise ValueError(f"{name}={found!r} is unknown: choose from {', '.join(choices)}")
        if self.combine == "select" and self.weights is not None:
            raise ValueError("combine='select' takes no weights")

    @property
    def order(self) -> int:
        """Number of branches."""
        return self.commands.group.order

    @property
    def distributions(self) -> equitune.PermuteAxis:
        """The group's action on the last dim of scores of action words."""
        return equitune.PermuteAxis(self.words.group, self.words.forward_table)

    def shares(self, example: int) -> Float[Tensor, " group"]:
        """Return the weights of an example's branches, with sum one."""
        if self.weights is None:
            return torch.full((self.order,), 1 / self.order, dtype=torch.float64)
        weights = self.weights[:, example].double()
        return weights / weights.sum()


class Branches(NamedTuple):
    """The branches' outputs after g^-1; zero after a branch's end.

    Attributes:
        log_probs: g^-1 M(gx), `[G, T, V]`.
        emitted: True up to and including a branch's end, `[G, T]`.
    """

    log_probs: Float[Tensor, "group steps words"]
    emitted: Bool[Tensor, "group steps"]


class TorchFinetuner(TorchTrainer):
    """The specification of a fine-tuning iteration, with autograd; see `training.Trainer`."""

    def __init__(self, model: Seq2Seq, settings: Settings, objective: Objective) -> None:
        """Copy `model` and start two Adam optimisers, one per half of the network."""
        super().__init__(model, settings)
        self.objective = objective

    def loss(self, stream: Stream, iteration: int) -> Tensor:
        """Return the loss of one iteration at the current parameters, differentiable."""
        target = torch.from_numpy(stream.target(iteration)).long()
        shares = self.objective.shares(int(stream.samples[iteration]))
        branches = self.branches(stream, iteration, shares)
        if self.objective.combine == "average":
            return sequence_loss(combine(branches, shares, self.objective.space), target)
        return sequence_loss(self._select(branches), target)

    def branches(self, stream: Stream, iteration: int, shares: Float[Tensor, " group"]) -> Branches:
        """Run every branch on its transformed command."""
        objective, model = self.objective, self.model
        command = torch.from_numpy(stream.command(iteration)).long()
        target = torch.from_numpy(stream.target(iteration)).long()
        commands = objective.commands.orbit(command[None])
        targets = objective.words.orbit(target[None])
        masks = self._masks(iteration)
        if stream.teacher[iteration]:
            rows = [
                model.forward_teacher(*pair, mask[None, : len(target)])[0]
                for pair, mask in zip(zip(commands, targets, strict=True), masks, strict=True)
            ]
        elif objective.coupling == "joint" and objective.combine == "average":
            return self._decode_jointly(commands, masks, shares, len(target))
        else:
            rows = [
                decode_greedy(model, own[0], mask)
                for own, mask in zip(commands, masks, strict=True)
            ]
        steps = max(len(row) for row in rows)
        padded = torch.stack([F.pad(row, (0, 0, 0, steps - len(row))) for row in rows])
        emitted = torch.stack([torch.arange(steps) < len(row) for row in rows])
        return Branches(objective.distributions.undo(padded), emitted)

    def _masks(self, iteration: int) -> Float[Tensor, "group steps width"]:
        """Return the dropout factors of every branch."""
        model, order, settings = self.model, self.objective.order, self.settings
        steps, width = order * model.max_steps, 2 * model.hidden
        masks = dropout_mask(settings.seed, iteration, steps, width, settings.dropout)
        return torch.from_numpy(masks).to(self.dtype).reshape(order, model.max_steps, width)

    def _decode_jointly(
        self,
        commands: Int[Tensor, "group one length"],
        masks: Float[Tensor, "group steps width"],
        shares: Float[Tensor, " group"],
        steps: int,
    ) -> Branches:
        """Feed every branch its transform of the word of the average."""
        model, objective = self.model, self.objective
        state: Any = model.encode(commands[:, 0])
        words = torch.full((objective.order,), model.SOS)
        rows: list[Tensor] = []
        for step in range(steps):
            log_probs, state = model.step(state, words, masks[:, step])
            rows.append(objective.distributions.undo(log_probs[:, None]))
            now = Branches(rows[-1].detach(), torch.ones(objective.order, 1, dtype=torch.bool))
            best = combine(now, shares, objective.space)[0].argmax()
            if best == model.EOS:
                break
            words = objective.words.orbit(best[None])[:, 0]
        joined = torch.cat(rows, dim=1)
        return Branches(joined, torch.ones(joined.shape[:2], dtype=torch.bool))

    def _select(self, branches: Branches) -> Float[Tensor, "steps words"]:
        """Return the most confident branch's log-probabilities, with the average's gradient."""
        objective = self.objective
        rows = branches.log_probs.detach()
        mask = branches.emitted
        if objective.score == "padded":
            rows = F.pad(rows, (0, 0, 0, self.model.max_steps - rows.shape[1]))
            mask = torch.ones(rows.shape[:2], dtype=torch.bool)
        losses = equitune.losses.max_probability(rows[:, None], mask=mask[:, None])
        chosen = equitune.select((branches.log_probs[:, None], branches.emitted[:, None]), losses)
        hard, emitted = (leaf[0] for leaf in chosen.value)
        hard = hard[: int(emitted.sum())]
        shares = torch.full((objective.order,), 1 / objective.order, dtype=torch.float64)
        views = averaged_views(branches, objective.space)[:, : len(hard)]
        soft = _weighted(views, shares)
        if objective.space == "probabilities":
            return equitune.straight_through(hard.detach().exp(), soft).log()
        through = equitune.straight_through(hard.detach(), soft)
        return through if objective.space == "log_probabilities" else through.log_softmax(dim=-1)


def averaged_views(branches: Branches, space: str) -> Float[Tensor, "group steps words"]:
    """Return the views to average: log-probabilities or probabilities; zero after the end."""
    if space != "probabilities":
        return branches.log_probs
    return branches.log_probs.exp() * branches.emitted[..., None]


def combine(
    branches: Branches, shares: Float[Tensor, " group"], space: str
) -> Float[Tensor, "steps words"]:
    """Return the log-probabilities of the average, up to the last end of a branch.

    Args:
        branches: The outputs of the branches.
        shares: The weights of the branches.
        space: See `Objective`; the mean of log-probabilities is not normalised again.
    """
    mean = _weighted(averaged_views(branches, space), shares)
    mean = mean[: int(branches.emitted.any(dim=0).sum())]
    if space == "log_probabilities":
        return mean
    return mean.log() if space == "probabilities" else mean.log_softmax(dim=-1)


def _weighted(
    views: Float[Tensor, "group steps words"], shares: Float[Tensor, " group"]
) -> Float[Tensor, "steps words"]:
    weights = shares.to(views.dtype)[:, None].expand(views.shape[:2])
    return equitune.average(views, weights)
