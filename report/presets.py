"""The presets of ``conf/experiment``: what they run, and commands for what is missing of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from omegaconf import OmegaConf

from experiments.frame.conf import CONF
from report.aggregate import Labels

_OVERRIDE = "override /"


@cache
def axes(preset: str) -> Mapping[str, tuple[str, ...]]:
    """The options that a preset chooses, with the values that it sweeps over.

    Of an option that it does not name there are none: the root configuration chooses it.
    """
    content = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / f"{preset}.yaml"))
    assert isinstance(content, dict)
    chosen = {
        str(name).removeprefix(_OVERRIDE): (str(value),)
        for entry in content["defaults"]
        for name, value in entry.items()
    }
    swept = content["hydra"]["sweeper"]["params"]
    return chosen | {name: tuple(str(text).split(",")) for name, text in swept.items()}


def command(preset: str, missing: Sequence[Labels], words: Iterable[str]) -> str:
    """The shell command for missing numbers.

    It names the scale always, and of the other `words` those whose values differ from the preset's.
    The word `task.regime` stands for the label `regime`.
    """
    chosen = []
    for word in words:
        label = word.rpartition(".")[2]
        values = tuple(dict.fromkeys(labels[label] for labels in missing))
        if word == "scale" or values != axes(preset).get(word):
            chosen.append(f"{word}={','.join(values)}")
    return " ".join(["python run.py", f"experiment={preset}", *chosen])
