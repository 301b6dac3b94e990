"""Training on swapped pairs: what the stream holds, which models it makes, what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from experiments.frame.runner import execute
from experiments.frame.stages import name_run
from experiments.scan.data import ACTIONS, COMMANDS, Corpus, draw_stream, load_data, word_actions
from experiments.scan.grammar import Pair
from experiments.scan.options import load_group
from experiments.scan.task import TASK

Configure = Callable[..., AnyConfig]
SMALL = (
    *("model=RNN", "task.max_commands=20", "task.pretrain.iterations=60"),
    *("task.pretrain.evaluations=2", "task.pretrain.backend=torch"),
)


def test_the_orbit_of_a_corpus_is_its_swapped_pairs() -> None:
    corpus = Corpus.encode([Pair(("run", "left"), ("TURN_LEFT", "RUN"))])
    verb, both = (
        corpus.orbit(word_actions(load_group(name))) for name in ("verb", "verb_direction")
    )
    said = [
        [COMMANDS.decode(command) for command in orbit.commands]
        + [ACTIONS.decode(target) for target in orbit.targets]
        for orbit in (verb, both)
    ]
    assert said[0] == [
        *(["run", "left"], ["jump", "left"]),
        *(["TURN_LEFT", "RUN"], ["TURN_LEFT", "JUMP"]),
    ]
    assert len(both) == 4 and ["jump", "right"] in said[1] and ["TURN_RIGHT", "JUMP"] in said[1]


def test_the_stream_has_the_same_draws_each_moved_by_a_random_element() -> None:
    corpus = load_data("add_jump", 0).train
    actions = word_actions(load_group("verb"))
    plain = draw_stream(corpus, 1000, 0.5, 3)
    moved = draw_stream(corpus, 1000, 0.5, 3, actions)
    assert np.array_equal(plain.teacher, moved.teacher)
    assert len(moved.samples) == len(plain.samples)  # a pass each
    changed = []
    for step in range(1000):
        own, other = plain.command(step), moved.command(step)
        table = actions.commands.forward_table.numpy()
        g = int(moved.samples[step]) // len(corpus)
        assert np.array_equal(table[g][own], other)
        words = actions.words.forward_table.numpy()
        assert np.array_equal(words[g][plain.target(step)], moved.target(step))
        changed.append(g)
    assert 0.45 < np.mean(changed) < 0.55
    longer = draw_stream(corpus, 2000, 0.5, 3, actions)
    assert np.array_equal(longer.samples[:1000], moved.samples)


def test_both_methods_share_a_model_that_others_do_not(configure: Configure) -> None:
    def pretrained(*words: str) -> str:
        return name_run(TASK, TASK.stages["pretrain"], configure(*SMALL, *words)).folder

    plain, mean = pretrained("method=pretrained"), pretrained("method=equitune")
    one, both = pretrained("method=augmented"), pretrained("method=augmented_equitune")
    assert plain == mean != one == both and "augmented" in one
    assert pretrained("method=augmented_equitune", "group=verb4") != one
    other = ("method=augmented", "group=verb4", "dataset.symmetry=verb4")
    assert pretrained(*other) == pretrained("method=augmented_equitune", "group=verb4")


@pytest.mark.parametrize("method", ["augmented", "augmented_equitune"])
def test_a_run_has_its_rows(configure: Configure, method: str) -> None:
    rows = execute(configure(*SMALL, f"method={method}")).rows()
    assert {row["method"] for row in rows} == {method}
    assert {row["group"] for row in rows} == {"trivial" if method == "augmented" else "verb"}


BAD = {
    ("method=augmented", f"model.checkpoint={__file__}"): "takes no model.checkpoint",
    ("method=augmented", "model=G-LSTM"): "is equivariant by itself",
    ("method=augmented", "group=verb4"): "by dataset.symmetry=verb, not by group=verb4",
    ("method=augmented", "task.finetune.iterations=10"): "method=augmented is not fine-tuned",
}


@pytest.mark.parametrize("overrides", BAD)
def test_what_makes_no_sense_is_one_line(configure: Configure, overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=BAD[overrides]):
        configure(*overrides)
