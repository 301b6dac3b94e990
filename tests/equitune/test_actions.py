"""Actions: each follows its definition, is a left action, and refuses what it cannot act on."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from equitune.actions import (
    Action,
    DihedralImage,
    Invariant,
    Linear,
    Mirror,
    PermuteAxis,
    Rank2,
    Relabel,
    Rot90,
    Rot180,
    Signs,
    cycle_permutations,
)
from equitune.groups import cyclic, dihedral, product, symmetric, trivial
from equitune.matrix_groups import octahedral, rotations

S3 = symmetric(3)
PERMS = S3.permutations
assert PERMS is not None


def matrices() -> Tensor:
    """A representation of S3 that is not orthogonal: permutation matrices in a skewed basis."""
    assert PERMS is not None
    generator = torch.Generator().manual_seed(0)
    basis = torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(
        3, 3, generator=generator, dtype=torch.float64
    )
    moves = torch.eye(3, dtype=torch.float64)[PERMS].transpose(1, 2)
    return basis @ moves @ torch.linalg.inv(basis)


def floats(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def ints(*shape: int) -> Tensor:
    return torch.randint(3, shape, generator=torch.Generator().manual_seed(1))


PARITY = torch.tensor([[1, 1], [1, -1], [1, -1], [1, 1], [1, 1], [1, -1]])

CASES: list[tuple[str, Callable[[], Action], Tensor]] = [
    ("rot90", Rot90, floats(2, 3, 4, 4)),
    ("rot90 channels last", lambda: Rot90(dims=(-3, -2)), floats(2, 4, 4, 3)),
    ("rot180", Rot180, floats(2, 3, 5)),
    ("mirror", Mirror, floats(2, 3, 5)),
    ("mirror rows", lambda: Mirror(dim=-2), floats(2, 3, 5)),
    ("dihedral image", DihedralImage, floats(2, 3, 3)),
    ("permute", lambda: PermuteAxis(S3, PERMS), floats(2, 4, 3)),
    ("permute dim -2", lambda: PermuteAxis(S3, PERMS, dim=-2), floats(2, 4, 3, 5)),
    ("permute ints", lambda: PermuteAxis(S3, PERMS), ints(2, 3)),
    ("relabel", lambda: Relabel(S3, PERMS), ints(2, 7)),
    ("relabel flat", lambda: Relabel(S3, PERMS), ints(5).to(torch.int32)),
    ("signs", lambda: Signs(S3, PARITY), floats(3, 4, 2)),
    ("signs dim -2", lambda: Signs(S3, PARITY, dim=-2), floats(3, 2, 4)),
    ("linear", lambda: Linear(S3, matrices()), floats(2, 4, 3)),
    ("linear dim -2", lambda: Linear(S3, matrices(), dim=-2), floats(2, 3, 4)),
    ("linear of the group", lambda: Linear(rotations(5, (1.0, 2.0, 2.0))), floats(2, 4, 3)),
    ("rank 2", lambda: Rank2(S3, matrices()), floats(2, 4, 3, 3)),
    ("rank 2 of the group", lambda: Rank2(rotations(4)), floats(2, 2, 2)),
    ("invariant", lambda: Invariant(S3), floats(2, 3)),
]
NAMES = [name for name, _, _ in CASES]


def same(actual: Tensor, expected: Tensor) -> bool:
    """Bit for bit for moves and signs, to rounding for matrices."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return False
    return torch.equal(actual, expected) or bool(
        actual.is_floating_point() and (actual - expected).abs().max() < 1e-12
    )


@pytest.mark.parametrize(("name", "make", "x"), CASES, ids=NAMES)
def test_left_action(name: str, make: Callable[[], Action], x: Tensor) -> None:
    action = make()
    group = action.group
    assert same(action.act(group.identity, x), x)
    for g, h in itertools.product(group.elements, repeat=2):
        assert same(action.act(g, action.act(h, x)), action.act(group.multiply(g, h), x))


@pytest.mark.parametrize(("name", "make", "x"), CASES, ids=NAMES)
def test_orbit_and_undo_follow_act(name: str, make: Callable[[], Action], x: Tensor) -> None:
    action = make()
    group = action.group
    orbit = action.orbit(x)
    assert same(orbit, torch.stack([action.act(g, x) for g in group.elements]))
    assert same(action.undo(orbit), torch.stack([x] * group.order))
    # Different content in every view, which undo of an orbit would not notice.
    views = torch.stack([x.roll(g, 0) for g in group.elements])
    undone = [action.act(group.inverse(g), views[g]) for g in group.elements]
    assert same(action.undo(views), torch.stack(undone))


