"""Stage ``probe``: the last two layers, and lambda, on frozen features (Section 5.2.2)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import equitune
from experiments.cnn.heads import Head, Probe, make_rule
from experiments.cnn.orbit_sources import correctness, make_source
from experiments.cnn.seeds import DROPOUT, LAYERS, ORDER, SPLIT
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.fields import given
from experiments.frame.files import part
from experiments.frame.progress import progress
from experiments.frame.seeds import derive
from experiments.images.orbit_data import TurnedImages
from experiments.images.symmetries import make_action, members
from experiments.lambdas import build_net
from experiments.training import LOOK_EVERY

if TYPE_CHECKING:
    from experiments.cnn.options import CnnConfig, ProbeRecipe
    from experiments.frame.options import LambdaNetConfig
    from experiments.frame.records import Run

HEADS = "heads.safetensors"


class Plan(NamedTuple):
    """What is trained, and how.

    Attributes:
        method: Name of the method.
        group: Name of the group.
        transform: Name of the set of turns.
        loss: Proxy loss of equizero.
        straight_through: Straight-through gradients of equizero.
        net: Settings of lambda.
        relus: Number of lambda's hidden layers with a ReLU; None: all.
        separate: Whether lambda is trained after the head.
    """

    method: str
    group: str
    transform: str
    loss: str | None
    straight_through: str | None
    net: LambdaNetConfig | None
    relus: int | None
    separate: bool


def plan(config: CnnConfig) -> Plan:
    """Return the plan of a configuration."""
    task = config.task
    return Plan(
        config.method.name,
        config.group.name,
        task.transform,
        task.loss,
        task.straight_through,
        config.method.lambda_net,
        task.lambda_relus,
        task.lambda_training == "separate",
    )


def build_probe(asked: Plan, shape: tuple[int, ...], classes: int, seed: int) -> Probe:
    """Build the layers of a method, with initial weights drawn by the seed.

    The head is drawn first, so that all methods of a seed start from the same head.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, LAYERS))
        head = Head(shape, classes)
        net = None
        if asked.net is not None:
            net = build_net(math.prod(shape), asked.net, asked.relus)
    group = make_action(asked.group).group
    return Probe(head, make_rule(asked.method, group, asked.loss, asked.straight_through, net))


