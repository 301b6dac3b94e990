"""The parameters of a network in one vector, encoder first, then decoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


def pack(
    model: nn.Module, tensors: dict[str, Tensor], turn: Callable[[str, Tensor], Tensor]
) -> np.ndarray:
    """Copy named tensors into one vector.

    Args:
        model: Network that defines names, shapes and order.
        tensors: One tensor per parameter name of `model`.
        turn: `turn(name, tensor)` returns the tensor in the layout's form.

    Raises:
        KeyError: If a parameter is missing from `tensors`.
        ValueError: If a tensor and the parameter of its name differ in shape.
    """
    parts = []
    for name, parameter in model.named_parameters():
        tensor = tensors[name].detach().to(parameter.dtype)
        if tensor.shape != parameter.shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}, not {tuple(parameter.shape)}")
        parts.append(turn(name, tensor))
    return np.concatenate([part.contiguous().cpu().numpy().ravel() for part in parts])


def pieces(model: nn.Module, flat: np.ndarray) -> dict[str, np.ndarray]:
    """Return each parameter's part of a vector, one-dimensional; nothing is copied."""
    found, start = {}, 0
    for name, parameter in model.named_parameters():
        found[name] = flat[start : start + parameter.numel()]
        start += parameter.numel()
    return found


def unpack(
    model: nn.Module, flat: np.ndarray, turn_back: Callable[[str, Tensor, torch.Size], Tensor]
) -> dict[str, Tensor]:
    """Invert `pack`; the tensors own their memory.

    Args:
        model: Network that defines names, shapes and order.
        flat: The vector.
        turn_back: `turn_back(name, part, shape)` returns a one-dimensional part in the
            parameter's original layout.
    """
    parts = pieces(model, flat)
    return {
        name: turn_back(name, torch.from_numpy(parts[name].copy()), parameter.shape).contiguous()
        for name, parameter in model.named_parameters()
    }
