"""The configuration sections of DQN: which keys exist and of which type; values are in conf/."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from experiments.frame.fields import at_least, between, how, one_of, only_for
from experiments.frame.options import GroupConfig, RunConfig

SCORES = ("softmax", "raw")
OBJECTIVES = ("advantage", "td")
IMAGE_ACTIONS = ("rot90", "rot180", "mirror", "dihedral")


def bounded(minimum: float, **rule: Any) -> Any:
    """Declare a number field that may be left out (None), with its bounds."""
    return field(default=None, metadata={"minimum": minimum, **rule})


@dataclass
class Recipe:
    """Hyper-parameters of stable-baselines3's DQN, and the steps at which the network is stored.

    Every field may be None: it is then filled in by `fingerprint.recipe`.
    """

    steps: int | None = bounded(1)
    hidden: list[int] | None = None
    learning_rate: float | None = bounded(0, above=True)
    batch_size: int | None = bounded(1)
    buffer_size: int | None = bounded(1)
    learning_starts: int | None = bounded(0)
    target_update_interval: int | None = bounded(1)
    train_freq: int | None = bounded(1)
    gradient_steps: int | None = bounded(-1)
    exploration_fraction: float | None = bounded(0, maximum=1)
    exploration_final_eps: float | None = bounded(0, maximum=1)
    gamma: float | None = bounded(0, maximum=1)
    keep_from: int | None = bounded(1)
    keep_every: int | None = bounded(1)

    def over(self, other: Recipe) -> Recipe:
        """Return this recipe with its None fields taken from another one."""
        mine = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        return dataclasses.replace(other, **mine)


@dataclass
class Representation:
    """A group's action on observations and on actions.

    Of ``signs``, ``matrix`` and ``image`` exactly one is given.

    Attributes:
        signs: Signs of a mirror, 1 or -1 per entry of the observation.
        matrix: Matrix of the generator of a cyclic group, on flat observations.
        image: Name of an action on pictures.
        actions: Cycles of actions under the generator (of a dihedral group, the quarter turn).
        mirror: Cycles of actions under the mirror of a dihedral group.
    """

    signs: list[int] | None = None
    matrix: list[list[float]] | None = None
    image: str | None = field(default=None, metadata={"choices": IMAGE_ACTIONS})
    actions: list[list[int]] = field(default_factory=list)
    mirror: list[list[int]] = field(default_factory=list)


@dataclass
class WeightingData:
    """Training and validation data of the networks lambda.

    Attributes:
        episodes: Number of episodes, half of them for training, half held out.
        states: Largest number of states of each half.
        epsilon: Share of random actions in these episodes.
        horizon: Steps of a simulated return for the objective ``advantage``, with the first one.
    """

    episodes: int = at_least(2)
    states: int = at_least(1)
    epsilon: float = between(0, 1)
    horizon: int | None = at_least(1)


@dataclass
class DqnTask:
    """The options of ``task=dqn``; ``conf/task/dqn.yaml`` explains each value.

    An option that a run does not read is None (``resolve``).
    """

    name: str = MISSING
    regime: str = MISSING
    score: str | None = only_for("needs_loss", one_of(*SCORES))
    weighting: str | None = only_for("is_fitted", one_of(*OBJECTIVES))
    weighting_data: WeightingData | None = field(
        default=None, metadata={"only_for": "is_fitted", "required": True}
    )
    recipe: Recipe = field(default_factory=Recipe)
    regimes: dict[str, Recipe] = field(default_factory=dict)
    episodes: int = at_least(1)


@dataclass
class DqnModel:
    """A Q-network and, optionally, its weights."""

    name: str = MISSING
    task: str = MISSING
    checkpoint: str | None = how(None)


@dataclass
class DqnDataset:
    """An environment, its symmetries, and its training options.

    Attributes:
        name: Name of the data set.
        task: ``dqn``.
        environment: Name in gymnasium's registry.
        arguments: Keyword arguments of the environment.
        simulator: ``module:function`` that returns a `Simulator`, None: the suite's simulator.
        steps: Training steps.
        groups: The groups that act.
        symmetry: The paper's group; ``method=augmented`` transforms by it.
        representations: The representation of each group.
        tuned: Changes by the regime ``tuned``; None if there is no such recipe.
    """

    name: str = MISSING
    task: str = MISSING
    environment: str = MISSING
    arguments: dict[str, Any] = field(default_factory=dict)
    simulator: str | None = None
    steps: int = at_least(1)
    groups: list[str] = field(default=MISSING, metadata={"how": True})
    symmetry: str = MISSING
    representations: dict[str, Representation] = field(default_factory=dict)
    tuned: Recipe | None = None


@dataclass
class DqnGroup(GroupConfig):
    """A group, by name; the data set defines its action."""


#: The configuration of a run of this task.
DqnConfig = RunConfig[DqnTask, DqnModel, DqnDataset, DqnGroup]
