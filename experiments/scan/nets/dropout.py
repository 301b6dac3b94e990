"""Dropout masks as a pure function of (seed, iteration, step, unit).

No generator state exists, so training resumes from parameters, Adam moments and the iteration
number alone, and the PyTorch and the compiled trainer see the same masks. The hash is a 64-bit
counter passed through the finaliser of SplitMix64, once per coordinate.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt64

GOLDEN = 0x9E3779B97F4A7C15
MULTIPLY_1 = 0xBF58476D1CE4E5B9
MULTIPLY_2 = 0x94D049BB133111EB
UNIFORM_BITS = 53


def threshold(rate: float) -> int:
    """Return the integer below which a hash, cut to its 53 highest bits, means "dropped".

    Args:
        rate: Probability of dropping a unit, in [0, 1).

    Returns:
        `rate` times 2^53, rounded.

    Raises:
        ValueError: If `rate` is outside [0, 1).
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"dropout rate {rate} is not in [0, 1)")
    return round(rate * float(2**UNIFORM_BITS))


def mix(counter: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Scramble 64-bit counters (bijective, so distinct counters stay distinct).

    Args:
        counter: Unsigned 64-bit integers, any shape of at least one dimension.

    Returns:
        The scrambled integers, same shape.
    """
    counter = counter + np.uint64(GOLDEN)
    counter = (counter ^ (counter >> np.uint64(30))) * np.uint64(MULTIPLY_1)
    counter = (counter ^ (counter >> np.uint64(27))) * np.uint64(MULTIPLY_2)
    mixed: np.ndarray = counter ^ (counter >> np.uint64(31))
    return mixed


def dropout_mask(
    seed: int, iteration: int, steps: int, units: int, rate: float
) -> Float[np.ndarray, "steps units"]:
    """Return the masks of one training iteration.

    Args:
        seed: Non-negative seed of the run.
        iteration: Training iteration, from 0.
        steps: Decoder steps to make masks for.
        units: Width of the masked vector.
        rate: Probability of dropping a unit, in [0, 1).

    Returns:
        Factors, 0 with probability `rate` and 1 / (1 - rate) otherwise, `[steps, units]`,
        float64. A mask does not depend on the numbers of steps and units.
    """
    key = mix(mix(np.array([seed], dtype=np.uint64)) + np.uint64(iteration))
    rows = mix(key + np.arange(steps, dtype=np.uint64))
    hashes = mix(rows[:, None] + np.arange(units, dtype=np.uint64))
    kept = (hashes >> np.uint64(64 - UNIFORM_BITS)) >= np.uint64(threshold(rate))
    mask: np.ndarray = np.where(kept, 1.0 / (1.0 - rate), 0.0)
    return mask
