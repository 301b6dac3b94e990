"""Trainings in few lines: lambda with the model frozen, the model with lambda frozen, a prior.

They are plain loops with early stopping and a guard against divergence; write your own where you
need more. Seed PyTorch's generator first if a training must repeat.
"""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar, Unpack

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from equitune.groups import FiniteGroup, check_group
from equitune.kinds import check_function, check_kind, check_tensor, check_whole, described
from equitune.weights import LambdaNet
from equitune.wrapper import Equivariant

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Fit:
    """What a training did.

    Attributes:
        losses: The training loss of every step that was taken.
        held_out: The metric on held-out data by number of steps, from 0 (before the first).
        chosen: The number of steps behind the weights that were kept.
        diverged: The number of steps after which a weight or the loss was not finite, or None.
    """

    losses: list[float]
    held_out: dict[int, float]
    chosen: int
    diverged: int | None


class FitOptions(TypedDict, total=False):
    """Options of `fit` that the other functions pass on to it."""

    steps: int
    every: int
    patience: int
    optimiser: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    watch: Callable[[int, float], None]


def fit(
    module: nn.Module,
    batches: Iterable[BatchT],
    loss: Callable[[BatchT], Float[Tensor, ""]],
    held_out: Iterable[BatchT] | None = None,
    metric: Callable[[BatchT], Float[Tensor, ""]] | None = None,
    *,
    steps: int = 1000,
    every: int = 50,
    patience: int = 5,
    optimiser: Callable[[list[nn.Parameter]], torch.optim.Optimizer] = torch.optim.Adam,
    watch: Callable[[int, float], None] | None = None,
    train_mode: bool = True,
) -> Fit:
    """Train the parameters of a module and keep the best weights, in evaluation mode.

    Args:
        module: What is trained; parameters that need no gradient are not.
        batches: Batches of any type. They are iterated again when they end, so a list or a loader
            lasts for any number of steps; a generator ends the training.
        loss: Maps a batch to the loss, a number that depends on the module.
        held_out: Batches that are not trained on; must be iterable again and again. The weights of
            least mean metric are kept, those of the start included. Default None: the last finite
            weights are kept.
        metric: Maps a held-out batch to a number, lower is better. Default: the loss.
        steps: Largest number of steps. Default 1000.
        every: Steps between two looks at the held-out data and for divergence. Default 50.
        patience: Looks in a row without a better metric that end the training. Default 5.
        optimiser: Makes the optimiser of the parameters. Default Adam with its own defaults;
            `functools.partial(torch.optim.SGD, lr=0.01)` is another.
        watch: Called at every look with the number of steps and the loss of the last one.
        train_mode: Train in training mode (dropout). Default True.

    Returns:
        The history. If the training diverged, a warning says so and earlier weights are kept.

    Raises:
        TypeError: If an argument is of another kind; with what to write instead.
        ValueError: If the module has no parameters or all are frozen, the loss does not depend on
            them, there is no batch, or steps, every or patience is below 1.
    """
    for name, number in (("steps", steps), ("every", every), ("patience", patience)):
        check_whole(name, number)
        if number < 1:
            raise ValueError(f"{name}={number} must be at least 1")
    check_kind("module", module, nn.Module, "a module (torch.nn.Module)")
    _check_batches(batches, held_out)
    _check_losses(loss, metric, "batch")
    parameters = [one for one in module.parameters() if one.requires_grad]
    if not parameters:
        frozen = "" if next(module.parameters(), None) is None else " that is not frozen"
        raise ValueError(f"{type(module).__name__} has no parameter to train{frozen}")
    optimise = optimiser(parameters)
    keeper = _Keeper(module, held_out, loss if metric is None else metric, every * patience)
    losses: list[Tensor] = []

    def look() -> bool:
        step, last = len(losses), losses[-1]
        if watch is not None:
            watch(step, float(last))
        return keeper.look(step, last)

    module.train(train_mode)
    for batch in itertools.islice(_repeated(batches), steps):
        found = loss(batch)
        if not found.requires_grad:
            raise ValueError(f"the loss does not depend on a parameter of {type(module).__name__}")
        optimise.zero_grad()
        found.backward()  # type: ignore[no-untyped-call]
        optimise.step()
        losses.append(found.detach())
        if len(losses) % every == 0:
            if not look():
                break
            module.train(train_mode)
    if not losses:
        raise ValueError("there is no batch to train on")
    if len(losses) % every:
        look()
    keeper.restore()
    module.eval()
    return Fit(torch.stack(losses).tolist(), keeper.held_out, keeper.chosen, keeper.diverged)


