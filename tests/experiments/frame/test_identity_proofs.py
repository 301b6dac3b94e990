"""Whatever a stage reads decides its run's name, or is declared to say only how the run is done."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from benchmarks._fault_runs import SETTINGS
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from experiments.frame.runner import execute
from experiments.frame.stages import name_run
from experiments.frame.tasks import load_task
from experiments.images import continuity
from tests.experiments.conftest import ROOT
from tests.experiments.fairness.published import BALLAST, PICKLE, gpt2, regard, write
from tests.experiments.proofs import Keys, Watcher, at, leaves, others

Configure = Callable[..., AnyConfig]

#: Values of the whole configuration that say how a run is done.
HOW = {("device",), ("threads",), ("results",), ("preset",), ("artefact",), ("stage",)}
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
        "method=soft_equizero protocol=paper",
        "method=augmented",
    ),
    "dqn": (
        "method=pretrained",
        "method=equitune",
        "method=equizero",
        "method=lambda_equitune method.lambda_net.steps=10 dataset=cartpole",
        "method=soft_equizero dataset=cartpole",
        "method=augmented",
    ),
    "cnn": (
        "method=pretrained",
        "method=equizero protocol=reference",
        "method=lambda_equitune",
        "method=equitune task.training=none",
        "method=soft_equizero task.training=none",
        "method=canonicalizer method.lambda_net.steps=10",
        "method=distance method.gate=90",
        "method=early_exit method.lambda_net.steps=10 task.training=none stage=continuity",
        "method=augmented task.over_equitune=true",  # augmented_equitune reads its layers
    ),
    "clip": (
        "method=pretrained protocol=reference",
        "method=equizero",
        "method=lambda_equitune method.lambda_net.steps=10 method.lambda_net.dropout=0.5",
        "method=equitune task.training=image_encoder task.finetune.steps=2 task.finetune.every=1",
        "method=soft_equizero",
        "method=prior_lambda method.lambda_net.steps=10 stage=continuity",
        "method=distance method.distance=neighbours",
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


def name(config: AnyConfig, stage: str) -> str:
    """Return the hash of a stage's run, "none" where a value makes no identity."""
    try:
        task = load_task(config.task.name)
        return name_run(task, task.stages[stage], config).hash
    except Exception:  # a value that the identity cannot be made of is one that it reads
        return "none"


def changes(config: AnyConfig, keys: Keys) -> Iterator[AnyConfig]:
    """Yield copies of a configuration with other values of one option."""
    section, key = at(config, keys)
    for value in others(getattr(section, key), choices_of(section, key)):
        changed = copy.deepcopy(config)
        setattr(at(changed, keys)[0], key, value)
        yield changed


def unnamed(config: AnyConfig, stage: str, read: set[Keys]) -> list[str]:
    """Return the values that a stage has read and whose change does not change its name."""
    before, found = name(config, stage), []
    assert before != "none"
    for keys in sorted(read - HOW):
        section, key = at(config, keys)
        # None: what the stage does without.
        if getattr(section, key) is None or is_how(section, key):
            continue
        names = {name(changed, stage) for changed in changes(config, keys)}
        if names == {before}:
            found.append(".".join(keys))
    return found


def left_behind(config: AnyConfig, needs: set[tuple[str, str]]) -> set[str]:
    """Return what renames a stage, but not another one that builds on its run."""
    before = {stage: name(config, stage) for pair in needs for stage in pair}
    found = set[str]()
    for keys in set(leaves(config)) - HOW:
        for changed in changes(config, keys):

            @functools.cache
            def moves(stage: str, changed: AnyConfig = changed) -> bool:
                return name(changed, stage) != before[stage]

            found |= {
                f"{'.'.join(keys)}: {needed}, not {stage}"
                for stage, needed in needs
                if moves(needed) and not moves(stage)
            }
    return found


