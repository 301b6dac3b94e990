"""Seeds of generators, one per purpose, far from each other."""

from __future__ import annotations

import numpy as np


def derive(seed: int, purpose: int, epoch: int = 0) -> int:
    """Return the seed of a generator.

    Args:
        seed: The run's seed.
        purpose: Number of its purpose; each task numbers its purposes.
        epoch: Number of the epoch.
    """
    state = np.random.SeedSequence([seed, purpose, epoch]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