@pytest.mark.parametrize(("name", "make", "x"), CASES, ids=NAMES)
def test_no_action_enters_a_state_dict(name: str, make: Callable[[], Action], x: Tensor) -> None:
    action = make()
    assert dict(action.state_dict()) == {}
    assert list(action.parameters()) == []
    assert all(buffer.device.type == "meta" for buffer in make().to("meta").buffers())


@pytest.mark.parametrize(
    ("name", "make", "x"),
    [case for case in CASES if case[2].is_floating_point()],
    ids=[name for name, _, x in CASES if x.is_floating_point()],
)
def test_gradients(name: str, make: Callable[[], Action], x: Tensor) -> None:
    action = make()
    small = x.clone().requires_grad_()
    assert torch.autograd.gradcheck(action.orbit, (small,), fast_mode=True)
    views = action.orbit(x).clone().requires_grad_()
    assert torch.autograd.gradcheck(action.undo, (views,), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    "action", [Signs(S3, PARITY[:, [0, 1, 1]]), Linear(S3, matrices()), PermuteAxis(S3, PERMS)]
)
def test_float_tables_follow_the_input(action: Action, dtype: torch.dtype) -> None:
    orbit = action.orbit(floats(2, 3).to(dtype))
    assert orbit.dtype == dtype
    assert action.undo(orbit).dtype == dtype


def test_linear_is_exact_under_autocast() -> None:
    action, x = Linear(S3, matrices()), floats(4, 3).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = action.orbit(x)
    assert torch.equal(inside, action.orbit(x))


def test_permute_axis_definition() -> None:
    assert PERMS is not None
    action, y = PermuteAxis(S3, PERMS), floats(2, 3)
    for g in S3.elements:
        moved = action.act(g, y)
        for i in range(3):
            assert torch.equal(moved[:, PERMS[g, i]], y[:, i])


def test_relabel_definition_matches_permute_axis_on_one_hot() -> None:
    assert PERMS is not None
    labels = torch.tensor([[0, 1, 2]])
    one_hot = torch.eye(3)[labels]
    relabel, permute = Relabel(S3, PERMS), PermuteAxis(S3, PERMS)
    for g in S3.elements:
        assert relabel.act(g, labels)[0].tolist() == PERMS[g].tolist()
        assert torch.equal(torch.eye(3)[relabel.act(g, labels)], permute.act(g, one_hot))


def test_relabel_keeps_the_dtype() -> None:
    assert PERMS is not None
    action = Relabel(S3, PERMS)
    labels = torch.tensor([[0, 2]], dtype=torch.uint8)
    assert action.orbit(labels).dtype == torch.uint8
    assert action.undo(action.orbit(labels)).dtype == torch.uint8


def test_rot90_is_counter_clockwise() -> None:
    image = torch.tensor([[[1, 2], [3, 4]]])
    assert Rot90().act(1, image).tolist() == [[[2, 4], [1, 3]]]
    assert Rot180().act(1, image).tolist() == [[[4, 3], [2, 1]]]


def test_dihedral_mirrors_first() -> None:
    image = torch.tensor([[[1, 2], [3, 4]]])
    action = DihedralImage()
    assert action.group == dihedral(4)
    assert action.act(4, image).tolist() == [[[2, 1], [4, 3]]]
    assert action.act(5, image).tolist() == [[[1, 3], [2, 4]]]
    assert len({str(action.act(g, image).tolist()) for g in action.group.elements}) == 8


def test_signs_and_linear_definitions() -> None:
    x = floats(2, 2)
    action = Signs(S3, PARITY)
    assert torch.equal(action.act(1, x), torch.stack([x[:, 0], -x[:, 1]], dim=1))
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    quarter = Linear(cyclic(4), torch.stack([torch.linalg.matrix_power(turn, k) for k in range(4)]))
    assert torch.equal(quarter.act(1, x), torch.stack([-x[:, 1], x[:, 0]], dim=1))


