"""Arguments of another kind: one line that says what to write, not an error from deep inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import equitune as e

cross_entropy = nn.functional.cross_entropy
IMAGE, TURNS, FOUR = torch.zeros(3, 8, 8), e.Rot90(), e.cyclic(4)
NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
WRAPPED = e.Equivariant(NET, TURNS, e.Invariant(FOUR))
DATA = [(IMAGE[None], torch.zeros(1, dtype=torch.long))]
ALONE = r"one image alone is x\[None\]"

TYPES: list[tuple[Callable[[], Any], str]] = [
    (lambda: e.Invariant(TURNS), "got Rot90, which acts: write action.group"),
    (lambda: e.Linear(4, torch.eye(2)[None]), "group must be a FiniteGroup"),
    (lambda: e.Linear(FOUR, [[1, 0], [0, 1]]), "matrices must be a tensor, got list"),
    (lambda: e.Signs(FOUR, [1, -1]), "signs must be a tensor, got list"),
    (lambda: e.Relabel(FOUR, [1, 0]), "permutations must be a tensor, got list"),
    (lambda: e.Rot90(8), r"dims must be .* got 8; .* ApproximateRotation\(n\)"),
    (lambda: e.Mirror("x"), "dim must be a whole number, got 'x'"),
    (lambda: e.Boxes(TURNS, 8), r"size must be \(height, width\), got 8"),
    (lambda: TURNS.act(IMAGE, 1), "element g must be a whole number, got Tensor"),
    (lambda: e.action_error(FOUR, IMAGE), "action must be an Action"),
    (lambda: e.cyclic("4"), r"n of cyclic\(n\) must be a whole number, got '4'"),
    (lambda: e.permutation_group([1, 0]), r"as \[\[1, 0, 2\]\] is, got \[1, 0\]"),
    (lambda: e.cycle_permutations(4, [0, 1]), r"as \[\[0, 1\]\], got \[0, 1\]"),
    (lambda: e.product([FOUR, FOUR]), "group must be a FiniteGroup"),
    (lambda: e.matrix_group("a"), "matrices must be numbers"),
    (lambda: e.rotations(4, "z"), "axis must be three numbers"),
    (lambda: e.Identity(4), "group must be a FiniteGroup"),
    (lambda: e.Select(e.losses.entropy, group=TURNS), "write action.group"),
    (lambda: e.SoftSelect(e.losses.entropy, "1"), "temperature must be a number"),
    (lambda: e.LambdaNet(NET), "in_features must be a whole number"),
    (lambda: e.Equivariant(NET, TURNS, TURNS, chunk="2"), "chunk must be a whole number"),
    (lambda: e.equivariance_error("f", IMAGE, TURNS, TURNS), "model must be a function"),
    (lambda: e.letterbox("x"), "images must be a tensor"),
    (lambda: e.Letterboxed("f"), "model must be a module"),
    (lambda: e.average([1, 2]), "y must be a tensor, got list"),
    (lambda: e.average(IMAGE, [1, 1]), "weights must be a tensor, got list"),
    (lambda: e.select(IMAGE, e.losses.entropy), "loss must be a tensor, got entropy"),
    (lambda: e.straight_through(1, IMAGE), "hard must be a tensor, got int"),
    (lambda: e.by_average(3), "weights, if no tensor, must be a function"),
    (lambda: e.by_selection("x"), "loss must be a function"),
    (lambda: e.fit("net", DATA, len), "module must be a module"),
    (lambda: e.fit(NET, DATA, cross_entropy), "write loss=lambda batch: cross_entropy"),
    (lambda: e.fit(NET, DATA, len, steps="3"), "steps must be a whole number"),
    (lambda: e.fit_lambda(NET, DATA), "model must be an Equivariant.*Sequential"),
    (lambda: e.fit_lambda(e.Rot90, DATA), "model must be an Equivariant.*write Rot90"),
    (lambda: e.fine_tune(NET, DATA), "model must be an Equivariant.*Sequential"),
    (lambda: e.fine_tune(WRAPPED, 3), "batches must be a list or loader"),
    (lambda: e.fine_tune(WRAPPED, DATA, cross_entropy), "write loss=cross_entropy"),
    (lambda: e.fine_tune(WRAPPED, DATA, loss=nn.L1Loss()), "lambda model, batch: L1Loss"),
    (lambda: e.fine_tune(WRAPPED, IMAGE[None]), r"must be \(inputs, labels\), got Tensor"),
    (lambda: e.fit_prior(NET, [IMAGE], TURNS), "write action.group"),
    (lambda: e.prior_loss(FOUR, FOUR), "weights must be a tensor"),
]
VALUES: list[tuple[Callable[[], Any], str]] = [
    (lambda: WRAPPED(IMAGE), rf"12 views of shape \(8, 8\).*{ALONE}"),
    (lambda: e.letterbox(IMAGE), ALONE),
    (lambda: e.Letterboxed(NET)(IMAGE), ALONE),
    (lambda: e.prior_loss(torch.ones(2, 4), FOUR), r"must be \[4, batch\] for cyclic\(4\)"),
]
MISTAKES = [(*one, TypeError) for one in TYPES] + [(*one, ValueError) for one in VALUES]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "message", "kind"), MISTAKES)
def test_an_argument_of_another_kind_is_one_line_that_says_what_to_write(
    call: Callable[[], Any], message: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=message) as refused:
        call()
    assert "\n" not in str(refused.value)


def test_the_models_own_error_stays_for_whole_batches() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        WRAPPED(torch.zeros(2, 4, 8, 8))
