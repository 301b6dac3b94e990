"""Stage ``finetune``: the image encoder, trained through the method (Section 5.2.1 and D.4)."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from experiments.clip.embeddings import extraction
from experiments.clip.inputs import load_seen, open_seen
from experiments.clip.models import image_encoder, preprocessing, pretrained_model
from experiments.clip.scoring import Scorer, learning_loss, make_scorer
from experiments.clip.train_lambda import load_lambda
from experiments.clip.training_data import (
    STEP,
    Batch,
    accuracy,
    batches,
    divide,
    judging_split,
    load_text,
    load_training,
)
from experiments.frame.errors import UserError
from experiments.frame.fields import given
from experiments.frame.files import part
from experiments.frame.machine import choose_device, ieee_float32
from experiments.frame.progress import progress
from experiments.frame.seeds import derive
from experiments.images.config import repeats, trained_as
from experiments.images.extraction import Orbits, inputs_of, limited, orbits_of, watched
from experiments.images.orbit_data import Stored, orbits_of_turned
from experiments.images.sets import ImageSet, OpenImages
from experiments.images.symmetries import members
from experiments.images.training import precision, slow
from experiments.training import LOOK_EVERY, is_finite, pack, unpack

if TYPE_CHECKING:
    from experiments.clip.options import ClipConfig
    from experiments.frame.records import FinishedRun, Run

log = logging.getLogger(__name__)


class Tuner:
    """Stochastic gradient descent on an image encoder, with frozen batch-norm statistics."""

    def __init__(
        self, config: ClipConfig, encoder: nn.Module, scorer: Scorer, images: ImageSet, seen: Stored
    ) -> None:
        """Set up.

        Args:
            config: The configuration.
            encoder: Maps images to embeddings; changed in place.
            scorer: The method.
            images: The training images.
            seen: Their embeddings by the pretrained encoder, which lambda reads.
        """
        recipe = config.task.finetune
        assert recipe is not None
        self.config, self.recipe = config, recipe
        self.encoder = encoder.eval().requires_grad_(True)
        self.scorer, self.images, self.seen = scorer, images, seen
        self.device = next(encoder.parameters()).device
        self.see = preprocessing(config.model)
        self._elements = members(config.task.transform), members(config.group.name)
        self.optimiser = torch.optim.SGD(
            encoder.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum
        )

    def step(self, number: int, batch: Batch) -> float:
        """Take a step; return the loss, which is not finite if the training has diverged.

        The batch is divided into passes; the gradient is of the whole batch.
        """
        self.optimiser.zero_grad()
        self.scorer.train(self.config.task.lambda_dropout == "always")
        count, total = len(batch.rows), 0.0
        size = -(-count // self.recipe.accumulate)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.config.seed, STEP, number))
            weighed = self._weighed(batch)
            for part in torch.split(torch.arange(count), size):
                rows = batch.rows[part]
                scores = self.scorer(
                    self._embeddings(rows, batch.turned[part]),
                    None if weighed is None else weighed[:, part.to(self.device)],
                )
                labels = self.images.labels[rows].to(self.device)
                loss = learning_loss(given(self.config.task.training_loss), scores, labels)
                (loss * len(rows) / count).backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach()) * len(rows) / count
        if math.isfinite(total):
            self.optimiser.step()
        return total

    def _weighed(self, batch: Batch) -> Tensor | None:
        """Return lambda's weights of a batch's views, [G, B]; None for other methods.

        The whole batch at once, so that dropout does not depend on the number of passes.
        """
        if self.scorer.net is None:
            return None
        return self.scorer.weigh(self.seen.views(*batch).to(self.device))

    def _embeddings(self, rows: Tensor, turned: Tensor) -> Tensor:
        """Return the embeddings of the orbits of transformed images, [G, B, D]."""
        inputs = self.see(self.images.pixels[rows].to(self.device))
        orbit = orbits_of_turned(inputs, turned, *self._elements)
        with precision(self.recipe.precision, self.device):
            found: Tensor = self.encoder(orbit.flatten(0, 1)).float()
        return found.reshape(*orbit.shape[:2], -1)


@ieee_float32()
def finetune(config: ClipConfig, run: Run) -> None:
    """Fine-tune the image encoder, and store it at regular steps.

    A training that diverges stops; a row gives the step.

    Raises:
        Interrupted: If the process was asked to stop; it resumes from the last kept step.
    """
    task, given_recipe = config.task, given(config.task.finetune)
    recipe = dataclasses.replace(given_recipe, steps=repeats(config) * given_recipe.steps)
    device = choose_device(config.device)
    classifier, own_scale = load_text(config, run)
    seen = load_training(config, run)
    fitted = load_lambda(config, run, seen.shape[0])
    scorer = make_scorer(config, classifier, own_scale, fitted).to(device)
    model: Any = pretrained_model(config, run)
    images = load_seen(config.dataset, config.model, "train", task.max_images)
    tuner = Tuner(config, image_encoder(model).to(device), scorer, images, seen)
    split = divide(config, len(images.labels), task.training_images)
    facts: dict[str, Any] = {"step": 0, "total": 0.0, "since": 0, "losses": [], "judged": []}
    if (kept := _resume(run)) is not None:
        tensors, facts = kept
        unpack(tensors, tuner.encoder, tuner.optimiser)
    else:
        # Diverged or not, report the accuracy of the earlier steps.
        facts["judged"].append([0, _judge(tuner, split.judging)])
    todo = batches(config, split.learned, recipe.batch_size, recipe.steps, seen.turns)
    total, since = facts["total"], facts["since"]
    shorter = "task.finetune.steps makes it shorter" + slow(recipe.precision, tuner.device)
    with progress(f"finetune {run.folder.name}", recipe.steps, facts["step"], shorter) as bar:
        for step, batch in enumerate(todo, start=1):
            if step <= facts["step"]:
                continue
            loss = tuner.step(step, batch)
            total, since = total + loss, since + 1
            kept_now = step % recipe.every == 0 or step == recipe.steps
            if not math.isfinite(loss) or (kept_now and not is_finite(tuner.encoder)):
                run.row("diverged_step", step, split="train")
                break
            if step % LOOK_EVERY == 0:
                bar.update(step, f"loss {loss:.3f}")
                if run.should_checkpoint and not kept_now:
                    facts |= {"step": step, "total": total, "since": since}
                    run.checkpoint(pack(tuner.encoder, tuner.optimiser), facts)
            if kept_now:
                run.save(snapshot(step), tuner.encoder.state_dict())
                facts["judged"].append([step, _judge(tuner, split.judging)])
                facts["losses"].append([step, total / since])
                total, since = 0.0, 0
                facts |= {"step": step, "total": total, "since": since}
                run.checkpoint(pack(tuner.encoder, tuner.optimiser), facts)
    for step, loss in facts["losses"]:
        run.row("training_loss", loss, split="train", step=step)
    for step, value in facts["judged"]:
        run.row("top1_accuracy", value, split=judging_split(config), step=step)
    run.fact("images", len(split.learned))
    run.fact("device", str(device))


def _resume(run: Run) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the last checkpoint, with all encoders stored before it; None to start from step 0.

    A damaged encoder file is computed again. The checkpoint holds the encoder of its own step; an
    earlier encoder needs all steps again, as only the checkpoint stores the optimiser's momentum.
    """
    if (kept := run.resume()) is None:
        return None
    tensors, facts = kept
    for step, _ in facts["judged"][1:]:
        try:
            run.adopt(snapshot(step))
        except UserError as error:
            if step != facts["step"]:
                log.warning("%s; fine-tuning begins at the beginning", error)
                return None
            log.warning("%s; it is written again, from the checkpoint", error)
            run.save(snapshot(step), part(tensors, "network."))
    return tensors, facts


