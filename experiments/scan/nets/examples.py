"""The training examples of a run in flat arrays, and their order in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32


@dataclass(frozen=True)
class Stream:
    """The training examples and their order, all drawn in advance.

    Attributes:
        commands: The word indices of all commands one after another, EOS included, `[n]`.
        command_offsets: Command i is `commands[command_offsets[i]:command_offsets[i + 1]]`.
        targets: The action words of all examples, EOS included.
        target_offsets: Same for `targets`.
        samples: Index of the example of each iteration, `[iterations]`.
        teacher: Whether that iteration uses teacher forcing, `[iterations]`.
    """

    commands: Int32[np.ndarray, " command_words"]
    command_offsets: Int32[np.ndarray, " examples_plus_1"]
    targets: Int32[np.ndarray, " target_words"]
    target_offsets: Int32[np.ndarray, " examples_plus_1"]
    samples: Int32[np.ndarray, " iterations"]
    teacher: Bool[np.ndarray, " iterations"]

    @classmethod
    def pack(
        cls,
        commands: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
        samples: Sequence[int] | np.ndarray,
        teacher: Sequence[bool] | np.ndarray,
    ) -> Stream:
        """Build a stream from lists of word indices.

        Args:
            commands: One sequence of word indices per example, EOS included.
            targets: One sequence of action words per example, EOS included.
            samples: Index of the example of each iteration.
            teacher: Whether each iteration uses teacher forcing, as many as `samples`.

        Returns:
            The packed stream.

        Raises:
            ValueError: If the numbers of commands and targets, or of samples and flags, differ, a
                sequence is empty, or a sample is not the index of an example.
        """
        if len(commands) != len(targets):
            raise ValueError(f"{len(commands)} commands but {len(targets)} targets")
        if len(samples) != len(teacher):
            raise ValueError(f"{len(samples)} samples but {len(teacher)} teacher forcing flags")
        order = np.asarray(samples, dtype=np.int32)
        if order.size and not 0 <= order.min() <= order.max() < len(commands):
            raise ValueError(f"samples must lie in 0..{len(commands) - 1}")
        return cls(
            *_flatten(commands, "command"),
            *_flatten(targets, "target"),
            samples=order,
            teacher=np.asarray(teacher, dtype=np.bool_),
        )

    def command(self, iteration: int) -> Int32[np.ndarray, " length"]:
        """Return the command of an iteration."""
        example = self.samples[iteration]
        return self.commands[self.command_offsets[example] : self.command_offsets[example + 1]]

    def target(self, iteration: int) -> Int32[np.ndarray, " steps"]:
        """Return the target of an iteration."""
        example = self.samples[iteration]
        return self.targets[self.target_offsets[example] : self.target_offsets[example + 1]]


def _flatten(sequences: Sequence[Sequence[int]], name: str) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(words) for words in sequences], dtype=np.int32)
    if lengths.size == 0 or lengths.min() == 0:
        raise ValueError(f"there must be at least one {name}, and none may be empty")
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return np.concatenate([np.asarray(s, dtype=np.int32) for s in sequences]), offsets