class Learner:
    """Stochastic gradient descent on the features of images, epoch by epoch."""

    def __init__(
        self,
        probe: Probe,
        source: TurnedImages,
        recipe: ProbeRecipe,
        seed: int,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Set up, without training.

        Args:
            probe: From `build_probe`.
            source: The training images.
            recipe: Hyper-parameters.
            seed: Seed of the order, the turns and dropout.
            stop: Returns whether the process was asked to stop; checked regularly.
        """
        self.probe, self.source, self.recipe, self.seed = probe, source, recipe, seed
        self.stop = stop

    def learn(
        self, rule: nn.Module, parameters: list[dict[str, object]], first: int
    ) -> Iterator[float]:
        """Train for the recipe's epochs through one rule; yields the mean loss of each.

        Args:
            rule: Combines the views.
            parameters: The trained parameters, in the optimiser's format.
            first: Number of the first epoch, which decides order, turns and dropout.
        """
        descent = _Descent(parameters, self.recipe)
        stepwise = Probe(self.probe.head, rule)  # type: ignore[arg-type]
        for epoch in range(first, first + self.recipe.epochs):
            stepwise.train()
            with torch.random.fork_rng(devices=[]):
                # Dropout draws from the global generator.
                torch.manual_seed(derive(self.seed, DROPOUT, epoch))
                yield self._epoch(stepwise, descent, epoch)

    def _epoch(self, probe: Probe, descent: _Descent, epoch: int) -> float:
        generator = torch.Generator().manual_seed(derive(self.seed, ORDER, epoch))
        count, size = len(self.source.labels), self.recipe.batch_size
        order = torch.randperm(count, generator=generator)
        turns = torch.randint(self.source.turns, (count,), generator=generator)
        batches = zip(
            self._views(order, turns), torch.split(self.source.labels[order], size), strict=True
        )
        losses: list[Tensor] = []
        for step, (views, labels) in enumerate(batches):
            if step % LOOK_EVERY == 0 and self.stop():
                raise Interrupted("stopped on request; the run begins again next time")
            loss = functional.cross_entropy(probe(views), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            descent.step()
            losses.append(loss.detach())
        sizes = torch.tensor([len(rows) for rows in torch.split(order, size)])
        # In this order: another one would change the rounding.
        total = sum((torch.stack(losses) * sizes).unbind(), torch.zeros(()))
        return float(total) / count

    def _views(self, order: Tensor, turns: Tensor) -> Iterator[Tensor]:
        """Yield the views of each batch; stored views are read for several batches at once."""
        size = self.recipe.batch_size
        many = max(1, self.source.together // size) * size
        for rows, turned in zip(torch.split(order, many), torch.split(turns, many), strict=True):
            views = self.source.views(rows, turned)
            if len(rows) > size:
                # One copy for all full batches is faster than one copy per batch.
                whole = len(rows) // size
                batches, views = views.tensor_split([whole * size], dim=1)
                batches = batches.reshape(len(views), whole, size, *views.shape[2:])
                yield from batches.transpose(0, 1).contiguous().unbind()
            if views.shape[1]:
                yield views.contiguous()


class _Descent:
    """The update of `torch.optim.SGD`, without its bookkeeping.

    For batches as small as here the bookkeeping takes longer than the forward pass of the head.
    """

    def __init__(self, groups: list[dict[str, Any]], recipe: ProbeRecipe) -> None:
        """Set up, and clear all gradients.

        Args:
            groups: The trained parameters, in the optimiser's format.
            recipe: The momentum, and the learning rate of groups without one.
        """
        self._groups: list[tuple[list[tuple[Tensor, Tensor]], dict[str, Any]]] = []
        for group in groups:
            moments = [(parameter, torch.zeros_like(parameter)) for parameter in group["params"]]
            for parameter, _ in moments:
                parameter.grad = None
            options = {
                "lr": group.get("lr", recipe.learning_rate),
                "weight_decay": group.get("weight_decay", 0.0),
                "momentum": recipe.momentum,
                "dampening": 0.0,
                "nesterov": False,
                "maximize": False,
                # Without dampening, zero initial momentum gives SGD's first step.
                "is_first_step": False,
            }
            self._groups.append((moments, options))

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have gradients, and clear the gradients."""
        for moments, options in self._groups:
            moved = [(p, p.grad, momentum) for p, momentum in moments if p.grad is not None]
            if not moved:
                continue
            parameters, gradients, momenta = map(list, zip(*moved, strict=True))
            # The kernel takes momentum buffers only if momentum is not zero.
            torch._fused_sgd_(
                parameters, gradients, momenta if options["momentum"] else [], **options
            )
            for parameter in parameters:
                parameter.grad = None


def phases(
    asked: Plan, probe: Probe, backbone: Sequence[nn.Parameter] = ()
) -> list[tuple[nn.Module, list[dict[str, object]]]]:
    """Return the training phases in order: the rule of each, and its trained parameters.

    Args:
        asked: The plan.
        probe: The last layers and the method's rule.
        backbone: The backbone's parameters that are trained with the last layers.
    """
    head: dict[str, object] = {"params": [*probe.head.parameters(), *backbone]}
    if asked.net is None:
        return [(probe.rule, [head])]
    net: dict[str, object] = {
        "params": list(probe.rule.parameters()),
        "lr": asked.net.learning_rate,
        "weight_decay": asked.net.weight_decay,
    }
    if not asked.separate:
        return [(probe.rule, [head, net])]
    return [(equitune.Uniform(), [head]), (probe.rule, [net])]


def probe(config: CnnConfig, run: Run) -> None:
    """Train the last two layers and store them after every epoch.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
    """
    asked, seed = plan(config), config.seed
    recipe = dataclasses.replace(given(config.task.probe), epochs=epochs(config))
    everything = make_source(config, run, "train")
    held_out, learned = split(len(everything.labels), recipe.validation, seed)
    if config.task.selection == "validation" and not len(held_out):
        raise UserError(
            f"task.probe.validation={recipe.validation} of {len(learned)} images holds none out, "
            "and task.selection=validation needs some; raise it, or choose task.selection=last"
        )
    known, unseen = everything.take(learned), everything.take(held_out)
    layers = build_probe(asked, everything.shape, config.dataset.classes, seed)
    moving = [p for _, m in known.modules() for p in m.parameters() if p.requires_grad]
    learner = Learner(layers, known, recipe, seed, lambda: run.should_checkpoint)
    tensors: dict[str, Tensor] = {}
    todo = phases(asked, layers, moving)
    shorter = "task.probe.epochs and task.max_images make it shorter"
    with progress(f"probe {run.folder.name}", len(todo) * recipe.epochs, shorter=shorter) as bar:
        for number, (rule, parameters) in enumerate(todo):
            first = 1 + number * recipe.epochs
            for epoch, loss in enumerate(learner.learn(rule, parameters, first), start=first):
                bar.update(epoch, f"loss {loss:.3f}")
                if number == len(todo) - 1:
                    step = epoch - first + 1
                    _write(run, step, loss, layers, unseen)
                    tensors |= _state(layers, known, step)
    run.fact("device", "cpu")
    run.fact("images", len(learned))
    run.save(HEADS, tensors)


def _write(run: Run, step: int, loss: float, layers: Probe, unseen: TurnedImages) -> None:
    """Write the rows of an epoch."""
    run.row("cross_entropy", loss, split="train", step=step)
    if len(unseen.labels):
        accuracy = 100 * float(correctness(layers, unseen).double().mean())
        run.row("top1_accuracy", accuracy, split="validation", step=step)


def chosen_epoch(config: CnnConfig, rows: Iterable[Mapping[str, str]]) -> int:
    """Return the epoch that is reported, by the rows of this stage.

    Args:
        config: Decides between the last epoch and the best on held-out images.
        rows: The rows.
    """
    if config.task.selection == "last":
        return epochs(config)
    accuracies = {
        int(row["step"]): float(row["value"])
        for row in rows
        if (row["metric"], row["split"]) == ("top1_accuracy", "validation")
    }
    return max(accuracies, key=lambda epoch: accuracies[epoch])


def epochs(config: CnnConfig) -> int:
    """Return the number of epochs: with one view, as many as cost the passes of the whole group."""
    repeated = len(members(config.task.transform)) if config.method.entry.augments else 1
    return repeated * given(config.task.probe).epochs


def _state(layers: Probe, source: TurnedImages, step: int) -> dict[str, Tensor]:
    """Return all tensors that training may change, with the epoch in their names."""
    parts = {"layers": layers, **dict(source.modules())}
    return {
        f"{step}.{part}.{name}": value.clone()
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def load_state(layers: Probe, source: TurnedImages, tensors: dict[str, Tensor], step: int) -> None:
    """Load the trained state of an epoch."""
    for name, module in {"layers": layers, **dict(source.modules())}.items():
        module.load_state_dict(part(tensors, f"{step}.{name}."))


def split(count: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return held-out and remaining rows."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(derive(seed, SPLIT)))
    held_out = int(count * share)
    return order[:held_out].sort().values, order[held_out:].sort().values