def _judge(tuner: Tuner, rows: Tensor) -> float:
    """Return the accuracy on training images, in percent."""
    pixels, labels = tuner.images.pixels[rows], tuner.images.labels[rows]
    images = OpenImages(labels, tuner.images.classes, lambda a, b: pixels[a:b].numpy())
    config = tuner.config
    found = orbits_of(images, extraction(config, tuner.encoder, tuner.device))
    joined = _join(config, found, tuner.seen.features.rows(rows))
    images_seen = Stored(joined, config.group.name, config.task.transform)
    return accuracy(config, tuner.scorer, images_seen)


def _join(config: ClipConfig, found: Orbits, before: Orbits) -> Orbits:
    """Append the embeddings that lambda reads to those of the encoder."""
    if config.method.lambda_net is None:
        return found
    return found._replace(values=torch.cat([found.values, before.values], dim=-1))


def snapshot(step: int) -> str:
    """Return the file name of the encoder after a step."""
    return f"encoder-{step:06}.safetensors"


class Finetuned:
    """The encoders of a finished fine-tuning, and the test images as they see them.

    Attributes:
        steps: The steps with a stored encoder; step 0 is the pretrained encoder.
        chosen: The step that the selection asks for.
    """

    def __init__(
        self,
        config: ClipConfig,
        finished: FinishedRun,
        encoder: nn.Module,
        before: Orbits,
        run: Run,
    ) -> None:
        """Read which steps are stored.

        Args:
            config: The configuration.
            finished: The run of `finetune`.
            encoder: The pretrained encoder.
            before: Its embeddings of the test images' orbits.
            run: The run in progress.
        """
        self._config, self._finished, self._run = config, finished, run
        self._encoder, self._before = encoder, before
        images = open_seen(config.dataset, config.model, "test")
        self._images = limited(images, config.task.max_images)
        self._device = choose_device(config.device)
        found = [row for row in finished.rows() if row["metric"] == "top1_accuracy"]
        judged = {int(row["step"]): float(row["value"]) for row in found}
        self.steps = sorted(judged)
        last = config.task.selection == "last"
        # The first of equal ones.
        self.chosen = self.steps[-1] if last else max(self.steps, key=lambda step: judged[step])

    def at(self, step: int) -> nn.Module:
        """Return the encoder after a step."""
        encoder = copy.deepcopy(self._encoder)
        if step:
            encoder.load_state_dict(self._finished.tensors(snapshot(step))[0])
        return encoder.eval().requires_grad_(False)

    def features(self, step: int) -> Orbits:
        """Return the embeddings of the test images by the encoder after a step.

        Raises:
            Interrupted: If the process was asked to stop; the run begins again next time.
        """
        found = self._before
        if step:
            how = extraction(self._config, self.at(step).to(self._device), self._device)
            label, total = f"embeddings after step {step}", inputs_of(self._images, how)
            with watched(self._run, label, total, "begins again") as watch:
                found = orbits_of(self._images, how._replace(network=watch(how.network)))
        return _join(self._config, found, self._before)


def load_finetuned(config: ClipConfig, run: Run, encoder: nn.Module, before: Orbits) -> Finetuned:
    """Return the encoders that a run measures.

    Args:
        config: The configuration.
        run: The run in progress, which needs them.
        encoder: The pretrained encoder.
        before: Its embeddings of the test images' orbits.
    """
    finished = run.need("finetune", trained_as(config))
    run.fact("images_learned", finished.record["facts"]["images"])
    for row in finished.rows():
        if row["metric"] == "diverged_step":
            run.row("diverged_step", float(row["value"]), split="train")
    return Finetuned(config, finished, encoder, before, run)
