"""The audit: known answers, cross-fitted halves, one pass, and its faces."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import equitune
from equitune import Audit, DihedralImage, Equivariant, Invariant, Mirror, Rot90
from equitune.audit import choices, stored
from equitune.audit.__main__ import main
from equitune.audit.statistics import Gain, Trial, gain, recommend
from equitune.audit.stored import Ruler, Stored, fold_count, folds

ROT90 = Rot90()
SAME = Invariant(ROT90.group)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "TRAINING", {"steps": 60, "every": 20, "patience": 2})


class Counted(nn.Module):
    """Counts the inputs that go through a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.count = module, 0

    def forward(self, x: Tensor) -> Any:
        self.count += len(x)
        return self.module(x)


class Upright(nn.Module):
    """Right and sure if the bright edge is up; else it sees a class at random, and is not sure."""

    def forward(self, x: Tensor) -> Tensor:
        sure = torch.where(x[:, 0, 0].mean(dim=1) > 1.5, 6.0, 0.3)
        sign = torch.where(x[:, 0, 1, 1] > 0, 1.0, -1.0)
        score = sure * sign
        return torch.stack([-score, score], dim=1)


class Even(nn.Module):
    """Reads what no turn changes."""

    def forward(self, x: Tensor) -> Tensor:
        mean, square = x.mean(dim=(1, 2, 3)), x.square().mean(dim=(1, 2, 3))
        return torch.stack([mean, square], dim=1)