@pytest.mark.slow
@pytest.mark.parametrize("task", RUNS)
def test_options_that_a_stage_reads_decide_its_name(
    configure: Configure, watcher: Watcher, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setattr(continuity, "ZOOMS", 2)  # of the same options
    seen, faults = set(), {}
    for words in RUNS[task]:
        given = (f"task={task}", *SETTINGS[task].split(), *words.split())
        plain, config = configure(*given), configure(*given)
        watcher.values.clear()
        watcher.needs.clear()
        watcher.watch(config)
        execute(config)
        for stage, read in watcher.values.items():
            assert read, stage
            seen.add(stage)
            found = [key for key in unnamed(plain, stage, read) if key not in NOT_DECIDING[task]]
            if found:
                faults[f"{stage}, {words}"] = found
        if behind := left_behind(plain, watcher.needs):
            faults[words] = sorted(behind)
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
    seen = watcher.values["pretrain"]
    assert {("seed",), ("task", "recipe", "steps"), ("dataset", "environment")} <= seen
    assert "seed" not in unnamed(configure(*given), "pretrain", seen)

    def forgetful(config: AnyConfig) -> dict[str, Any]:
        return {key: value for key, value in stage.identity(config).items() if key != "seed"}

    monkeypatch.setitem(task.stages, "pretrain", replace(stage, identity=forgetful))
    assert "seed" in unnamed(configure(*given), "pretrain", seen)


def test_a_run_that_keeps_its_name_while_what_it_builds_on_gets_another_is_found(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, pair = load_task("dqn"), {("evaluate", "pretrain")}
    config, stage = configure("task=dqn", "method=equitune"), task.stages["evaluate"]
    assert not left_behind(config, pair)
    forgetful = replace(stage, identity=lambda config: {"method": config.method.name})
    monkeypatch.setitem(task.stages, "evaluate", forgetful)
    assert "seed: pretrain, not evaluate" in left_behind(config, pair)


ENVIRONMENT = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
from rewards import REWARD

class Mine(CartPoleEnv):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, REWARD * reward, *rest

gymnasium.register("Mine-v0", Mine, max_episode_steps=20)
"""


def own_dqn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (folder / "mine_env.py").write_text(ENVIRONMENT)
    (folder / "rewards.py").write_text("REWARD = 2.0\n")
    monkeypatch.syspath_prepend(str(folder))
    hidden = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
    torch.save(hidden.state_dict(), folder / "q.pt")
    given = ("dataset.environment=mine_env:Mine-v0", "dataset=cartpole", "task.recipe.hidden=[64]")
    return [" ".join(given), " ".join((*given, f"model.checkpoint={folder}/q.pt"))]


def own_scan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from experiments.scan.nets.model import Seq2Seq

    torch.save(Seq2Seq("RNN").state_dict(), folder / "rnn.pth")
    return [f"model.checkpoint={folder}/rnn.pth"]


def images(folder: Path) -> str:
    """Make a folder of images of two classes."""
    for number in range(24):
        split, kind = ("train", "test")[number % 2], ("cat", "dog")[number // 2 % 2]
        path = folder / "images" / split / kind / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 36), 60 + number).convert("RGB").save(path)
    return f"dataset=images dataset.root={folder}/images dataset.classes=2"


def own_clip(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (folder / "prompts.txt").write_text("a drawing of a {}.\n")
    (folder / "names.txt").write_text("tabby cat\nold dog\n")
    data = f"{images(folder)} dataset.size=32 dataset.class_names={folder}/names.txt"
    return [f"{data} dataset.prompts={folder}/prompts.txt method=equizero"]


def own_cnn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from experiments.cnn.backbones import build_backbone

    network = build_backbone("cifar:resnet20", 2, 32).model
    torch.save({"state_dict": network.state_dict()}, folder / "resnet20.pth.tar")
    data = f"{images(folder)} dataset.size=32 model.checkpoint={folder}/resnet20.pth.tar"
    return [f"{data} method=equitune", f"{data} method=equizero task.training=none"]


def own_fairness(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    network, scorer = write(folder / "gpt2", gpt2()), write(folder / "regard", regard())
    (folder / "good.txt").write_text("kind\nbrave\n")
    (folder / "bad.txt").write_text("cruel\n")
    (folder / "neutral.txt").write_text("quiet\n")
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text("1\tXYZ was kind.\n0\tXYZ sat.\n-1\tXYZ was cruel.\n")
    words = " ".join(
        (
            f"task.scorers.words.positive={folder}/good.txt",
            f"task.scorers.words.negative={folder}/bad.txt",
            f"task.scorers.regardv3.source={scorer} task.scorers.regardv3.revision=null",
            f"task.regard_data={folder} dataset.neutral={folder}/neutral.txt",
        )
    )
    given = f"model=causal_lm model.source={network} task.tokens=5 {words}"
    return [
        f"{words} stage=regard task.judges=[words,bag,regardv3]",
        f"{given} method=equizero task.scorer=bag",
        f"{given} method=pretrained task.judges=[words]",
        f"{given} method=equitune task.relaxed=true task.judges=[words,regardv3,bag]",
    ]


#: Makes a user's own files, and runs that read them.
OWN: dict[str, Callable[[Path, pytest.MonkeyPatch], list[str]]] = {
    "scan": own_scan,
    "dqn": own_dqn,
    "cnn": own_cnn,
    "clip": own_clip,
    "fairness": own_fairness,
}
#: What belongs to this checkout, to the environment and to the machine.
INSTALLED = (
    ROOT,
    *map(Path, (sys.prefix, sys.base_prefix, "/usr", "/etc", "/proc", "/sys", "/dev")),
)


def outside(paths: set[Path], results: Path) -> list[Path]:
    """Return the files that belong to the user."""
    found = sorted({path.resolve() for path in paths if path.is_file()})
    return [
        path
        for path in found
        if not any(path.is_relative_to(place.resolve()) for place in (*INSTALLED, results))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("task", OWN)
def test_files_that_a_stage_reads_decide_its_name(
    configure: Configure,
    watcher: Watcher,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    task: str,
) -> None:
    folder, results = tmp_path / "own", tmp_path / "results"
    folder.mkdir()
    seen, faults = set(), []
    for words in OWN[task](folder, monkeypatch):
        config = configure(f"task={task}", *settings(task, words), *words.split())
        watcher.files.clear()
        watcher.needs.clear()
        execute(config)
        for stage, paths in watcher.files.items():
            for path in outside(paths, results):
                seen.add(path)
                assert path.is_relative_to(folder), f"{stage} reads {path}"
                if not renamed(config, {stage}, path):
                    faults.append(f"{stage} reads {path.relative_to(folder)}")
        stages = {stage for pair in watcher.needs for stage in pair}
        for path in (path for path in folder.rglob("*") if path.is_file()):
            moved = renamed(config, stages, path)
            faults += [
                f"{path.relative_to(folder)}: {needed}, not {stage}"
                for stage, needed in watcher.needs
                if needed in moved and stage not in moved
            ]
    assert not faults, "\n".join(faults)
    # The rest is read by code that is not Python (of safetensors and tokenizers), or by nobody.
    for path in {path for path in folder.rglob("*") if path.is_file()} - seen:
        if path.name not in (*BALLAST, PICKLE) and path.suffix != ".pyc":
            assert renamed(config, {"evaluate"}, path), path


def settings(task: str, words: str) -> list[str]:
    """Return the settings of a small run that other words leave room for."""
    given = {word.partition("=")[0] for word in words.split()}
    drawn = ("dataset.per_class_train", "dataset.per_class_test")
    planted = ("model.width", "model.heads", "model.layers")
    gone = given | {*(drawn if "dataset" in given else ()), *(planted if "model" in given else ())}
    return [word for word in SETTINGS[task].split() if word.partition("=")[0] not in gone]


def renamed(config: AnyConfig, stages: set[str], path: Path) -> set[str]:
    """Return the stages that other content of a file makes another run of, or is refused for."""
    task, content, facts = load_task(config.task.name), path.read_bytes(), path.stat()

    def names() -> dict[str, str]:
        found = dict.fromkeys(stages, "refused")
        for stage in stages:
            with contextlib.suppress(UserError):
                found[stage] = name_run(task, task.stages[stage], config).hash
        return found

    before = names()
    path.write_bytes(content + b"\nzebra\n")
    after = names()
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert "refused" not in before.values() and names() == before
    return {stage for stage in stages if after[stage] != before[stage]}
