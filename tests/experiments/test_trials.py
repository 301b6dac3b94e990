"""Every preset names a trial of minutes, which composes; a job says how many there are."""

from __future__ import annotations

import logging
import pickle
import re
import shlex
from itertools import cycle

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from experiments.frame import machine
from experiments.frame.conf import CONF
from experiments.frame.load import load
from experiments.frame.submission import Submission

PRESETS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def trial(preset: str) -> list[str]:
    """Return the words of the one trial in the header of a preset."""
    header = (CONF / "experiment" / f"{preset}.yaml").read_text().partition("\ndefaults:")[0]
    (line,) = re.findall(r"^# Trial \(minutes\): python run\.py (.*)$", header, re.MULTILINE)
    # What is left to the user; the test's own file is one.
    return [word.replace("FILE", __file__) for word in shlex.split(line)]


def sweep(words: list[str]) -> DictConfig:
    return compose("config", overrides=words, return_hydra_config=True)


def axes(words: list[str]) -> dict[str, list[str]]:
    """Return the values of every axis of a preset's sweep, after those that are typed."""
    typed = dict(word.split("=", 1) for word in words)
    found = {key: str(value) for key, value in sweep(words[:1]).hydra.sweeper.params.items()}
    chosen = {key: value.split(",") for key, value in {**found, **typed}.items()}
    # Not an axis: [a,b] is one value.
    return {
        key: values if typed.get(key, "")[:1] != "[" else [typed[key]]
        for key, values in chosen.items()
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_the_trial_of_a_preset_composes(preset: str) -> None:
    words = trial(preset)
    assert words[0] == f"experiment={preset}"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = axes(words)
        # Every value of every axis once, not their product.
        jobs = zip(*map(cycle, values.values()), strict=False)
        for _, job in zip(range(max(map(len, values.values()))), jobs, strict=False):
            given = [f"{key}={value}" for key, value in zip(values, job, strict=True)]
            config = load(compose("config", overrides=given))
            assert config.preset == preset
            # A trial of images needs neither the hub nor more than a few of them.
            if config.task.name in ("clip", "cnn"):
                assert config.task.max_images <= 200 and config.dataset.kind == "pictograms"
    assert len(values.get("seed", "0")) == 1


def test_a_job_says_how_many_there_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "commit", lambda: {"commit": "a" * 40, "dirty": False})
    counts = {
        ("experiment=table2",): 4 * 2 * 3 * 2,
        ("experiment=table2", "seed=0", "method=equitune,equizero"): 2 * 2 * 2,
        ("seed=range(3)",): 3,
        ("seed=interval(0,1)",): None,
        ("experiment=figure2", "task.regime=demo"): 3 * 16 * 3,
    }
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for words, expected in counts.items():
            submission = Submission()
            submission.on_multirun_start(_multirun(list(words)))
            assert submission.jobs == expected
            job = pickle.loads(pickle.dumps(submission))  # as a launcher brings it elsewhere
            raw = sweep([])
            raw.hydra.job.num = 1
            caplog.clear()
            with caplog.at_level(logging.INFO):
                job.on_job_start(raw, task_function=print)
            said = [f"job 2 of {expected}"] if expected else []
            assert [line for line in caplog.messages if line.startswith("job ")] == said
    machine.note_submitted(None)


def _multirun(words: list[str]) -> DictConfig:
    """Compose as Hydra does where a sweep begins."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    loader = GlobalHydra.instance().config_loader()
    return loader.load_configuration("config", words, RunMode.MULTIRUN, from_shell=False)
