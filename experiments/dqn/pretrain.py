"""Stage ``pretrain``: one DQN, trained by stable-baselines3 (Section 5.1.1)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.dqn.environment import make_environment, make_problem
from experiments.dqn.fingerprint import augmenting, kept_steps, recipe, training
from experiments.dqn.network import own_names
from experiments.dqn.training import make_learner, train
from experiments.external.weight_files import load_weights
from experiments.frame.errors import Interrupted
from experiments.frame.files import part
from experiments.frame.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.dqn.options import DqnConfig
    from experiments.frame.records import Run

WEIGHTS = "networks.safetensors"


def pretrain(config: DqnConfig, run: Run) -> None:
    """Train one network and store it at the steps of the recipe.

    A stopped training starts from the beginning: storing its state, mainly the replay buffer, is
    not worthwhile for a training of minutes.

    Raises:
        Interrupted: If the process was asked to stop.
    """
    settings = recipe(config)
    assert settings.steps is not None
    symmetry = None
    if config.method.entry.augments:
        symmetry = make_problem(config, augmenting(config)).symmetry
    env = make_environment(config.dataset)
    learner = make_learner(env, settings, config.seed, symmetry)
    label = f"train {config.dataset.name} {config.task.regime} seed {config.seed}"
    with progress(label, settings.steps, shorter="task.recipe.steps makes it shorter") as bar:

        def look(step: int) -> bool:
            bar.update(step)
            return not run.should_checkpoint

        kept = train(learner, settings, run.tracker.log, look)
    env.close()
    if learner.num_timesteps < settings.steps:
        raise Interrupted(f"stopped on request; {run.folder.name} begins again next time")
    for step, value in _training_returns(learner):
        run.row("episode_return", value, split="train", step=step, variant=training(config))
    network = sum(value.numel() for value in learner.q_net.parameters())
    run.fact("parameters", network)
    run.fact("parameters_with_target", 2 * network)
    run.fact("steps", learner.num_timesteps)
    run.fact("updates", learner._n_updates)
    run.fact("device", "cpu")
    tensors = {f"{step}.{name}": value for step, w in kept.items() for name, value in w.items()}
    run.save(WEIGHTS, tensors, {"kept": kept_steps(settings)})


def _training_returns(learner: object) -> list[tuple[int, float]]:
    """Return the mean return of the last training episodes, by step."""
    recent = [episode["r"] for episode in learner.ep_info_buffer]  # type: ignore[attr-defined]
    return [(learner.num_timesteps, sum(recent) / len(recent))] if recent else []  # type: ignore[attr-defined]


def networks(config: DqnConfig, run: Run) -> dict[int | None, dict[str, Tensor]]:
    """Return the weights that a run builds on, by training step; the key None for given weights.

    Args:
        config: The configuration.
        run: The run in progress, which needs them.

    Raises:
        UserError: If a given file is damaged.
    """
    if config.model.checkpoint is None:
        finished = run.need("pretrain")
        tensors, facts = finished.tensors(WEIGHTS)
        return {step: weights for step, weights in by_step(tensors, facts["kept"]).items()}
    return {None: own_names(load_weights(Path(config.model.checkpoint)))}


def by_step(tensors: dict[str, Tensor], steps: Iterable[int]) -> dict[int, dict[str, Tensor]]:
    """Sort tensors that are named ``step.name`` by step."""
    return {step: part(tensors, f"{step}.") for step in steps}
