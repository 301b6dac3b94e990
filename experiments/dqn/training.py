"""Training of a Q-network with stable-baselines3's DQN; its log goes into the run's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gymnasium import Env
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from experiments.dqn.fingerprint import kept_steps
from experiments.dqn.network import weights_of
from experiments.dqn.symmetry import Symmetry

if TYPE_CHECKING:
    from experiments.dqn.options import Recipe

#: Steps between two checks of signals and updates of the progress.
LOOK_EVERY = 500


class OrbitBuffer(ReplayBuffer):
    """A replay buffer whose samples hold every drawn transition in all transforms of a group.

    A gradient step then has |G| times the passes: those of a network that is trained through the
    mean of |G| views.
    """

    def __init__(self, *sizes: Any, symmetry: Symmetry, **options: Any) -> None:
        """Keep the group's actions; the rest is stable-baselines3's."""
        super().__init__(*sizes, **options)
        self.symmetry = symmetry

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw transitions (s, a, r, s') and return (gs, ga, r, gs') for all g, group-major."""
        drawn = super().sample(batch_size, env)
        views, order = self.symmetry.observations.orbit, self.symmetry.group.order
        moved = self.symmetry.values.forward_table[:, drawn.actions.long()]
        return drawn._replace(
            observations=views(drawn.observations).flatten(0, 1),
            actions=moved.flatten(0, 1),
            next_observations=views(drawn.next_observations).flatten(0, 1),
            dones=drawn.dones.repeat(order, 1),
            rewards=drawn.rewards.repeat(order, 1),
        )


def make_learner(
    env: Env[Any, Any], recipe: Recipe, seed: int, symmetry: Symmetry | None = None
) -> DQN:
    """Set up stable-baselines3's DQN; options that are not in the recipe have its defaults.

    Args:
        env: The environment.
        recipe: A complete recipe.
        seed: Seed of all random numbers.
        symmetry: The actions by which transitions are transformed; None: they are not.
    """
    assert recipe.steps is not None and recipe.buffer_size is not None
    assert recipe.hidden is not None and recipe.learning_rate is not None
    options: dict[str, Any] = {
        name: getattr(recipe, name)
        for name in (
            "batch_size",
            "learning_starts",
            "target_update_interval",
            "train_freq",
            "gradient_steps",
            "exploration_fraction",
            "exploration_final_eps",
            "gamma",
        )
    }
    if symmetry is not None:
        options |= {
            "replay_buffer_class": OrbitBuffer,
            "replay_buffer_kwargs": {"symmetry": symmetry},
        }
    return DQN(
        "MlpPolicy",
        env,
        learning_rate=recipe.learning_rate,
        # A buffer that never fills equals an unlimited one, and needs less memory.
        buffer_size=min(recipe.buffer_size, recipe.steps),
        policy_kwargs={"net_arch": recipe.hidden},
        seed=seed,
        device="cpu",
        **options,
    )


def train(
    learner: DQN,
    recipe: Recipe,
    log: Callable[[dict[str, float], int], None],
    look: Callable[[int], bool],
) -> dict[int, dict[str, Tensor]]:
    """Train to the end of the recipe, or until asked to stop.

    Args:
        learner: From `make_learner`.
        recipe: The same recipe.
        log: Receives the values that stable-baselines3 logs, and the step.
        look: Called regularly with the step; returns whether to continue.

    Returns:
        The stored weights, by step, under the names of `network.build_network`.
    """
    assert recipe.steps is not None
    keeper = _Keeper(kept_steps(recipe), recipe.steps, look)
    learner.set_logger(Logger(None, [_Writer(log)]))
    learner.learn(recipe.steps, callback=keeper)
    return keeper.kept


class _Keeper(BaseCallback):
    """Stores the weights at given steps, and stops when asked to."""

    def __init__(self, steps: list[int], total: int, look: Callable[[int], bool]) -> None:
        super().__init__()
        self.steps = steps
        self.total = total
        self.look = look
        self.kept: dict[int, dict[str, Tensor]] = {}

    def _on_step(self) -> bool:
        if self.num_timesteps in self.steps:
            self._keep(self.num_timesteps)
        return self.num_timesteps % LOOK_EVERY != 0 or self.look(self.num_timesteps)

    def _on_training_end(self) -> None:
        # Steps come in blocks of `train_freq`, and updates after them: the end may be beyond.
        if self.num_timesteps >= self.total:
            self._keep(self.total)

    def _keep(self, step: int) -> None:
        assert isinstance(self.model, DQN)
        self.kept[step] = weights_of(self.model.q_net)


class _Writer(KVWriter):
    """Passes the values that stable-baselines3 logs to a function."""

    def __init__(self, log: Callable[[dict[str, float], int], None]) -> None:
        self.log = log

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Log those values that are numbers."""
        numbers = {key: float(v) for key, v in key_values.items() if isinstance(v, int | float)}
        self.log(numbers, step)

    def close(self) -> None:
        """Nothing to close."""