def fit_lambda(
    model: Equivariant,
    batches: Iterable[Any],
    held_out: Iterable[Any] | None = None,
    loss: Callable[[Equivariant, Any], Tensor] | None = None,
    metric: Callable[[Equivariant, Any], Tensor] | None = None,
    **options: Unpack[FitOptions],
) -> Fit:
    """Train lambda with the model frozen: the first step of lambda-equitune (Section 3).

    As M_G is equivariant, upright training data are enough.

    Args:
        model: The wrapped model; its weighting is trained. It is left in evaluation mode.
        batches: See `fit`.
        held_out: See `fit`.
        loss: Maps the model and a batch to a number. Default: the cross-entropy of the logits of a
            batch (inputs, labels), which is moved to the model's device.
        metric: As `loss`, for held-out batches. Default: the loss.
        **options: `steps`, `every`, `patience`, `optimiser` and `watch` of `fit`.

    Returns:
        The history.

    Raises:
        TypeError: As `fit`.
        ValueError: As `fit`; for a weighting without parameters, and for one that holds a part of
            the model, which would be trained too.
    """
    _check_model(model)
    rest = {id(one) for part in (model.model, model.head) if part for one in part.parameters()}
    if any(id(one) in rest for one in model.weighting.parameters()):
        raise ValueError(
            "the weighting holds a part of the model, which would be trained too: write "
            "Learned(..., frozen=True), or give it a copy (copy.deepcopy)"
        )
    return _fit_part(model, model.weighting, batches, held_out, loss, metric, True, options)


def fine_tune(
    model: Equivariant,
    batches: Iterable[Any],
    held_out: Iterable[Any] | None = None,
    loss: Callable[[Equivariant, Any], Tensor] | None = None,
    metric: Callable[[Equivariant, Any], Tensor] | None = None,
    **options: Unpack[FitOptions],
) -> Fit:
    """Train the model with its weighting frozen: the second step of lambda-equitune (Section 3).

    Every weighting will do; with equitune this is the fine-tuning of Eq. 1. The model is trained in
    evaluation mode: batch normalisation would mix the statistics of all views, and dropout would
    break the symmetry. If `Learned` reads the encoder that is trained here, lambda's features
    change with it; give it a copy (`copy.deepcopy`) to prevent that.

    Args:
        model: The wrapped model; all but its weighting is trained, and what you froze
            (`requires_grad_(False)`) stays as it is. It is left in evaluation mode.
        batches: See `fit`.
        held_out: See `fit`.
        loss: See `fit_lambda`.
        metric: See `fit_lambda`.
        **options: See `fit_lambda`. Fine-tuning needs small steps: give an `optimiser`.

    Returns:
        The history.

    Raises:
        TypeError: As `fit`.
        ValueError: As `fit`.
    """
    _check_model(model)
    rest = nn.ModuleList(part for part in model.children() if part is not model.weighting)
    return _fit_part(model, rest, batches, held_out, loss, metric, False, options)


def fit_prior(
    net: nn.Module,
    batches: Iterable[Shaped[Tensor, "group _ ..."]],
    group: FiniteGroup,
    held_out: Iterable[Shaped[Tensor, "group _ ..."]] | None = None,
    **options: Unpack[FitOptions],
) -> Fit:
    """Train lambda to know upright inputs, without labels (Mondal et al., NeurIPS 2023).

    The normalised weights of Eq. 4 are a distribution over the group. Its cross-entropy to the
    identity is least when the upright view of an orbit has all the weight. After training
    `Learned(net, features)` trusts upright views; `select` with loss -net(features) keeps the most
    upright one.

    Args:
        net: Maps features [N, ...] to positive weights [N], as `LambdaNet(..., positive="exp")`
            does, whose distribution is a softmax. It is left in evaluation mode.
        batches: Features of gx for all g and upright x, [G, B, ...]; see `fit`.
        group: The group.
        held_out: As `batches`.
        **options: See `fit_lambda`.

    Returns:
        The history; an uninformed net has the loss log |G|.

    Raises:
        TypeError: As `fit`.
        ValueError: As `fit`; if a batch does not begin with |G|, or a LambdaNet has
            positive="none".
    """
    check_group(group)
    if isinstance(net, LambdaNet) and net.positive == "none":
        raise ValueError("fit_prior needs positive weights: give LambdaNet positive='exp'")

    def loss(views: Tensor) -> Tensor:
        if views.ndim < 2 or views.shape[0] != group.order:
            raise ValueError(
                f"fit_prior expects features [{group.order}, batch, ...] for {group.name}, got "
                f"shape {tuple(views.shape)}"
            )
        return prior_loss(net(views.flatten(0, 1)).reshape(views.shape[:2]), group)

    return fit(net, batches, loss, held_out, **options)


def prior_loss(weights: Float[Tensor, "group batch"], group: FiniteGroup) -> Float[Tensor, ""]:
    """Return the cross-entropy of the normalised weights to the identity, -log p(e | x).

    Add it to the loss of a task to keep learned weights near upright inputs.

    Args:
        weights: Positive weights lambda(gx) for upright x, [G, B].
        group: The group.

    Returns:
        The mean over the batch, in nats.

    Raises:
        TypeError: If weights is no tensor, or group no group.
        ValueError: If the weights do not begin with |G|.
    """
    check_tensor("weights", weights)
    check_group(group)
    if weights.shape[:1] != (group.order,):
        raise ValueError(
            f"weights must be [{group.order}, batch] for {group.name}, got {tuple(weights.shape)}"
        )
    return (weights.sum(dim=0).log() - weights[group.identity].log()).mean()


