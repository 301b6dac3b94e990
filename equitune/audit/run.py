"""`audit`: pass the orbits through the model once, choose on all folds but one, measure on it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from equitune.actions import Action, Invariant
from equitune.audit.choices import NEEDS, Chooser, Loss, Method
from equitune.audit.page import Audit, Row
from equitune.audit.statistics import Gain, Trial, gain, recommend
from equitune.audit.stored import (
    Measured,
    Metric,
    Ruler,
    Stored,
    correct,
    fold_count,
    folds,
    is_classes,
    is_scores,
    pass_through,
)
from equitune.checks import check_actions
from equitune.groups import FiniteGroup
from equitune.rules import Weighting
from equitune.wrapper import Equivariant

Fold = tuple[dict[str, Weighting], list[Stored]]
"""The candidates by procedure, and samples that had no part in choosing them."""


def audit(
    model: nn.Module,
    batches: Iterable[Any],
    action_in: Action,
    action_out: Any,
    *,
    choose: Iterable[Any] | None = None,
    metric: Metric | None = None,
    losses: Mapping[str, Loss] | None = None,
    output: str | int | Callable[[Any], Any] | None = None,
    head: nn.Module | None = None,
    chunk: int | None = None,
    tolerance: float = 1e-3,
    margin: float = 0.01,
    seed: int = 0,
) -> Audit:
    """Compare the pretrained model with all methods on your data, and recommend one.

    Every input and its transforms go through the model once, in batches of |G| * B; the outputs of
    all are kept in memory (|G| numbers for each number of an output) and all methods read them.
    What they say of a transformed input gx is exact, since its orbit is that of x in another order;
    this needs an action that is exact, too.

    Methods: pretrained, equitune, equizero by each loss that fits the outputs, soft selection,
    a prior (equizero by a network that knows upright inputs, `fit_prior`), and lambda (a `Learned`,
    trained as `fit_lambda` does). The last two read the outputs, or the features of a split model.
    The samples are divided into five folds. The loss, the temperature and the networks are chosen
    on four and measured on the fifth, in turn (cross-fitting): all samples are measured, none with
    choices that it had a part in. The folds may choose different losses. Names, code and weightings
    are chosen again, on all samples.

    The recommendation counts the metric on transformed inputs, uniform over the group, e included:

    1. If the equivariance error of the model is at most `tolerance`, keep it: "pretrained".
    2. Each method has the interval of its gain over pretrained, over paired samples. All intervals
       hold together with probability 95 % (Bonferroni). If none reaches above `margin`: keep
       "pretrained".
    3. If no interval lies above 0: undecided, None.
    4. Else, of the methods whose interval does, take those whose mean is at most `margin` behind
       the best mean. The one that needs least is recommended, and of equals the best. Needs, from
       cheap to dear: passes of the model, then nothing, a temperature, upright inputs, labels.

    `at_most_behind` is the largest upper end of the paired intervals of the other candidates over
    the recommended method, and at least 0.

    Without labels, "agreement" takes the place of accuracy: the share of predicted classes that are
    those of the pretrained model on the upright input, right or wrong. It says what transforming
    costs, not which method is right more often.

    Args:
        model: As `Equivariant` takes it. It and its head are put into evaluation mode.
        batches: Batches (inputs, targets), or inputs alone; read once. Further arguments of the
            model may follow, by name: (inputs, targets, {"attention_mask": mask}). Inputs must be
            upright, as they were in pretraining. Of every five successive samples a random one
            goes to each fold.
        action_in: As `Equivariant` takes it.
        action_out: As `Equivariant` takes it.
        choose: Batches to choose on, once; all of `batches` are measured. Give it where samples
            resemble their neighbours, as frames of a video do. Default None: cross-fitting.
        metric: Maps outputs, carried back, and targets to a number per sample, [B], higher is
            better. Default: accuracy for outputs [B, C, ...] and targets [B, ...] of classes.
        losses: Proxy losses by name, for `Select`. Default: those of `equitune.losses` that fit.
        output: As `Equivariant` takes it.
        head: As `Equivariant` takes it.
        chunk: As `Equivariant` takes it: transforms of a batch that go through the model at a time.
        tolerance: Equivariance error up to which a model counts as equivariant. Default 1e-3.
        margin: Smallest gain that matters, in the unit of the metric. Default 0.01.
        seed: Of the folds and of the networks' training; your random state is left alone.

    Returns:
        The result: `text()`, `markdown()`, `json()`, `picture(path)`; and `weightings` to use.

    Raises:
        TypeError: If a batch is something else, or a metric is needed and missing.
        ValueError: If the action is not exact, there are fewer than two samples to choose on (in
            all folds but one) or to measure, only some have targets, a label is no class, an output
            is NaN, or the metric does not return one finite number per sample.
    """
    check_actions(action_in, action_out=action_out)
    if not action_in.exact:
        raise ValueError(
            f"an audit needs an exact action, and {action_in!r} is not: the orbit of gx would not "
            "be that of x; measure equivariance_error instead"
        )
    group = action_in.group
    # The action on outputs is applied to what is stored, not here.
    wrapped = Equivariant(
        model, copy.deepcopy(action_in), Invariant(group), output=output, head=head, chunk=chunk
    ).eval()
    found = _pass_samples(wrapped, choose, batches, with_classes=metric is None)
    ruler = Ruler(group, action_out, correct if metric is None else metric)
    choose_on = partial(Chooser, ruler=ruler, losses=losses, labelled=found.labelled, seed=seed)
    methods, notes = choose_on(found.choose).methods()
    if choose is None:
        fitted = [
            (_candidates(choose_on(others).methods()[0]), own)
            for others, own in folds(found.measure, seed)
        ]
        notes.append("Names, code and weightings are chosen once more, on all samples.")
    else:
        fitted = [(_candidates(methods), found.measure)]
    methods = _in_all(methods, fitted, notes)
    if metric is None and not found.labelled:
        notes.append(
            "Agreement counts predictions that stay as they were upright, right or wrong; labels "
            "would tell accuracy."
        )
    measured = [ruler.measure(_parts(method, fitted)) for method in methods]
    values = torch.stack([one.values for one in measured])
    between = partial(
        gain,
        scale=1.0 if metric is None else float(values.max() - values.min()),
        comparisons=sum(method.candidate for method in methods) - 1,
    )
    rows = tuple(_rows(methods, measured, group, found.seconds / found.passes, between))
    trials = [
        Trial(row.method, one.mean(dim=0), (row.passes, NEEDS.index(row.needs)))
        for row, one in zip(rows, values, strict=True)
        if row.candidate
    ]
    verdict = recommend(trials, rows[0].error, tolerance, margin, between, metric is None)
    return Audit(
        model=type(model).__name__,
        group=f"{type(action_in).__name__} ({group.name})",
        order=group.order,
        options=_options(output, head),
        metric=_name(metric, found.labelled),
        percent=metric is None,
        samples=found.sizes,
        changed=measured[0].changed,
        rows=rows,
        recommended=verdict.method,
        reason=verdict.reason,
        at_most_behind=verdict.at_most_behind,
        notes=tuple(notes),
        passes=found.passes,
        seconds=found.seconds,
        weightings={method.name: method.weighting for method in methods},
    )


class _Samples(NamedTuple):
    """All samples: those to choose on and those to measure, which may be the same.

    Attributes:
        choose: Batches to choose on.
        measure: Batches to measure.
        sizes: Samples that one choice is made on, and samples that are measured.
        labelled: Whether they came with targets.
        passes: Inputs that went through the model.
        seconds: Time of these passes.
    """

    choose: list[Stored]
    measure: list[Stored]
    sizes: tuple[int, int]
    labelled: bool
    passes: int
    seconds: float


def _pass_samples(
    wrapped: Equivariant, choose: Iterable[Any] | None, measure: Iterable[Any], with_classes: bool
) -> _Samples:
    """Pass all samples through the model; with classes, set them as targets.

    Raises:
        TypeError: If a batch is something else, or outputs or labels are no classes.
        ValueError: If there are too few samples, or only some have targets.
    """
    passed = [pass_through(wrapped, part) for part in (choose, measure) if part is not None]
    stored = [part.batches for part in passed]
    chosen, seen = (sum(batch.size for batch in part) for part in (stored[0], stored[-1]))
    sizes = (seen - -(-seen // fold_count(seen)) if choose is None else chosen, seen)
    if min(sizes) < 2:
        raise ValueError(f"an audit needs two samples to choose on, two to measure; got {sizes}")
    labelled = stored[0][0].targets is not None
    if with_classes:
        identity = wrapped.action_in.group.identity
        stored = [[_with_classes(batch, identity, labelled) for batch in part] for part in stored]
    passes, seconds = sum(part.passes for part in passed), sum(part.seconds for part in passed)
    return _Samples(stored[0], stored[-1], sizes, labelled, passes, seconds)


def _options(output: object, head: object) -> str:
    """Return the options of `Equivariant` that its code needs, as code."""
    name = f"output={output!r}" if isinstance(output, str | int) else "output=output"
    given = (name if output is not None else "", "head=head" if head is not None else "")
    return "".join(f", {one}" for one in given if one)


def _name(metric: Metric | None, labelled: bool) -> str:
    if metric is None:
        return "accuracy" if labelled else "agreement"
    return str(getattr(metric, "__name__", "metric"))


def _with_classes(batch: Stored, identity: int, labelled: bool) -> Stored:
    """Return samples with classes as targets: their labels, or what the model says upright.

    Raises:
        TypeError: If outputs or labels are no classes.
        ValueError: If a label is none of the outputs' classes.
    """
    if not is_scores(batch.outputs):
        raise TypeError("outputs are not scores of classes, [N, C, ...]: give a metric")
    if not labelled:
        return Stored(batch.outputs, batch.features, batch.outputs[identity].argmax(dim=1))
    if not is_classes(batch):
        raise TypeError(
            "targets are not classes, integers [N, ...] for outputs [N, C, ...]: give a metric"
        )
    labels, count = batch.targets.long(), batch.outputs.shape[2]
    if labels.numel() and not (labels.min() >= 0 and labels.max() < count):
        odd = labels[(labels < 0) | (labels >= count)].flatten()[0]
        raise ValueError(
            f"labels must lie in 0..{count - 1}, the model's {count} classes, got {odd}: shift "
            "them, or give a metric that leaves such places out"
        )
    return Stored(batch.outputs, batch.features, labels)


def _candidates(methods: list[Method]) -> dict[str, Weighting]:
    return {method.procedure: method.weighting for method in methods if method.candidate}


def _in_all(methods: list[Method], fitted: list[Fold], notes: list[str]) -> list[Method]:
    """Return the methods whose procedures every fold has too; note the others."""
    found = [set(_candidates(methods)), *(set(rules) for rules, _ in fitted)]
    missing = sorted(found[0].union(*found) - found[0].intersection(*found))
    left_out = "is left out: in one of the folds it could not be chosen."
    notes += [f"{name} {left_out}" for name in missing]
    return [method for method in methods if method.procedure not in missing]


def _parts(method: Method, fitted: list[Fold]) -> list[tuple[Weighting, Stored]]:
    """Return all batches, each with the rule that the method uses there.

    For a candidate it is what its procedure chose on other samples.
    """
    return [
        (rules[method.procedure] if method.candidate else method.weighting, batch)
        for rules, batches in fitted
        for batch in batches
    ]


def _rows(
    methods: list[Method],
    measured: list[Measured],
    group: FiniteGroup,
    seconds_per_pass: float,
    between: Callable[[Tensor], Gain],
) -> Iterator[Row]:
    """Yield the rows of the page."""
    bare = measured[0].values
    for method, found in zip(methods, measured, strict=True):
        values, is_bare = found.values, found is measured[0]
        more = values - bare
        passes = 1 if is_bare else group.order
        none = Gain(0.0, 0.0, 0.0)
        yield Row(
            method=method.name,
            upright=float(values[group.identity].mean()),
            transformed=float(values.mean()),
            gain=none if is_bare else between(more.mean(dim=0)),
            upright_gain=none if is_bare else between(more[group.identity]),
            error=found.error,
            passes=passes,
            seconds=passes * seconds_per_pass + found.seconds,
            needs=method.needs,
            candidate=method.candidate,
            code=method.code,
        )