def images(count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images [count, 1, 6, 6] with a bright upper edge; the class is the sign of one pixel."""
    x = torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    x[:, :, 0] += 3
    return x, (x[:, 0, 1, 1] > 0).long()


def batches(count: int, seed: int = 1, size: int = 50) -> Iterator[tuple[Tensor, Tensor]]:
    x, labels = images(count, seed)
    yield from zip(x.split(size), labels.split(size), strict=True)


def rows(found: Audit) -> dict[str, Any]:
    return {row.method: row for row in found.rows}


def test_a_model_that_is_right_and_sure_upright_needs_a_selection() -> None:
    found = equitune.audit(Upright(), batches(400), ROT90, SAME)
    row = rows(found)["pretrained"]
    assert row.upright == 1 and 0.55 < row.transformed < 0.7 and row.error > 0.5
    assert found.recommended is not None and found.recommended.startswith("equizero")
    best = rows(found)[found.recommended]
    assert best.transformed == best.upright > 0.99 and best.error == 0 and best.passes == 4
    assert best.gain.low > 0.3 and found.samples == (320, 400)
    assert found.changed is not None and 0.4 < found.changed < 0.6
    assert rows(found)["equitune"].transformed < 1.0001
    # What was recommended can be used as it is.
    x, labels = images(100, seed=2)
    model = Equivariant(Upright(), ROT90, SAME, found.weightings[found.recommended])
    assert bool((model(ROT90.act(1, x)).argmax(dim=1) == labels).float().mean() > 0.98)
    code = eval(best.code, vars(equitune) | {"partial": __import__("functools").partial})
    same = Equivariant(Upright(), ROT90, SAME, code)
    assert torch.equal(model(x), same(x))


def test_numbers_are_those_of_the_wrapped_models() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = torch.randn(60, 1, 6, 6, dtype=torch.float64)
    labels = torch.randint(3, (60,))
    turns, same = DihedralImage(), Invariant(DihedralImage().group)
    found = equitune.audit(net, [(x, labels)], turns, same, choose=batches_of_classes())
    assert found.samples == (20, 60)
    for name, row in rows(found).items():
        model = Equivariant(net, turns, same, found.weightings[name])
        error = equitune.equivariance_error(model, x, turns, same)
        assert row.error == pytest.approx(error, abs=1e-12)
        assert name == "pretrained" or row.error < 1e-6  # the networks are in float32
        hits = [
            (model(turns.act(g, x)).argmax(dim=1) == labels).double().mean()
            for g in turns.group.elements
        ]
        assert row.upright == pytest.approx(float(hits[0]), abs=1e-9)
        assert row.transformed == pytest.approx(float(torch.stack(hits).mean()), abs=1e-9)
        first = rows(found)["pretrained"]
        assert row.gain.mean == pytest.approx(row.transformed - first.transformed, abs=1e-9)
        assert row.gain.low <= row.gain.mean <= row.gain.high


def batches_of_classes() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(20, 1, 6, 6, dtype=torch.float64, generator=generator)
    return [(x, torch.randint(3, (20,), generator=generator))]


def test_an_equivariant_model_needs_no_method() -> None:
    found = equitune.audit(Even(), batches(100), ROT90, SAME)
    assert found.recommended == "pretrained" and "equivariant already" in found.reason
    assert found.changed == 0


def test_noise_is_undecided() -> None:
    torch.manual_seed(1)
    x, labels = torch.randn(120, 1, 6, 6), torch.randint(2, (120,))
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    found = equitune.audit(net, [(x, labels)], ROT90, SAME)
    assert found.recommended is None and "undecided" in found.text().lower()
    assert all(row.gain.low < 0 < row.gain.high for row in found.rows[1:])


def test_every_input_goes_through_the_model_once_per_element() -> None:
    net = Counted(Upright()).train()
    found = equitune.audit(net, batches(130, size=7), ROT90, SAME)  # a generator: read once
    assert net.count == found.passes == 4 * 130 and found.seconds > 0
    assert not net.training
    assert [row.passes for row in found.rows] == [1, *[4] * (len(found.rows) - 1)]


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_make_smaller_passes_and_the_same_page(chunk: int) -> None:
    sizes: list[int] = []
    net = Upright()
    net.register_forward_hook(lambda module, given, found: sizes.append(len(found)))
    found, whole = (
        equitune.audit(net, batches(50), ROT90, SAME, chunk=size) for size in (chunk, None)
    )
    assert sizes == {1: [50] * 4, 3: [150, 50]}[chunk] + [200]
    assert found.passes == whole.passes == 200
    assert [replace(row, seconds=0.0) for row in found.rows] == [
        replace(row, seconds=0.0) for row in whole.rows
    ]


def test_the_table_s_samples_choose_nothing() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    x, labels = images(100, seed=5)
    given = {"choose": list(batches(100)), "action_in": ROT90, "action_out": SAME}
    one = equitune.audit(net, [(x, labels)], **given)
    other = equitune.audit(net, [(x, 1 - labels)], **given)
    assert [row.code for row in one.rows] == [row.code for row in other.rows]
    assert [row.candidate for row in one.rows] == [row.candidate for row in other.rows]
    pairs = zip(
        one.weightings["lambda"].parameters(), other.weightings["lambda"].parameters(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)
    for a, b in zip(one.rows, other.rows, strict=True):
        assert a.upright == pytest.approx(1 - b.upright)


@pytest.mark.parametrize("sizes", [[1] * 23, [4, 16, 3], [23]])
def test_folds_are_disjoint_whole_and_alike_in_sorted_data(sizes: list[int]) -> None:
    ids = torch.arange(23).split(sizes)
    found = list(folds([Stored(part.expand(4, -1), None, part) for part in ids], seed=0))
    parts = []
    for others, own in found:
        chosen, measured = (
            torch.cat([batch.targets for batch in side]).tolist() for side in (others, own)
        )
        assert sorted(chosen + measured) == list(range(23))
        assert len(measured) in (4, 5) and [i // 5 for i in measured[:4]] == [0, 1, 2, 3]
        parts.append(measured)
    assert sorted(i for part in parts for i in part) == list(range(23))
    assert [0, 5, 10, 15, 20] not in parts


@pytest.mark.parametrize(("count", "expected"), [(1, 2), (4, 2), (7, 3), (9, 4), (10, 5), (99, 5)])
def test_a_fold_has_two_samples_or_there_are_fewer_folds(count: int, expected: int) -> None:
    assert fold_count(count) == expected


MIRROR = Mirror()
SIDES = {
    "left": lambda outputs: -outputs[..., 0],  # its least view is of class 0
    "right": lambda outputs: -outputs[..., 1],  # of class 1
}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folds in place of five, so that a choice is of half of the samples."""
    monkeypatch.setattr(stored, "FOLDS", 2)


def pairs(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images [count, 1, 1, 2], and the numbers of those in both folds of an audit with seed 0."""
    ids = torch.arange(count)
    (_, first), (_, second) = folds([Stored(ids.expand(2, -1), None, ids)], seed=0)
    x = torch.randn(count, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    return x, first[0].targets, second[0].targets


def audit_pairs(batches: Any, **options: Any) -> Audit:
    same = Invariant(MIRROR.group)
    return equitune.audit(nn.Flatten(), batches, MIRROR, same, losses=SIDES, **options)


@pytest.mark.usefixtures("two")
def test_each_fold_is_measured_with_the_choices_of_the_others() -> None:
    x, first, second = pairs(80)
    labels = torch.zeros(80).long()
    labels[first[:10]] = 1  # the first fold takes "left", which is right on 30 of its 40
    labels[second[:36]] = 1  # the second fold and the whole take "right": 36 of 40, 46 of 80
    found = audit_pairs(list(zip(x.split(7), labels.split(7), strict=True)))
    assert found.samples == (40, 80)
    left, right = (rows(found)[f"equizero ({name})"] for name in SIDES)
    assert not left.candidate and left.transformed == 34 / 80  # it chose nothing
    assert right.candidate and right.transformed == (4 + 10) / 80
    both = rows(found)["pretrained"]
    assert right.gain.mean == pytest.approx(right.transformed - both.transformed)
    assert any("on all samples" in note for note in found.notes)

    once = audit_pairs([(x[second], labels[second])], choose=[(x[first], labels[first])])
    assert once.samples == (40, 40) and rows(once)["equizero (left)"].candidate
    assert rows(once)["equizero (left)"].transformed == 4 / 40
    assert rows(once)["equizero (right)"].transformed == 36 / 40
    assert not any("on all samples" in note for note in once.notes)


def test_every_sample_is_measured_once_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    measure = Ruler.measure

    def watched(self: Ruler, parts: Any) -> Any:
        seen.append([int(number) for _, batch in parts for number in batch.targets])
        return measure(self, parts)

    monkeypatch.setattr(Ruler, "measure", watched)
    x = torch.randn(31, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    batches = zip(x.split(4), torch.arange(31.0).split(4), strict=True)
    found = audit_pairs(batches, metric=lambda output, target: output[:, 0] * target)
    assert found.samples == (24, 31) and "prior" in rows(found)
    assert len(seen) == len(found.rows) and all(order == seen[0] for order in seen)
    assert sorted(seen[0]) == list(range(31))


@pytest.mark.usefixtures("two")
def test_a_procedure_that_cannot_be_chosen_without_a_fold_is_left_out() -> None:
    x, first, _ = pairs(40)
    x[first] = x[first].mean(dim=-1, keepdim=True)  # no view differs, so there is no temperature
    found = audit_pairs([(x, torch.arange(40) % 2)])
    assert not any("soft" in name for name in rows(found) | found.weightings.keys())
    assert sum("soft selection is left out" in note for note in found.notes) == 1
    assert "equizero (left)" in rows(found)


def test_it_repeats_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    before = torch.get_rng_state()
    one, other = (equitune.audit(net, batches(80), ROT90, SAME) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert [replace(row, seconds=0.0) for row in one.rows] == [
        replace(row, seconds=0.0) for row in other.rows
    ]
    assert one.reason == other.reason and one.at_most_behind == other.at_most_behind
    with torch.no_grad():
        equitune.audit(net, batches(80), ROT90, SAME)


def test_without_labels_it_counts_predictions_that_stay() -> None:
    found = equitune.audit(Upright(), images(200)[0].split(50), ROT90, SAME)
    assert found.metric == "agreement" and "lambda" not in rows(found)
    first = rows(found)["pretrained"]
    assert first.upright == 1 and found.changed is not None
    assert first.transformed == pytest.approx(1 - 0.75 * found.changed)
    assert "lambda is left out: it learns from labels that are classes." in found.notes


class Parts(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"map": x * torch.linspace(0, 1, 6), "logits": x.flatten(1)[:, :2]}


def near(output: Any, target: Tensor) -> Tensor:
    return -(output["map"] - target).square().mean(dim=(1, 2, 3))


def test_trees_and_metrics_of_one_s_own() -> None:
    x, labels = images(80)
    actions = {"map": Rot90(), "logits": SAME}
    found = equitune.audit(Parts(), [(x, x)], ROT90, actions, metric=near)
    assert list(rows(found)) == ["pretrained", "equitune"] and len(found.notes) == 3
    assert found.metric == "near" and not found.percent and found.changed is None
    assert found.recommended == "equitune" and found.rows[1].transformed > found.rows[0].transformed
    part = equitune.audit(Parts(), [(x, labels)], ROT90, SAME, output="logits")
    assert part.metric == "accuracy" and "lambda" in rows(part)


def test_maps_of_classes_are_turned_back() -> None:
    torch.manual_seed(0)
    net = nn.Conv2d(1, 2, 3, padding=1)
    x, _ = images(60)
    target = net(x).argmax(dim=1)
    found = equitune.audit(net, [(x, target)], ROT90, Rot90())
    row = rows(found)["pretrained"]
    assert row.upright == 1 > row.transformed
    assert "partial(losses.entropy, dim=-3)" in rows(found)["equizero (entropy)"].code
    assert "prior" not in rows(found)
    whole = equitune.audit(nn.Conv2d(1, 2, 1), [(x, target)], ROT90, Rot90())
    assert whole.recommended == "pretrained"


def test_a_split_model_gives_features_to_the_networks() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh())
    found = equitune.audit(body, batches(80), ROT90, SAME, head=nn.Linear(5, 2))
    assert found.weightings["lambda"].net.in_features == 5
    assert found.weightings["prior"].reads == found.weightings["lambda"].reads == "features"


def test_a_head_is_put_into_evaluation_mode_and_the_code_names_it() -> None:
    head = nn.Sequential(nn.Dropout(0.5), nn.Identity())
    found, alone = (
        equitune.audit(Upright(), batches(120), ROT90, SAME, **options)
        for options in ({"head": head}, {})
    )
    assert not head.training
    assert [row.upright for row in found.rows[:3]] == [row.upright for row in alone.rows[:3]]
    assert found.options == ", head=head" and ", head=head)" in found.text()
    tree = equitune.audit(Parts(), batches(60), ROT90, SAME, output=lambda y: y["logits"])
    assert tree.options == ", output=output"
    assert equitune.audit(Parts(), batches(60), ROT90, SAME, output="logits").options == (
        ", output='logits'"
    )


def test_integers_are_selected_not_averaged() -> None:
    class Words(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, 0, 0].mean(dim=1, keepdim=True).long()

    def same(output: Tensor, target: Tensor) -> Tensor:
        return (output == target).double().squeeze(1)

    x, _ = images(80)
    target = Words()(x)
    largest = {"largest": lambda outputs: -outputs[..., 0]}
    found = equitune.audit(Words(), [(x, target)], ROT90, SAME, metric=same, losses=largest)
    assert list(rows(found)) == ["pretrained", "equizero (largest)"]
    assert found.recommended == "equizero (largest)"


@pytest.mark.parametrize("count", [4, 30])
def test_one_element_and_few_samples(count: int) -> None:
    trivial = equitune.Linear(equitune.trivial(), torch.eye(6)[None])
    found = equitune.audit(Upright(), batches(count), trivial, Invariant(trivial.group))
    assert found.recommended == "pretrained" and found.changed is None


class Masked(nn.Module):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x * mask[:, None, None, None]).flatten(1)[:, :2]


def test_further_arguments_follow_their_samples() -> None:
    x, labels = images(40)
    mask = torch.arange(40).float()
    found = equitune.audit(Masked(), [(x, labels, {"mask": mask})], ROT90, SAME)
    masked = x * mask[:, None, None, None]
    plain = equitune.audit(Masked(), [(masked, labels, {"mask": mask**0})], ROT90, SAME)
    assert [row.transformed for row in found.rows] == [row.transformed for row in plain.rows]


def test_losses_of_one_s_own() -> None:
    own = {"first_class": lambda outputs: outputs[..., 0]}
    found = equitune.audit(Upright(), batches(80), ROT90, SAME, losses=own)
    assert "equizero (first_class)" in rows(found)
    assert "equizero (entropy)" not in rows(found)
    none = equitune.audit(Upright(), batches(80), ROT90, SAME, losses={})
    assert any("equizero is left out" in note for note in none.notes)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([{"x": 1}], {}, "a batch must be inputs"),
        ([torch.zeros(2, 1, 6, 6)], {}, "two samples to choose on, two to measure; got .1, 2."),
        ([images(4), images(4)[0]], {}, "some batches have targets"),
        ([], {}, "got .0, 0."),
        ([(torch.zeros(8, 1, 6, 6), torch.zeros(8))], {}, "targets are not classes"),
        ([torch.zeros(8, 1, 6, 6)], {"output": lambda y: y[:, 0]}, "outputs are not scores"),
        (
            [torch.zeros(8, 1, 6, 6)],
            {"metric": lambda output, target: output},
            "one number per sample",
        ),
        (
            [torch.zeros(8, 1, 6, 6)],
            {"metric": lambda output, target: output[:, 0] / 0},
            "not finite",
        ),
        ([(torch.zeros(8, 1, 6, 6), torch.full((8,), 2))], {}, r"lie in 0..1, .* got 2: shift"),
        ([(torch.zeros(8, 1, 6, 6), torch.full((8,), -100))], {}, "got -100: shift them, or give"),
        ([torch.zeros(8, 1, 6, 6)], {"output": lambda y: y / 0 * 0}, "the model returned NaN"),
    ],
)
def test_wrong_arguments(given: Any, options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        equitune.audit(Upright(), given, ROT90, SAME, **options)


def test_an_action_that_is_not_exact_is_refused() -> None:
    turns = equitune.ApproximateRotation(8)
    with pytest.raises(ValueError, match="needs an exact action, and ApproximateRotation"):
        equitune.audit(Upright(), batches(40), turns, Invariant(turns.group))


def test_intervals_cover() -> None:
    generator = torch.Generator().manual_seed(0)
    for probability in (0.02, 0.1, 0.4):
        covered = 0
        for _ in range(400):
            draws = torch.rand(60, generator=generator)
            found = gain((draws < probability).double(), 1.0, comparisons=1)
            covered += found.low <= probability <= found.high
        assert covered / 400 > 0.93


def test_intervals_of_few_samples_are_never_sure() -> None:
    found = gain(torch.zeros(20), 1.0, comparisons=1)
    assert found.mean == 0 and found.low == -found.high < -0.05
    wider = gain(torch.zeros(20), 1.0, comparisons=6)
    assert wider.high > found.high
    assert gain(torch.zeros(20), 0.0, comparisons=1) == Gain(0.0, 0.0, 0.0)


def verdict(*shares: tuple[str, float, int], count: int = 1000, error: float = 1.0) -> Any:
    """The verdict where the methods are right on the first so many of the samples."""
    trials = [
        Trial(name, (torch.arange(count) < share * count).double(), (4, needs))
        for name, share, needs in shares
    ]
    return recommend(trials, error, 1e-3, 0.01, lambda more: gain(more, 1.0, 3), percent=True)


def test_recommendations() -> None:
    bare = ("pretrained", 0.5, 0)
    assert verdict(bare, ("a", 0.6, 0), error=1e-4).method == "pretrained"
    assert verdict(bare, ("a", 0.6, 0), ("b", 0.7, 0)).method == "b"
    near = verdict(bare, ("a", 0.6, 0), ("b", 0.601, 1))
    assert near.method == "a" and "b needs more" in near.reason
    assert verdict(bare, ("a", 0.601, 1), ("b", 0.6, 0)).method == "b"
    assert verdict(bare, ("a", 0.6, 0), ("b", 0.601, 0)).method == "b"
    assert verdict(bare, ("a", 0.6, 0), ("b", 0.65, 3)).method == "b"
    unsure = verdict(bare, ("a", 0.7, 0), ("b", 0.72, 3), count=200)
    assert unsure.method == "b" and "within noise of the best: a" in unsure.reason
    assert verdict(bare, ("a", 0.505, 0), count=200).method is None
    assert verdict(bare, ("a", 0.4, 0)).method == "pretrained"
    assert verdict(bare, ("a", 0.5, 0), count=10_000).method == "pretrained"
    assert verdict(bare).method is None
    assert verdict(bare, ("a", 0.6, 0), error=math.nan).method == "a"


def test_the_verdict_says_how_far_behind_it_can_be() -> None:
    found = verdict(("pretrained", 0.5, 0), ("a", 0.6, 0), ("b", 0.605, 1))
    more = gain((torch.arange(1000) < 5).double(), 1.0, 3)  # b is right on 5 more
    assert found.method == "a" and found.at_most_behind == more.high > 0
    assert f"no other candidate is more than {100 * more.high:.1f} points better" in found.reason
    assert verdict(("pretrained", 0.1, 0), ("a", 0.9, 0)).at_most_behind == 0
    assert verdict(("pretrained", 0.5, 0), ("a", 0.505, 0), count=200).at_most_behind is None
    kept = verdict(("pretrained", 0.5, 0), ("a", 0.6, 0), error=0.0)
    assert kept.method == "pretrained" and kept.at_most_behind > 0.1


def test_the_bound_holds_for_the_method_that_the_samples_chose() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([0.2, 0.5, 0.52, 0.56])
    held = []
    for _ in range(300):
        draws = (torch.rand(60, 4, generator=generator) < truth).double()
        trials = [Trial(str(i), draws[:, i], (4, 0)) for i in range(4)]
        found = recommend(trials, 1.0, 1e-3, 0.01, lambda more: gain(more, 1.0, 3), percent=True)
        if found.method is not None and found.at_most_behind is not None:
            held.append(float(truth.max() - truth[int(found.method)]) <= found.at_most_behind)
    assert len(held) > 250 and sum(held) / len(held) > 0.95


def test_faces(tmp_path: Path) -> None:
    found = equitune.audit(Upright(), batches(120), ROT90, SAME)
    text, page, data = found.text(), found.markdown(), json.loads(found.json())
    assert f"Recommended: {found.recommended}" in text and "Code: Equivariant(" in text
    for row in found.rows:
        assert f"| {row.method}" in page and row.method in text
    assert data["recommended"] == found.recommended and "weightings" not in data
    assert data["at_most_behind"] == found.at_most_behind is not None
    assert all("no other candidate is more than" in face for face in (text, page))
    assert data["rows"][1]["gain"]["low"] == found.rows[1].gain.low
    assert len({line.count("|") for line in page.splitlines() if line.startswith("|")}) == 1
    found.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes()[:4] == b"\x89PNG"


def test_nothing_but_torch_is_imported_and_both_names_work() -> None:
    code = (
        "import sys, equitune, equitune.audit\n"
        "from equitune.audit import Row\n"
        "assert callable(equitune.audit), equitune.audit\n"
        "heavy = {'matplotlib', 'torchvision', 'timm', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty drawn images in folders of two classes."""
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("torchvision")
    place: Path = tmp_path_factory.mktemp("images")
    for number in range(50):
        name = ("tench", "great_white_shark")[number % 2]
        (place / name).mkdir(exist_ok=True)
        drawn = image.new("RGB", (40, 32), (5 * number, 90, 30))
        drawn.paste((255, 255, 255), (0, 0, 40, 5 + number % 7))
        drawn.save(place / name / f"{number}.png")
    return place


def command(folder: Path, *words: str) -> list[str]:
    given = ["--model", "torchvision:resnet18", "--weights", "none", "--size", "32"]
    return [*given, "--images", str(folder), "--group", "rot90", *words]


def test_the_command_line_on_drawn_images(folder: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"page{suffix}" for suffix in (".md", ".json", ".svg")]
    words = command(folder, *(word for file in files for word in ("--out", str(file))))
    words += ["--chunk", "1"]
    # As python -m does, with the short training of the tests here.
    code = (
        f"from equitune.audit import choices; choices.TRAINING = {choices.TRAINING}; import runpy; "
        "runpy.run_module('equitune.audit', run_name='__main__', alter_sys=True)"
    )
    run = [sys.executable, "-W", "error", "-c", code, *words]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.startswith(
        "Audit of torchvision:resnet18 (random weights) for Rot90 (cyclic(4))"
    )
    data = json.loads(files[1].read_text(encoding="utf-8"))
    assert data["metric"] == "accuracy" and data["passes"] == 200 and data["samples"] == [40, 50]
    assert all(file.stat().st_size for file in files)


@pytest.mark.parametrize("names", [("1", "0"), ("n01440764", "n01443537"), ("tench", "goldfish")])
def test_folders_name_classes(
    names: tuple[str, str], folder: Path, tmp_path: Path, capsys: Any
) -> None:
    if names[0].startswith("n0"):
        pytest.importorskip("timm")
    for name, files in zip(names, (folder / "tench", folder / "great_white_shark"), strict=True):
        (tmp_path / name).symlink_to(files)
    assert main(command(tmp_path)) == 0
    assert "Metric: accuracy" in capsys.readouterr().out


def test_weights_of_one_s_own_and_a_flat_folder(folder: Path, tmp_path: Path, capsys: Any) -> None:
    models = pytest.importorskip("torchvision.models")
    file = tmp_path / "two.pt"
    torch.save({"state_dict": models.resnet18(num_classes=2).state_dict()}, file)
    for images_, metric in ((folder, "accuracy"), (folder / "tench", "agreement")):
        assert main([*command(images_), "--weights", str(file)]) == 0
        assert f"Metric: {metric}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--group", "rot45"], "choose from"),
        (["--model", "hub:resnet18"], "choose torchvision:NAME or timm:NAME"),
        (["--model", "torchvision:resnet19"], "choose resnet18"),
        (["--weights", "none.pt"], "choose default, none or a file that exists"),
        (["--images", "/none"], "there is no such folder"),
        (["--out", "page.doc"], "choose a name that ends in .txt, .md, .json"),
        (["--batch", "0"], "must be a whole number above 0"),
        (["--chunk", "0"], "must be a whole number above 0"),
    ],
)
def test_one_line_refuses(words: list[str], message: str, folder: Path, capsys: Any) -> None:
    try:
        status: Any = main(command(folder, *words))
    except SystemExit as ended:
        status = ended.code
    error = capsys.readouterr().err
    assert status == 2 and message in error and error.count("\n") == 1


