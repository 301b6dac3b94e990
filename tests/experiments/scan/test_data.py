"""The generated language equals the official files; splits, order and actions are as documented."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import equitune
from experiments.scan.data import ACTIONS, COMMANDS, EOS, draw_order, load_data, word_actions
from experiments.scan.grammar import SPLITS, Pair, add_jump, all_pairs, around_right
from experiments.scan.options import ScanGroup, load_group

OFFICIAL = Path(__file__).parents[4] / "shared" / "data" / "scan"
FILES = {
    "add_jump": ("tasks_train_addprim_jump.txt", "tasks_test_addprim_jump.txt"),
    "around_right": (
        "tasks_train_template_around_right.txt",
        "tasks_test_template_around_right.txt",
    ),
}


def read_official(path: Path) -> Counter[Pair]:
    pairs = []
    for line in path.read_text().splitlines():
        command, actions = line.removeprefix("IN: ").split(" OUT: ")
        words = tuple(action.removeprefix("I_") for action in actions.split())
        pairs.append(Pair(tuple(command.split()), words))
    return Counter(pairs)


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official SCAN files are not here")
@pytest.mark.parametrize("name", SPLITS)
def test_a_split_equals_the_official_files_as_a_multiset(name: str) -> None:
    split = SPLITS[name]()
    for pairs, file in zip(split, FILES[name], strict=True):
        assert Counter(pairs) == read_official(OFFICIAL / file)


def test_the_language_has_the_documented_counts() -> None:
    pairs = all_pairs()
    assert len(pairs) == len({pair.command for pair in pairs}) == 20910
    jump, right = add_jump(), around_right()
    assert (len(jump.train), len(set(jump.train)), len(jump.test)) == (14670, 13204, 7706)
    assert (len(right.train), len(set(right.train)), len(right.test)) == (15225, 15225, 4476)
    assert Counter(jump.train).most_common(1) == [(Pair(("jump",), ("JUMP",)), 1467)]
    assert sum("right" in pair.command for pair in right.train) == 8670
    lengths = [len(pair.actions) for pair in jump.train]
    assert (min(lengths), round(float(np.mean(lengths)), 1), max(lengths)) == (1, 12.7, 48)
    lengths = [len(pair.actions) for pair in right.test]
    assert (min(lengths), round(float(np.mean(lengths)), 1), max(lengths)) == (8, 22.6, 48)


def test_commands_mean_what_the_paper_says() -> None:
    meaning = {pair.command: " ".join(pair.actions) for pair in all_pairs()}
    assert meaning["jump", "twice"] == "JUMP JUMP"
    assert meaning["turn", "left"] == "TURN_LEFT"
    assert meaning["run", "opposite", "left"] == "TURN_LEFT TURN_LEFT RUN"
    assert meaning["look", "around", "right"] == "TURN_RIGHT LOOK " * 3 + "TURN_RIGHT LOOK"
    assert meaning["walk", "after", "run", "thrice"] == "RUN RUN RUN WALK"


@pytest.mark.parametrize(
    ("name", "train", "held"), [("add_jump", 11736, 2934), ("around_right", 12180, 3045)]
)
def test_validation_is_held_out_and_depends_on_the_seed_only(
    name: str, train: int, held: int
) -> None:
    data, again, other = load_data(name, 0), load_data(name, 0), load_data(name, 1)
    assert (len(data.train), len(data.validation)) == (train, held)
    assert data.validation.commands == again.validation.commands
    assert data.validation.commands != other.validation.commands
    whole = Counter(map(tuple, data.train.commands)) + Counter(map(tuple, data.validation.commands))
    assert whole == Counter(tuple(COMMANDS.encode(pair.command)) for pair in SPLITS[name]().train)
    unseen = data.validation.without(data.train)
    copies = sum(command == COMMANDS.encode(("jump",)) for command in data.validation.commands)
    assert len(unseen) == held - (copies if name == "add_jump" else 0)
    # The authors' unseeded validation: mostly training data.
    seen = set(map(tuple, data.train.commands))
    share = np.mean([tuple(command) in seen for command in data.unseeded_validation.commands])
    assert 0.75 < share < 0.95


def test_a_longer_run_begins_with_the_draws_of_a_shorter_one() -> None:
    short, long = draw_order(100, 50, 0.5, seed=3), draw_order(100, 5000, 0.5, seed=3)
    assert np.array_equal(short.samples, long.samples[:50])
    assert np.array_equal(short.teacher, long.teacher[:50])
    assert 0.45 < long.teacher.mean() < 0.55
    assert set(long.samples) == set(range(100))


def test_batches_cover_the_corpus_once_with_equal_command_lengths() -> None:
    corpus = load_data("around_right", 0, max_commands=500).test
    rows = []
    for batch in corpus.batches(64):
        rows += batch.rows.tolist()
        for row, command, target in zip(*batch, strict=True):
            assert command.tolist() == corpus.commands[row]
            assert target.tolist()[: len(corpus.targets[row])] == corpus.targets[row]
            assert set(target.tolist()[len(corpus.targets[row]) :]) <= {EOS}
    assert sorted(rows) == list(range(500))


@pytest.mark.parametrize(
    "name", ["verb", "direction", "verb4", "verb_direction", "verb4_direction"]
)
def test_the_language_is_equivariant_under_its_groups(name: str) -> None:
    """Exchanging words in the command exchanges actions in the target, for every element."""
    actions = word_actions(load_group(name))
    meaning = {pair.command: pair.actions for pair in all_pairs()}
    for pair in all_pairs()[::31]:
        commands = actions.commands.orbit(torch.tensor([COMMANDS.encode(pair.command)]))
        targets = actions.words.orbit(torch.tensor([ACTIONS.encode(pair.actions)]))
        for command, target in zip(commands, targets, strict=True):
            words = tuple(COMMANDS.decode(command[0].tolist()))
            assert meaning[words] == tuple(ACTIONS.decode(target[0].tolist()))


def test_a_product_group_has_every_pair_of_elements() -> None:
    actions = word_actions(load_group("verb4_direction"))
    assert actions.commands.group == equitune.product(equitune.cyclic(4), equitune.cyclic(2))
    x = torch.tensor([COMMANDS.encode(("jump", "left"))])
    orbit = [COMMANDS.decode(row[0].tolist()) for row in actions.commands.orbit(x)]
    verbs, sides = ("jump", "run", "walk", "look"), ("left", "right")
    assert orbit == [[verb, side] for verb in verbs for side in sides]


def test_four_verbs_form_a_cyclic_group() -> None:
    verbs = ["jump", "run", "walk", "look"]
    actions = word_actions(ScanGroup("verbs", [verbs], [[verb.upper() for verb in verbs]]))
    assert actions.commands.group.order == 4
    x = torch.tensor([COMMANDS.encode(("jump", "twice"))])
    orbit = [COMMANDS.decode(row[0].tolist())[0] for row in actions.commands.orbit(x)]
    assert orbit == verbs
    assert isinstance(actions.distributions, equitune.PermuteAxis)