def test_rank_two_is_the_matrix_on_both_sides() -> None:
    group = octahedral()
    assert group.matrices is not None
    x = floats(4, 5, 3, 3)
    action = Rank2(group)
    for g, r in enumerate(group.matrices):
        assert (action.act(g, x) - r @ x @ r.T).abs().max() < 1e-14
    symmetric_ = x + x.mT
    moved = action.orbit(symmetric_)
    assert torch.equal(moved, moved.mT)
    skewed = Rank2(S3, matrices())
    r = matrices()[3]
    assert (skewed.act(3, x) - r @ x @ r.T).abs().max() < 1e-12


def test_invariant_orbit_shares_memory() -> None:
    x = floats(2, 3)
    orbit = Invariant(S3).orbit(x)
    assert orbit.shape == (6, 2, 3)
    assert orbit.stride(0) == 0
    assert orbit.data_ptr() == x.data_ptr()
    views = floats(6, 2, 3)
    assert Invariant(S3).undo(views) is views


def test_cycle_permutations() -> None:
    table = cycle_permutations(6, [[4, 1, 0], [2, 3, 5]])
    assert table.tolist() == [[0, 1, 2, 3, 4, 5], [4, 0, 3, 5, 1, 2], [1, 4, 5, 2, 0, 3]]
    Relabel(cyclic(3), table)
    assert cycle_permutations(4, [(1, 3)]).tolist() == [[0, 1, 2, 3], [0, 3, 2, 1]]


