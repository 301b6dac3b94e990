"""Objects that are built, moved and loaded under other default devices keep their tables."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import equitune
from equitune import Action, FiniteGroup

S3 = equitune.symmetric(3)
assert S3.permutations is not None
PERMUTATIONS = S3.permutations
PARITY = torch.tensor([[1, 1, 1], [1, -1, -1], [1, -1, -1], [1, 1, 1], [1, 1, 1], [1, -1, -1]])
MATRICES = torch.eye(3, dtype=torch.float64)[PERMUTATIONS].transpose(1, 2)

ACTIONS: dict[str, Callable[[], Action]] = {
    "signs": lambda: equitune.Signs(S3, PARITY),
    "linear": lambda: equitune.Linear(S3, MATRICES),
    "rank 2": lambda: equitune.Rank2(S3, MATRICES),
    "permute": lambda: equitune.PermuteAxis(S3, PERMUTATIONS),
    "relabel": lambda: equitune.Relabel(S3, PERMUTATIONS),
}
X = torch.randint(3, (2, 5, 3), generator=torch.Generator().manual_seed(1))


def orbit(action: Action) -> Tensor:
    if isinstance(action, equitune.Relabel):
        return action.orbit(X)
    x = X[:, :3] if isinstance(action, equitune.Rank2) else X
    return action.orbit(x.double() + 0.5)


@pytest.mark.parametrize("name", ACTIONS)
def test_tables_survive_the_device_without_memory_and_other_precisions(name: str) -> None:
    expected = orbit(ACTIONS[name]())
    moved = nn.Sequential(ACTIONS[name]())
    state = moved.state_dict()
    moved.to("meta").to_empty(device="cpu").load_state_dict(state, strict=True)
    with torch.device("meta"):
        built = nn.Sequential(ACTIONS[name]())
    built.to_empty(device="cpu")
    for module in (moved, built, moved.half(), copy.deepcopy(moved)):
        action = module[0]
        assert isinstance(action, Action)
        assert torch.equal(orbit(action), expected)
        assert all(buffer.device.type == "cpu" for buffer in action.buffers())


def test_frozen_features_keep_their_weights_which_are_in_no_state_dict() -> None:
    features = nn.Linear(3, 4)
    net, action = nn.Linear(3, 3), equitune.PermuteAxis(S3, PERMUTATIONS)
    learned = equitune.Learned(equitune.LambdaNet(4), features)
    model = equitune.Equivariant(net, action, action, learned)
    x = torch.randn(2, 3)
    expected, state = model(x), {k: v.clone() for k, v in model.state_dict().items()}
    model.to("meta").to_empty(device="cpu").load_state_dict(state, strict=True)
    torch.testing.assert_close(model(x), expected)
    assert model.double().weighting.features.weight.dtype == torch.float64
    torch.testing.assert_close(model(x.double()).float(), expected)


GROUPS: dict[str, Callable[[], FiniteGroup]] = {
    "cyclic": lambda: equitune.cyclic(4),
    "dihedral": lambda: equitune.dihedral(3),
    "symmetric": lambda: equitune.symmetric(3),
    "product": lambda: equitune.product(equitune.cyclic(2), equitune.cyclic(3)),
    "table": lambda: FiniteGroup([[0, 1], [1, 0]]),
    "permutations": lambda: equitune.permutation_group([[1, 2, 0]]),
    "matrices": lambda: equitune.icosahedral(reflections=True),
    "rotations": lambda: equitune.rotations(5, (1.0, 1.0, 0.0)),
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups_are_built_on_the_cpu(name: str) -> None:
    expected = GROUPS[name]()
    with torch.device("meta"):
        group = GROUPS[name]()
    assert group == expected
    assert torch.equal(group.inverses, expected.inverses)
    for values in (group.permutations, group.matrices):
        assert values is None or values.device.type == "cpu"


def test_image_actions_and_cycles_are_built_under_any_default_device() -> None:
    x = torch.randn(2, 3, 4, 4)
    kinds = (equitune.Rot90, equitune.Rot180, equitune.Mirror, equitune.DihedralImage)
    with torch.device("meta"):
        actions = [kind() for kind in kinds]
        cycles = equitune.cycle_permutations(5, [(0, 1, 2)])
    for action, kind in zip(actions, kinds, strict=True):
        assert torch.equal(action.orbit(x), kind().orbit(x))
    assert torch.equal(cycles, equitune.cycle_permutations(5, [(0, 1, 2)]))


def test_tables_without_values_are_refused_with_the_way_out() -> None:
    for make, table in (
        (equitune.Signs, PARITY),
        (equitune.Linear, MATRICES),
        (equitune.Rank2, MATRICES),
        (equitune.PermuteAxis, PERMUTATIONS),
        (equitune.Relabel, PERMUTATIONS),
    ):
        with pytest.raises(ValueError, match=r'must hold values, .* give device="cpu"'):
            make(S3, table.to("meta"))
    with pytest.raises(ValueError, match='must hold values: give device="cpu"'):
        FiniteGroup(S3.table.to("meta"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("name", ACTIONS)
def test_under_a_default_device_tables_are_there(name: str) -> None:
    with torch.device("cuda"):
        action = ACTIONS[name]()
    assert all(buffer.device.type == "cuda" for buffer in action.buffers())


def test_a_model_of_transformers_that_contains_one_is_saved_and_loaded(tmp_path: Path) -> None:
    """transformers builds a model on the device "meta" before it loads the weights."""
    from transformers import PretrainedConfig, PreTrainedModel

    class TurnedConfig(PretrainedConfig):  # type: ignore[misc]
        model_type = "turned"

    class Turned(PreTrainedModel):  # type: ignore[misc]
        config_class = TurnedConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
            turns = equitune.Rot90()
            swap = equitune.cyclic(4)
            signs = torch.tensor([[1, 1], [1, -1], [1, 1], [1, -1]], device="cpu")
            self.images = equitune.Equivariant(net, turns, equitune.Signs(swap, signs))
            places = equitune.cycle_permutations(4, [(0, 1), (2, 3)])
            both = equitune.PermuteAxis(equitune.cyclic(2), places)
            learned = equitune.Learned(equitune.LambdaNet(4))
            self.states = equitune.Equivariant(nn.Linear(4, 4), both, both, learned)
            self.post_init()

        def forward(self, images: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
            return self.images(images), self.states(states)

    made = Turned(TurnedConfig()).eval()
    made.save_pretrained(tmp_path)
    loaded = Turned.from_pretrained(tmp_path).eval()
    given = torch.randn(2, 3, 4, 4), torch.randn(2, 4)
    for one, other in zip(made(*given), loaded(*given), strict=True):
        assert torch.equal(one, other)