def test_weights_that_cannot_be_had(
    folder: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = pytest.importorskip("torchvision.models")
    whole, no_weights = tmp_path / "whole.pt", tmp_path / "list.pt"
    torch.save(models.resnet18(num_classes=2), whole)
    torch.save([1, 2], no_weights)

    def offline(*given: Any, **options: Any) -> None:
        raise OSError("<urlopen error>")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for weights, message in (
        (str(whole), "no file of weights; write torch.save(model.state_dict(), FILE)"),
        (str(no_weights), "no file of weights"),
        ("default", "give a file, or none for random ones: <urlopen error>"),
    ):
        capsys.readouterr()
        assert main([*command(folder), "--weights", weights]) == 2
        assert message in capsys.readouterr().err


def test_folders_and_files_that_are_nothing(folder: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "cats").mkdir()
    assert main(command(tmp_path)) == 2
    assert "no image" in capsys.readouterr().err
    for number in range(5):
        (tmp_path / "cats" / f"{number}.png").write_bytes(b"no image")
    assert main(command(tmp_path)) == 2
    assert "'cats' is no class of this network" in capsys.readouterr().err
    assert main(command(tmp_path / "cats")) == 2
    assert "cannot identify" in capsys.readouterr().err
    (tmp_path / "dogs").mkdir()
    assert main(command(tmp_path)) == 2
    assert "is in its folder 'dogs'; remove the folder, or add images" in capsys.readouterr().err


def test_images_that_no_decoder_reads_or_of_unknown_white(tmp_path: Path, capsys: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("torchvision")
    wide = image.new("I;16", (40, 32), 60000)
    for name, content in {"wide": wide, "bomb": image.new("1", (14000, 14000))}.items():
        (tmp_path / name).mkdir()
        for number in range(4):
            content.save(tmp_path / name / f"{number}.png")
    for name, message in {"wide": "more than 8 bits for a pixel", "bomb": "exceeds limit"}.items():
        assert main(command(tmp_path / name)) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and str(tmp_path / name) in error


def test_folders_of_indices_are_told_where_they_are_not_sorted_as_text(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.save(models.resnet18(num_classes=11).state_dict(), tmp_path / "eleven.pt")
    for place in range(11):
        (tmp_path / "images" / str(place)).mkdir(parents=True)
        (tmp_path / "images" / str(place) / "0.png").symlink_to(folder / "tench" / "0.png")
    words = [*command(tmp_path / "images"), "--weights", str(tmp_path / "eleven.pt")]
    assert main(words) == 0
    assert "Folders are indices of classes: 10 is class 10." in capsys.readouterr().out
