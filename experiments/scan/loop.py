"""The resumable loop around a trainer, for both training stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.frame.files import part
from experiments.frame.progress import progress
from experiments.scan.nets.training import Stream, Trainer

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.frame.records import Run

#: Iterations between two checks of the clock and of signals.
CHUNK = 1000


class TrainingLoop:
    """Trains up to a list of points; a subclass acts at each of them.

    Attributes:
        run: The run in progress.
        trainer: The trainer.
        stream: The pairs in order.
        points: Iterations at which :meth:`reached` is called, ascending; the last one ends it.
        kept: Named tensors of the subclass for the checkpoint.
        facts: Plain data of the subclass for the checkpoint.
    """

    def __init__(self, run: Run, trainer: Trainer, stream: Stream, points: list[int]) -> None:
        """Start, or continue from the run's checkpoint."""
        self.run, self.trainer, self.stream, self.points = run, trainer, stream, points
        self.kept: dict[str, Tensor] = {}
        self.facts: dict[str, Any] = {"done": 0, "loss_sum": 0.0, "loss_count": 0}

    def reached(self) -> str:
        """Act at a point; return a word for the progress line."""
        raise NotImplementedError

    def resume(self) -> None:
        """Continue from the run's checkpoint, if there is one."""
        saved = self.run.resume()
        if saved is None:
            return
        tensors, self.facts = saved
        self.trainer.load_state_dict(part(tensors, "trainer."))
        self.kept = part(tensors, "kept.")

    def save(self) -> None:
        """Write the checkpoint."""
        tensors = {f"trainer.{k}": v for k, v in self.trainer.state_dict().items()}
        tensors |= {f"kept.{k}": v for k, v in self.kept.items()}
        self.run.checkpoint(tensors, self.facts)

    def train(self, label: str, every: int, shorter: str) -> None:
        """Train to the last point, with regular checkpoints.

        Args:
            label: Label of the progress bar.
            every: Iterations between two checkpoints.
            shorter: The keys that make the training shorter.
        """
        said = f"{shorter} makes it shorter"
        with progress(label, self.points[-1], self.trainer.iteration, said) as bar:
            while self.facts["done"] < len(self.points):
                now, due = self.trainer.iteration, self.points[self.facts["done"]]
                if now == due:
                    bar.update(now, self.reached())
                    self.facts["done"] += 1
                    continue
                self._advance(min(due, now + CHUNK))
                if self.trainer.iteration % every < CHUNK or self.run.should_checkpoint:
                    self.save()
                bar.update(self.trainer.iteration)

    def _advance(self, stop: int) -> None:
        losses = self.trainer.run(self.stream, self.trainer.iteration, stop)
        self.facts["loss_sum"] += float(losses.sum())
        self.facts["loss_count"] += len(losses)

    def take_loss(self) -> float:
        """Return the mean training loss since the last call."""
        mean: float = self.facts["loss_sum"] / max(1, self.facts["loss_count"])
        self.facts["loss_sum"], self.facts["loss_count"] = 0.0, 0
        return mean
