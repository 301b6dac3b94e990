"""Episodes of a policy in parallel: by a simulator, or by copies of a gymnasium environment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

from experiments.dqn.envs.simulator import Simulator

#: Maps observations [n, ...] to actions [n].
Policy = Callable[[NDArray[np.float32]], NDArray[np.int64]]


class Policies(ABC):
    """Several policies that can be evaluated together."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of policies."""

    @abstractmethod
    def together(self, which: Sequence[int] | NDArray[np.int64]) -> Policy:
        """Return K policies as one: row i of n K observations is for policy i % K."""


class Episodes(NamedTuple):
    """The results of a policy's episodes.

    Attributes:
        returns: Undiscounted return of each episode, [n].
        lengths: Number of steps of each episode, [n].
        observations: A subset of the observations of all steps.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    observations: NDArray[np.float32]


#: Differs from the seed itself, which gymnasium uses for the starts of training episodes.
_STREAM = 30
#: Largest number of returned observations.
OBSERVATIONS = 1000


def play(simulator: Simulator, policies: Policies, episodes: int, seed: int) -> list[Episodes]:
    """Play the same episodes with several policies, in parallel.

    The initial states, and the random outcome at step t of episode i, depend only on the seed: two
    policies with the same seed can be compared per episode, in one call or in two.

    Args:
        simulator: The environment's dynamics.
        policies: The policies.
        episodes: Number of episodes per policy.
        seed: Seed of the initial states and random outcomes.

    Returns:
        The episodes of each policy.
    """
    rng = np.random.default_rng([seed, _STREAM])
    count = len(policies)
    states = np.repeat(simulator.reset(episodes, rng)[:, None], count, axis=1)
    returns, lengths = np.zeros((episodes, count)), np.zeros((episodes, count), np.int64)
    # Rows and columns still in play: an episode until all policies have ended it, a policy until
    # it has ended all episodes. Ended entries are not changed.
    rows, columns = np.arange(episodes), np.arange(count)
    going = np.ones((episodes, count), bool)
    policy = policies.together(columns)
    met: list[list[NDArray[np.float32]]] = [[] for _ in columns]
    for _ in range(simulator.max_steps):
        shape = going.shape
        flat = states.reshape(going.size, -1)
        observations = simulator.observe(flat)
        for position, column in enumerate(columns):
            met[column].append(observations[position :: shape[1]][going[:, position]])
        chance = simulator.draw_outcomes(episodes, rng)[rows].repeat(shape[1])
        after = simulator.step(flat, policy(observations), chance)
        place = np.ix_(rows, columns)
        returns[place] += np.where(going, after.rewards.reshape(shape), 0.0)
        lengths[place] += going
        states = np.where(going[..., None], after.states.reshape(states.shape), states)
        going = going & ~after.terminated.reshape(shape)
        if not (left := going.any(axis=1)).all():
            rows, going, states = rows[left], going[left], states[left]
            if not len(rows):
                break
        if not (left := going.any(axis=0)).all():
            columns, going, states = columns[left], going[:, left], states[:, left]
            policy = policies.together(columns)
    observed = (_thin(np.concatenate(seen)) for seen in met)
    return [Episodes(*each) for each in zip(returns.T, lengths.T, observed, strict=True)]


def play_gymnasium(
    make: Callable[[], gymnasium.Env[Any, Any]], policy: Policy, episodes: int, seed: int
) -> Episodes:
    """Play episodes with copies of an environment that has no simulator."""
    environments = [make() for _ in range(episodes)]
    seeds = np.random.SeedSequence([seed, _STREAM]).generate_state(episodes)
    starts = [env.reset(seed=int(s))[0] for s, env in zip(seeds, environments, strict=True)]
    observations = dict(enumerate(starts))
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    met = []
    while observations:
        batch = np.stack(list(observations.values())).astype(np.float32)
        met.append(batch)
        for i, action in zip(list(observations), policy(batch), strict=True):
            seen, reward, terminated, truncated, _ = environments[i].step(int(action))
            returns[i] += float(reward)
            lengths[i] += 1
            if terminated or truncated:
                del observations[i]
            else:
                observations[i] = seen
    for env in environments:
        env.close()
    return Episodes(returns, lengths, _thin(np.concatenate(met)))


def _thin(observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return evenly spaced observations, from early and late steps."""
    count = min(OBSERVATIONS, len(observations))
    thinned: NDArray[np.float32] = observations[
        np.linspace(0, len(observations) - 1, count).astype(int)
    ]
    return thinned
