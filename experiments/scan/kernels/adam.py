"""Clipping and Adam on parameters in one vector, compiled."""

from __future__ import annotations

import math

import numpy as np

from experiments.scan.kernels.numerics import jit


@jit
def norm(x: np.ndarray) -> float:
    """Return the Euclidean norm."""
    total = x[0] - x[0]
    for i in range(x.shape[0]):
        total += x[i] * x[i]
    return math.sqrt(total)


@jit
def adam(
    x: np.ndarray,
    gradient: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    coefficients: np.ndarray,
) -> None:
    """One Adam step in place, as in `torch.optim.Adam`.

    Args:
        x: Parameters.
        gradient: Their gradient.
        first: First moment.
        second: Second moment.
        coefficients: Gradient factor (clipping), weight decay, 1 - beta1, 1 - beta2,
            learning rate / bias correction 1, sqrt(1 / bias correction 2), eps.
    """
    factor, decay, rate_1, rate_2 = (
        coefficients[0],
        coefficients[1],
        coefficients[2],
        coefficients[3],
    )
    step, root, eps = coefficients[4], coefficients[5], coefficients[6]
    for i in range(x.shape[0]):
        g = gradient[i] * factor + decay * x[i]
        m = first[i] + rate_1 * (g - first[i])
        v = second[i] + rate_2 * (g * g - second[i])
        first[i] = m
        second[i] = v
        x[i] -= step * m / (np.sqrt(v) * root + eps)


@jit
def update(
    flat: tuple[np.ndarray, ...],
    split: int,
    iteration: int,
    hyper: tuple[float, ...],
    repeats: int,
) -> None:
    """Clip the gradient and do the Adam steps of one iteration, per half of the network.

    Args:
        flat: Parameters, gradient, first and second moment; changed in place.
        split: Start of the second half (the decoder); each half is scaled to at most the norm
            `clip`, as in `clip_grad_norm_`.
        iteration: Number of iterations before this one.
        hyper: Learning rate, weight decay, clip, beta1, beta2, eps.
        repeats: Number of Adam steps of the first half with the same gradient and moments, as the
            authors' equizero lists these parameters more than once. It gives the second half to
            as many optimisers, whose moments are equal up to the weight decay of one step, so it
            takes one step of `repeats` times the length.
    """
    lr, decay, clip, beta_1, beta_2, eps = hyper
    x, gradient, first, second = flat
    coefficients = np.zeros(7, x.dtype)
    coefficients[1], coefficients[2], coefficients[3] = decay, 1 - beta_1, 1 - beta_2
    coefficients[6] = eps
    for low, high, steps in ((0, split, repeats), (split, x.shape[0], 1)):
        coefficients[0] = min(1.0, clip / (norm(gradient[low:high]) + 1e-6))
        for repeat in range(steps):
            count = iteration * steps + repeat + 1
            coefficients[4] = lr * (repeats // steps) / (1 - beta_1**count)
            coefficients[5] = 1 / math.sqrt(1 - beta_2**count)
            adam(x[low:high], gradient[low:high], first[low:high], second[low:high], coefficients)
