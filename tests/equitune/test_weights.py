"""The lambda network: its layers, its positivity, its errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from equitune.weights import EXP_LIMIT, FLOOR, LambdaNet


def kinds(net: LambdaNet) -> list[str]:
    return [type(layer).__name__ for layer in net.layers]


def test_the_papers_network_is_the_default() -> None:
    net = LambdaNet(512)
    assert kinds(net) == ["Linear", "ReLU", "Linear"]
    assert sum(p.numel() for p in net.parameters()) == 512 * 100 + 100 + 100 + 1


def test_the_authors_network_can_be_built() -> None:
    net = LambdaNet(512, depth=3, relus=1, dropout=0.5, positive="none")
    assert kinds(net) == ["Linear", "ReLU", "Dropout", "Linear", "Dropout", "Linear"]
    assert net.layers[2].p == 0.5
    first, second, last = (layer for layer in net.layers if isinstance(layer, nn.Linear))
    assert (first.out_features, second.out_features, last.out_features) == (100, 100, 1)
    x = torch.randn(4, 512)
    expected = last(second(first(x).relu())).squeeze(-1)
    torch.testing.assert_close(net.eval()(x), expected)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_depth_counts_linear_layers(depth: int) -> None:
    names = kinds(LambdaNet(3, depth=depth))
    assert names.count("Linear") == depth
    assert names.count("ReLU") == depth - 1


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3), (0, 3)])
def test_one_weight_per_feature_vector(shape: tuple[int, ...]) -> None:
    assert LambdaNet(3)(torch.zeros(shape)).shape == shape[:-1]


@pytest.mark.parametrize("positive", ["softplus", "exp"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("raw", [-1e4, 0.0, 1e4])
def test_weights_are_positive_and_finite(positive: Any, dtype: torch.dtype, raw: float) -> None:
    net = LambdaNet(1, depth=1, positive=positive)
    net.layers[0].weight.data.fill_(raw)
    net.layers[0].bias.data.zero_()
    weight = net.to(dtype)(torch.ones(2, 1, dtype=dtype))
    assert weight.dtype == torch.float32
    assert (weight > 0).all()
    assert torch.isfinite(weight.sum() * 1000)


def test_exp_is_a_softmax_over_the_group() -> None:
    net = LambdaNet(4, positive="exp")
    raw = net.layers(torch.ones(3, 4)).squeeze(-1)
    assert (raw < EXP_LIMIT).all()
    weight = net(torch.ones(3, 4))
    torch.testing.assert_close(weight, raw.exp() + FLOOR)
    torch.testing.assert_close(weight / weight.sum(), raw.softmax(0))


def test_weights_stay_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert LambdaNet(3)(torch.zeros(2, 3)).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "in_features=0 must be at least 1"),
        ({"hidden": 0}, "hidden=0 must be at least 1"),
        ({"depth": 0}, "depth=0 must be at least 1"),
        ({"dropout": 1.0}, r"dropout=1.0 must lie in \[0, 1\)"),
        ({"positive": "relu"}, "'relu' is unknown: choose softplus, exp or none"),
        ({"relus": 2}, "relus=2 must lie in 0..1 for depth=2"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_options_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LambdaNet(**{"in_features": 3, **arguments})


@pytest.mark.usefixtures("unchecked")
def test_wrong_features_are_named() -> None:
    net = LambdaNet(3)
    with pytest.raises(TypeError, match=r"floating point features, got torch\.int64"):
        net(torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"features \[..., 3\], got shape \(2, 4\)"):
        net(torch.zeros(2, 4))


def test_half_precision_features_and_autocast_do_not_round_the_weights() -> None:
    net = LambdaNet(4)
    features = torch.randn(8, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(net(features), net(features).float())
    torch.testing.assert_close(net(features.half()), net(features.half().float()))
