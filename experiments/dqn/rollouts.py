"""Episodes of a policy, many at once: by a simulator, or by copies of a gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

from experiments.dqn.envs.simulator import Simulator
from experiments.errors import UserError

#: Maps observations [n, ...] to actions [n].
Policy = Callable[[NDArray[np.float32]], NDArray[np.int64]]


class Episodes(NamedTuple):
    """What a policy made of some episodes.

    Attributes:
        returns: Undiscounted return of each, [n].
        lengths: Steps of each, [n].
        observations: Some observations that were met, one per step and running episode, thinned.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    observations: NDArray[np.float32]


#: Apart from the seed itself, from which gymnasium draws the starts of the training episodes.
_STREAM = 30
#: At most so many observations are handed back.
OBSERVATIONS = 1000


def play(
    simulator: Simulator, policy: Policy, episodes: int, seed: int, policies: int = 1
) -> list[Episodes]:
    """Play episodes side by side, the same ones with several policies.

    The initial states, and what chance does at step t of episode i, depend on the seed alone: two
    policies that are played with one seed can be compared episode by episode, whether in one call
    or in two.

    Args:
        simulator: The environment's dynamics.
        policy: The policies as one; row i of a batch is for policy i % `policies`.
        episodes: How many, of each policy.
        seed: Of the initial states and of chance.
        policies: How many policies that is, K. Default 1.

    Returns:
        What each policy made of them.
    """
    rng = np.random.default_rng([seed, _STREAM])
    states = np.repeat(simulator.reset(episodes, rng), policies, axis=0)
    returns = np.zeros((episodes, policies))
    lengths = np.zeros((episodes, policies), np.int64)
    # Those that at least one policy has not ended; where another one has, its state stays.
    running = np.arange(episodes)
    going = np.ones((episodes, policies), bool)
    met = []
    for _ in range(simulator.max_steps):
        observations = simulator.observe(states)
        met.append([observations[k::policies][alive] for k, alive in enumerate(going.T)])
        chance = simulator.draw_outcomes(episodes, rng)[running].repeat(policies)
        after = simulator.step(states, policy(observations), chance)
        returns[running] += np.where(going, after.rewards.reshape(going.shape), 0.0)
        lengths[running] += going
        states = np.where(going.reshape(-1, 1), after.states, states)
        going = going & ~after.terminated.reshape(going.shape)
        left = going.any(axis=1)
        if not left.all():
            running, going = running[left], going[left]
            states = states[left.repeat(policies)]
            if not len(running):
                break
    observed = (_thin(np.concatenate(seen)) for seen in zip(*met, strict=True))
    return [Episodes(*each) for each in zip(returns.T, lengths.T, observed, strict=True)]


def play_gymnasium(
    make: Callable[[], gymnasium.Env[Any, Any]], policy: Policy, episodes: int, seed: int
) -> Episodes:
    """Play episodes with copies of an environment of which there is no simulator.

    Raises:
        UserError: If the environment has no time limit.
    """
    environments = [make() for _ in range(episodes)]
    spec = environments[0].spec
    if spec is None or spec.max_episode_steps is None:
        raise UserError(
            f"{'the environment' if spec is None else spec.id} has no time limit and an episode "
            "may never end; register it with max_episode_steps, or name a dataset.simulator"
        )
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
    """Return evenly spaced ones, so that early and late steps are among them."""
    count = min(OBSERVATIONS, len(observations))
    thinned: NDArray[np.float32] = observations[
        np.linspace(0, len(observations) - 1, count).astype(int)
    ]
    return thinned
