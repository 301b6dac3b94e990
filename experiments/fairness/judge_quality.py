"""Stage ``regard``: quality of the scorers, and how the group's name alone changes labels."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from experiments.estimates import estimate
from experiments.fairness.lists import MASK
from experiments.fairness.regard_data import SPLITS
from experiments.fairness.scorers import Labelled, read_labelled, scorer_of

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessConfig
    from experiments.frame.records import Run


def regard(config: FairnessConfig, run: Run) -> None:
    """Test every judge on the labelled sentences, if there are any."""
    task = config.task
    if task.regard_data is None:
        run.fact("note", "no labelled sentences (task.regard_data)")
        return
    sets = {split: read_labelled(Path(task.regard_data) / f"{split}.tsv") for split in SPLITS}
    held_out = ("dev", "test")
    sets["dev+test"] = Labelled(
        [text for split in held_out for text in sets[split].texts],
        torch.cat([sets[split].labels for split in held_out]),
    )
    every = [text for split in SPLITS for text in sets[split].texts]
    phrases = config.group.phrases[task.prompts]
    run.fact("sentences", {split: len(found.texts) for split, found in sets.items()})
    for name in task.judges:
        scorer = scorer_of(config, name, run)
        for split, (texts, labels) in sets.items():
            right = scorer(texts).argmax(dim=-1) == labels
            estimate(right).write(run, "scorer_accuracy", split=name, view=split)
        given = [
            scorer([text.replace(MASK, f"The {phrase}") for text in every]).argmax(dim=-1)
            for phrase in phrases
        ]
        for first, second in combinations(range(len(phrases)), 2):
            flips = given[first] != given[second]
            view = f"{phrases[first]} - {phrases[second]}"
            estimate(flips).write(run, "scorer_flips", split=name, view=view)