SWAP = torch.tensor([[0, 1], [1, 0]])
SQUARE, WIDE = torch.zeros(1, 3, 3), torch.zeros(1, 3, 4)
BAD_S3 = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 1, 0], [2, 0, 1]])
TRIVIAL_PROJECTION = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: Rot90().orbit(WIDE), ValueError, r"square image, got 3 x 4 in shape \(1, 3, 4\)"),
        (lambda: DihedralImage().act(4, WIDE), ValueError, "quarter turn needs a square image"),
        (lambda: Rot90(dims=(2, 3)), ValueError, "dim=2 must be negative"),
        (lambda: Rot180(dims=(-1, -1)), ValueError, r"dims=\(-1, -1\) must name two different"),
        (lambda: Rot180().act(1, torch.zeros(3, 3)), ValueError, r"do not exist in shape \(3, 3\)"),
        (lambda: Mirror(dim=1), ValueError, "dim=1 must be negative"),
        (lambda: Mirror().act(1, torch.zeros(3)), ValueError, r"does not exist in shape \(3,\)"),
        (lambda: Mirror().act(2, SQUARE), ValueError, r"element 2 is not in cyclic\(2\)"),
        (lambda: Rot90().undo(torch.zeros(3, 1, 2, 2)), ValueError, r"undo expects \[4, batch"),
        (lambda: Invariant(S3).undo(torch.zeros(6)), ValueError, r"undo expects \[6, batch"),
        (
            lambda: PermuteAxis(cyclic(2), SWAP).act(0, WIDE),
            ValueError,
            r"expects size 2 along dim -1, got 4 in shape \(1, 3, 4\)",
        ),
        (lambda: PermuteAxis(cyclic(2), SWAP).orbit(torch.zeros(2)), ValueError, "does not have"),
        (lambda: PermuteAxis(cyclic(2), SWAP, dim=0), ValueError, "dim=0 must be negative"),
        (lambda: PermuteAxis(cyclic(2), SWAP.float()), TypeError, "integers, got torch.float32"),
        (lambda: PermuteAxis(cyclic(3), SWAP), ValueError, r"shape \[3, n\] for cyclic\(3\)"),
        (
            lambda: Relabel(cyclic(2), torch.tensor([[0, 1], [1, 1]])),
            ValueError,
            "row 1 is not a permutation of 0..1",
        ),
        (
            lambda: Relabel(cyclic(2), SWAP.flip(0)),
            ValueError,
            "not a homomorphism of cyclic.*g=0 after h=0 differs from gh=0",
        ),
        (lambda: PermuteAxis(S3, BAD_S3), ValueError, r"g=\d after h=\d differs from gh=\d"),
        (lambda: Relabel(cyclic(2), SWAP).act(0, WIDE), TypeError, "integers, got torch.float32"),
        (lambda: Relabel(cyclic(2), SWAP).orbit(WIDE), TypeError, "acts on integers"),
        (lambda: Signs(cyclic(2), SWAP), ValueError, r"must be \+1 or -1, got 0"),
        (
            lambda: Signs(cyclic(3), torch.tensor([[1], [-1], [1]])),
            ValueError,
            "g=1 after h=1 differs from gh=2|g=1 after h=2 differs from gh=0",
        ),
        (lambda: Signs(trivial(), torch.ones(1, 2)).orbit(WIDE), ValueError, "size 2 along dim -1"),
        (lambda: Linear(trivial(), torch.ones(1, 2, 3)), ValueError, "must be square"),
        (lambda: Linear(trivial(), SWAP[None]), TypeError, "floating point, got torch.int64"),
        (lambda: Linear(trivial(), torch.eye(2)), ValueError, r"shape \[1, n, n\]"),
        (lambda: Linear(trivial(), TRIVIAL_PROJECTION), ValueError, "is not the unit"),
        (
            lambda: Linear(cyclic(2), torch.stack([torch.eye(2), 1.001 * torch.eye(2)])),
            ValueError,
            "not a homomorphism of cyclic.*g=1 after h=1",
        ),
        (lambda: Linear(S3), ValueError, r"not built from matrices: give one for each of its 6"),
        (lambda: Rank2(S3), ValueError, "not built from matrices"),
        (lambda: Rank2(rotations(3)).orbit(WIDE), ValueError, "size 2 along dim -2, got 3"),
        (lambda: Rank2(rotations(3)).act(0, torch.zeros(2, 2)), ValueError, "does not have"),
        (lambda: Rank2(rotations(3)).undo(WIDE), ValueError, r"undo expects \[3, batch"),
        (
            lambda: Linear(trivial(), torch.eye(4)[None]).orbit(WIDE.long()),
            TypeError,
            "floating point tensors, got torch.int64",
        ),
        (lambda: cycle_permutations(3, []), ValueError, "at least one cycle"),
        (lambda: cycle_permutations(3, [[0, 1], [2]]), ValueError, r"\[2\] has length 1"),
        (lambda: cycle_permutations(3, [[0, 3]]), ValueError, r"label 3 in cycle \[0, 3\]"),
        (lambda: cycle_permutations(3, [[0, 1], [1, 2]]), ValueError, "label 1 occurs twice"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_errors_name_the_value(
    call: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_homomorphism_check_spares_right_tables() -> None:
    group = product(cyclic(3), dihedral(3))
    # The regular representation: an element moves to its product.
    PermuteAxis(group, group.table)
    if torch.equal(group.table, group.table.T):
        pytest.fail("the example must not commute, or the next line proves nothing")
    with pytest.raises(ValueError, match="not a homomorphism"):
        PermuteAxis(group, group.table.T.contiguous())


def test_linear_tolerates_rounding_of_float32() -> None:
    Linear(S3, matrices().float())


def test_signs_refuse_numbers_without_a_sign(unchecked: None) -> None:
    action = Signs(cyclic(2), torch.tensor([[1, 1], [-1, -1]]))
    for dtype in (torch.uint8, torch.bool):
        with pytest.raises(TypeError, match="can be negative"):
            action.orbit(torch.ones(3, 2, dtype=dtype))


def test_relabel_refuses_negative_labels() -> None:
    action = Relabel(cyclic(3), torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]]))
    for call in (action.orbit, lambda x: action.act(1, x)):
        with pytest.raises((IndexError, RuntimeError)):
            call(torch.tensor([-1]))


def test_linear_keeps_its_precision_through_changes_of_dtype() -> None:
    angle = torch.tensor(2 * torch.pi / 3, dtype=torch.float64)
    turn = torch.stack(
        (torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos())))
    )
    powers = torch.stack([torch.linalg.matrix_power(turn, k) for k in range(3)])
    action = Linear(cyclic(3), powers).bfloat16().double()
    assert torch.equal(action.matrices, powers)
    assert action.float().state_dict() == {}


@pytest.mark.parametrize("cycles", [[[3, 7], [5, 1]], [[i, i + 6] for i in range(6)]])
@pytest.mark.parametrize("dim", [-1, -2])
def test_permute_axis_reads_few_or_all_columns_alike(cycles: list[list[int]], dim: int) -> None:
    table = cycle_permutations(12, cycles)
    action = PermuteAxis(cyclic(2), table, dim)
    views = torch.randn(2, 3, 12, 12)
    expected = torch.stack([views[g].index_select(dim, table[g]) for g in range(2)])
    assert torch.equal(action.undo(views), expected)
    again = action.undo(action.orbit(views[0]))
    assert torch.equal(again, views[:1].expand_as(again))
