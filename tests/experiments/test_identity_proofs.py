"""Whatever a stage reads decides its run's name, or is declared to say only how the run is done."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from benchmarks._fault_runs import SETTINGS
from experiments.registry import load_task
from experiments.runner import execute
from experiments.schema import RunConfig
from experiments.stages import name_run
from tests.experiments.proofs import Keys, Watcher, at, others

Configure = Callable[..., RunConfig]

#: Values of the whole configuration that say how a run is done.
HOW = {("device",), ("threads",), ("results",), ("preset",), ("stage",)}
#: Values that a stage reads and that do not decide its numbers, and why.
NOT_DECIDING = {
    "scan": {},
    "dqn": {
        "dataset.name": "a label",
        "dataset.steps": "of the recipe, whose values are named one by one",
        "task.regimes": "of the recipe, whose values are named one by one",
    },
    "cnn": {
        "model.name": "a label",
        "dataset.prompts": "of a copy, for another data set",
        "task.selection": "in probe a check",
    },
    "clip": {
        "model.name": "a label",
        "dataset.per_class_train": "of timing, which sees test images",
        **dict.fromkeys(
            ("model.mean", "model.std", "model.interpolation"), "of timing, in seconds"
        ),
    },
    "fairness": {
        **dict.fromkeys(("group.equality", "group.coreference"), "pretrained: facts, checks"),
        "task.prompts": "of phrases, which are named; both kinds have the same of this group",
    },
}
#: Runs that go through all stages of a task, of all methods and protocols.
RUNS: dict[str, tuple[str, ...]] = {
    "scan": (
        "method=pretrained protocol=paper",
        "method=equitune",
        "method=equizero protocol=paper task.finetune.iterations=40",
        "method=lambda_equitune method.lambda_net.steps=10",
    ),
    "dqn": (
        "method=pretrained",
        "method=equitune",
        "method=equizero",
        "method=lambda_equitune method.lambda_net.steps=10 dataset=cartpole",
    ),
    "cnn": (
        "method=pretrained",
        "method=equizero protocol=reference",
        "method=lambda_equitune",
        "method=equitune task.training=none",
    ),
    "clip": (
        "method=pretrained protocol=reference",
        "method=equizero",
        "method=lambda_equitune method.lambda_net.steps=10 method.lambda_net.dropout=0.5",
        "method=equitune task.training=image_encoder task.finetune.steps=2 task.finetune.every=1",
        "stage=timing task.max_images=6 task.timing_batch=4 task.timing_rounds=1",
    ),
    "fairness": (
        "method=pretrained",
        "method=equitune task.relaxed=true",
        "method=equizero",
        "method=lambda_equitune method.lambda_net.steps=10 task.lambda_sentences=10",
        "stage=regard task.judges=[words]",
    ),
}


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    watcher = Watcher(monkeypatch)
    yield watcher
    watcher.close()


def is_how(section: Any, name: str) -> bool:
    """Whether a field is declared to say only how a run is done."""
    return bool(section.__dataclass_fields__[name].metadata.get("how"))


def choices_of(section: Any, name: str) -> tuple[Any, ...]:
    """Return the values that a field may have, where they are a closed set."""
    return tuple(section.__dataclass_fields__[name].metadata.get("choices", ()))


def unnamed(config: RunConfig, stage: str, read: set[Keys]) -> list[str]:
    """Return the values that a stage has read and whose change does not change its name."""
    task, found = load_task(config.task.name), []

    def name(changed: RunConfig) -> str:
        try:
            return name_run(task, task.stages[stage], changed).hash
        except Exception:  # a value that the identity cannot be made of is one that it reads
            return "none"

    before = name(config)
    assert before != "none"
    for keys in sorted(read - HOW):
        section, key = at(config, keys)
        value = getattr(section, key)
        # None: what the stage does without.
        if value is None or is_how(section, key):
            continue
        names = []
        for changed_value in others(value, choices_of(section, key)):
            changed = copy.deepcopy(config)
            setattr(at(changed, keys)[0], key, changed_value)
            names.append(name(changed))
        if names and set(names) == {before}:
            found.append(".".join(keys))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("task", RUNS)
def test_options_that_a_stage_reads_decide_its_name(
    configure: Configure, watcher: Watcher, task: str
) -> None:
    seen, faults = set(), {}
    for words in RUNS[task]:
        given = (f"task={task}", *SETTINGS[task].split(), *words.split())
        plain, config = configure(*given), configure(*given)
        watcher.values.clear()
        watcher.watch(config)
        execute(config)
        for stage, read in watcher.values.items():
            assert read, stage
            seen.add(stage)
            found = [key for key in unnamed(plain, stage, read) if key not in NOT_DECIDING[task]]
            if found:
                faults[f"{stage}, {words}"] = found
    assert seen == set(load_task(task).stages)
    assert not faults, "\n".join(f"{k}: {v}" for k, v in faults.items())


def test_a_value_that_a_stage_reads_behind_its_name_is_found(
    configure: Configure, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof itself can fail: an identity that forgets an option is noticed."""
    task = load_task("dqn")
    stage = task.stages["pretrain"]
    given = ("task=dqn", *SETTINGS["dqn"].split(), "method=pretrained", "seed=3")
    config = configure(*given)
    watcher.watch(config)
    execute(config)
    read = watcher.values["pretrain"]
    assert {("seed",), ("task", "recipe", "steps"), ("dataset", "environment")} <= read
    assert "seed" not in unnamed(configure(*given), "pretrain", read)

    def forgetful(config: RunConfig) -> dict[str, Any]:
        return {key: value for key, value in stage.identity(config).items() if key != "seed"}

    monkeypatch.setitem(task.stages, "pretrain", replace(stage, identity=forgetful))
    assert "seed" in unnamed(configure(*given), "pretrain", read)