class _Keeper(Generic[BatchT]):
    """Looks at a module in training and keeps its best weights."""

    def __init__(
        self,
        module: nn.Module,
        batches: Iterable[BatchT] | None,
        metric: Callable[[BatchT], Tensor],
        patience: int,
    ) -> None:
        self.module, self.batches, self.metric, self.patience = module, batches, metric, patience
        self.held_out: dict[int, float] = {}
        self.diverged: int | None = None
        self.best = math.inf
        self._keep(0)
        if batches is not None:
            value = self.held_out[0] = self._measure(batches)
            self.best = math.inf if math.isnan(value) else value

    def look(self, step: int, loss: Tensor) -> bool:
        """Look after a number of steps; return whether to go on."""
        weights = self.module.parameters()
        if not all(bool(value.isfinite().all()) for value in (loss, *weights)):
            self.diverged = step
            warnings.warn(
                f"the training has diverged after {step} steps; the weights of step {self.chosen} "
                "are kept: give an optimiser with smaller steps",
                RuntimeWarning,
                stacklevel=4,
            )
            return False
        if self.batches is None:
            self._keep(step)
            return True
        value = self.held_out[step] = self._measure(self.batches)
        if value < self.best:
            self.best = value
            self._keep(step)
        return step - self.chosen < self.patience

    def restore(self) -> None:
        """Give the module the weights that were kept."""
        self.module.load_state_dict(self.state)

    def _keep(self, step: int) -> None:
        self.chosen = step
        self.state = copy.deepcopy(self.module.state_dict())

    @torch.no_grad()
    def _measure(self, batches: Iterable[BatchT]) -> float:
        self.module.eval()
        values = [float(self.metric(batch)) for batch in batches]
        if not values:
            raise ValueError("held_out has no batch (left): give a list or a loader")
        return sum(values) / len(values)


def _fit_part(
    model: Equivariant,
    part: nn.Module,
    batches: Iterable[Any],
    held_out: Iterable[Any] | None,
    loss: Callable[[Equivariant, Any], Tensor] | None,
    metric: Callable[[Equivariant, Any], Tensor] | None,
    train_mode: bool,
    options: FitOptions,
) -> Fit:
    _check_losses(loss, metric, "model, batch")
    loss = _cross_entropy if loss is None else loss
    metric = loss if metric is None else metric
    model.eval()
    with _only(part, model):
        return fit(
            part,
            batches,
            lambda batch: loss(model, batch),
            held_out,
            lambda batch: metric(model, batch),
            train_mode=train_mode,
            **options,
        )


def _check_model(model: object) -> None:
    check_kind("model", model, Equivariant, "an Equivariant(...), the wrapped model")


def _check_batches(batches: object, held_out: object) -> None:
    """Check that data are batches; a loss in their place is the likeliest mistake."""
    for name, value in (("batches", batches), ("held_out", held_out)):
        fits = isinstance(value, Iterable) or hasattr(value, "__getitem__")
        if not fits and (value is not None or name == "batches"):
            hint = f"; write loss={described(value)}" if callable(value) else ""
            raise TypeError(
                f"{name} must be a list or loader of batches, got {described(value)}{hint}"
            )


def _check_losses(loss: object, metric: object, given: str) -> None:
    """Check that loss and metric are functions of what they are called with; None is kept."""
    for name, value in (("loss", loss), ("metric", metric)):
        if value is None:
            continue
        check_function(name, value, f"lambda {given}: ...")
        if str(getattr(value, "__module__", "")).startswith("torch.nn"):
            model = "model" if "model" in given else "module"
            raise TypeError(
                f"{name} is called with ({given}), not with logits and labels: write "
                f"{name}=lambda {given}: {described(value)}({model}(batch[0]), batch[1])"
            )


def _cross_entropy(model: Equivariant, batch: tuple[Tensor, Tensor]) -> Tensor:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(
            f"a batch must be (inputs, labels), got {described(batch)}; for others give loss="
        )
    inputs, labels = batch
    device = next(model.parameters()).device
    return functional.cross_entropy(model(inputs.to(device)), labels.to(device))


@contextmanager
def _only(part: nn.Module, model: nn.Module) -> Iterator[None]:
    """Let the parameters of a part, and no others of the model, get gradients."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    own = {id(parameter) for parameter in part.parameters()}
    try:
        for parameter, flag in before:
            parameter.requires_grad_(flag and id(parameter) in own)
        yield
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag)


def _repeated(batches: Iterable[BatchT]) -> Iterator[BatchT]:
    found = True
    while found:
        found = False
        for batch in batches:
            found = True
            yield batch
