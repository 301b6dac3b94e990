"""Command lines that are wrong, each by construction, drawn from the suite's own configuration.

Not here: a key or group given twice and a results folder elsewhere, which are valid, and unknown
flags, which argparse refuses in several lines.
"""

from __future__ import annotations

import dataclasses
import random
import string
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args, get_type_hints

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from benchmarks import _bad_files
from experiments.frame.conf import CONF, choices_of, groups_of, options
from experiments.frame.load import load
from experiments.frame.options import AnyConfig
from experiments.frame.tasks import TASKS, load_task

GROUPS = ("task", "dataset", "model", "group", "method", "protocol", "scale", "logger", "arm")
#: Values that no field of a type takes.
WRONG = {
    int: ("1.5", "many", "[1,2]", "{a:1}", "0x"),
    float: ("fast", "[0.1]", "{a:1}", "1e", "1,5e"),
    bool: ("maybe", "[true]", "2", "{a:1}"),
    str: ("[a,b]", "{a:1}"),
}
#: Words that are no assignment, or whose value cannot be read.
UNREADABLE = (
    *("foo", "=3", "seed", "seed==1", "method=[a", "method={a", "seed=${nope}", "seed=$"),
    *("seed=0,1", "method=equitune,equizero", "seed=range(0,3)", "~seedling"),
    *(
        "seed=(1",
        "model='LSTM",
        "seed=1:2:",
        "results=${results}",
        "threads=${oc.env:NO_SUCH_NAME}",
    ),
    *("hydra.mode=SIDEWAYS", "hydra/launcher=none_such", "~task", "~seed", "++task=7"),
)
#: Folders that cannot be made, and names that climb out of `conf/`.
PATHS = (
    *("results=/dev/null/x", "results=LICENSE", "results=run.py/..//x"),
    *("results=", "results=null", f"results={'a' * 300}", "results=[a]"),
    *(
        "group=../model/LSTM",
        "model=../../etc/passwd",
        "dataset=../task/scan",
        "method=.",
        "task=..",
    ),
    *("experiment=../config", "experiment=/etc/passwd", "arm=../experiment/table2", "scale=/"),
    *("arm=../experiment/table2", "+arm=../arm/cnn_lambda", "logger=../scale/demo"),
    *("model.checkpoint=../..", "model.checkpoint=/", "model.checkpoint=/none/such.safetensors"),
)


class Case(NamedTuple):
    """A command line that must be refused.

    Attributes:
        kind: What is wrong with it.
        words: What follows `python run.py`; `{folder}` is where the files are.
        files: Content of files that the words name.
        late: Whether it is noticed when the run has begun.
    """

    kind: str
    words: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...] = ()
    late: bool = False


class Key(NamedTuple):
    """A key of the configuration: its full name, its type (None where that is open), its rule."""

    name: str
    type: type | None
    rule: Any


def cases(count: int, seed: int) -> list[Case]:
    """Draw wrong command lines, evenly over kinds and tasks.

    Args:
        count: How many.
        seed: The seed.

    Returns:
        Different cases, the kinds in turn.
    """
    draw = random.Random(seed)
    keys = {task: list(_keys(task)) for task in TASKS}
    kinds: dict[str, Callable[[random.Random, str, list[Key]], tuple[str, ...]]] = {
        "misspelt key": _misspelt_key,
        "misspelt choice": _misspelt_choice,
        "wrong type": _wrong_type,
        "out of range": _out_of_range,
        "of another task": _of_another_task,
        "unknown preset": lambda draw, task, keys: (f"experiment={_word(draw)}",),
        "empty value": _empty,
        "conflict": _conflict,
        "unreadable": lambda draw, task, keys: (draw.choice(UNREADABLE),),
        "path": lambda draw, task, keys: (draw.choice(PATHS),),
    }
    found: dict[Case, None] = {}
    names, turn = [*kinds, *_bad_files.KINDS], 0
    while len(found) < count:
        kind, task = names[turn % len(names)], list(TASKS)[turn // len(names) % len(TASKS)]
        turn += 1
        if kind in kinds:
            wrong = kinds[kind](draw, task, keys[task])
            found[Case(kind, (*([] if _sets_task(wrong) else [f"task={task}"]), *wrong))] = None
        else:
            found[Case(kind, *_bad_files.KINDS[kind](draw, task))] = None
    return list(found)


def _sets_task(words: tuple[str, ...]) -> bool:
    return any(word.lstrip("~+").partition("=")[0] == "task" for word in words)


def _keys(task: str) -> Iterator[Key]:
    """Yield the keys of a task's default run."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config: AnyConfig = load(compose("config", [f"task={task}", "logger=none"]))
    yield from _walk(config, "")


def _walk(section: Any, prefix: str) -> Iterator[Key]:
    hints = get_type_hints(type(section))
    for item in dataclasses.fields(section):
        value, hint = getattr(section, item.name), hints[item.name]
        if dataclasses.is_dataclass(value):
            yield from _walk(value, f"{prefix}{item.name}.")
        elif item.name not in ("name", "preset"):
            found = [kind for kind in get_args(hint) or (hint,) if kind in WRONG]
            known = found[0] if len(found) == 1 and not _is_generic(hint) else None
            yield Key(f"{prefix}{item.name}", known, item.metadata)


def _is_generic(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) in (list, dict)


def _word(draw: random.Random) -> str:
    return "".join(draw.choices(string.ascii_lowercase, k=8))


def _misspell(draw: random.Random, word: str, valid: list[str]) -> str:
    """Drop, double or change a letter of the last part of a name until it is none of the valid."""
    head, dot, last = word.rpartition(".")
    while True:
        place = draw.randrange(len(last))
        letter = draw.choice(["", last[place] * 2, draw.choice(string.ascii_lowercase)])
        wrong = f"{head}{dot}{last[:place]}{letter}{last[place + 1 :]}"
        if wrong not in valid and not wrong.endswith((".", "-")) and wrong:
            return wrong


def _misspelt_key(draw: random.Random, task: str, keys: list[Key]) -> tuple[str, ...]:
    valid = [*(key.name for key in keys), *GROUPS, "experiment"]
    closed = [key.name for key in keys if key.type is not None]
    return (f"{_misspell(draw, draw.choice(closed), valid)}=1",)


def _misspelt_choice(draw: random.Random, task: str, keys: list[Key]) -> tuple[str, ...]:
    group = draw.choice(GROUPS)
    choices = choices_of(group)
    return (f"{group}={_misspell(draw, draw.choice(choices), [*choices, 'null'])}",)


def _wrong_type(draw: random.Random, task: str, keys: list[Key]) -> tuple[str, ...]:
    key = draw.choice([key for key in keys if key.type is not None])
    assert key.type is not None
    return (f"{key.name}={draw.choice(WRONG[key.type])}",)


def _out_of_range(draw: random.Random, task: str, keys: list[Key]) -> tuple[str, ...]:
    key = draw.choice([key for key in keys if "minimum" in key.rule or "choices" in key.rule])
    if "choices" in key.rule:
        return (f"{key.name}={_word(draw)}",)
    values = [key.rule["minimum"] - (0 if key.rule.get("above") else 1), -(10**9)]
    if "maximum" in key.rule:
        values += [key.rule["maximum"] + (0 if key.rule.get("below") else 1)]
    if key.type is float:
        values += ["nan", "inf", "-inf"]
    return (f"{key.name}={draw.choice(values)}",)


def _of_another_task(draw: random.Random, task: str, keys: list[Key]) -> tuple[str, ...]:
    what = draw.choice(("dataset", "model", "group", "stage", "arm"))
    if what == "stage":
        return (f"stage={draw.choice(_other_stages(task))}",)
    if what == "arm":
        own = {key.name for key in keys}
        return (f"arm={draw.choice([arm for arm in choices_of('arm') if _strange(arm, own)])}",)
    if what == "group":
        return (f"group={draw.choice(sorted(set(choices_of('group')) - set(groups_of(task))))}",)
    return (f"{what}={draw.choice(sorted(set(choices_of(what)) - set(options(what, task))))}",)


def _other_stages(task: str) -> list[str]:
    names = {name for other in TASKS for name in load_task(other).stages}
    return sorted(names - set(load_task(task).stages))


def _strange(arm: str, own: set[str]) -> bool:
    """Whether an arm sets a key of `task` that is no task's own here."""
    values = OmegaConf.select(OmegaConf.load(CONF / "arm" / f"{arm}.yaml"), "task", default={})
    tops = {name.split(".")[1] for name in own if name.startswith("task.")}
    return bool(set(values) - tops)


def _empty(draw: random.Random, task: str, keys: list[Key]) -> tuple[str, ...]:
    fields = [key.name for key in keys if key.type in (int, float, bool) or "choices" in key.rule]
    return (f"{draw.choice([*fields, *GROUPS[:-1], 'experiment'])}=",)


def _conflict(draw: random.Random, task: str, keys: list[Key]) -> tuple[str, ...]:
    """Draw two words of which each is valid alone."""
    net = draw.choice(["hidden", "depth", "steps", "batch_size"])
    no_net = f"method={draw.choice(['pretrained', 'equitune', 'equizero'])}"
    return draw.choice(
        [
            tuple(f"experiment={name}" for name in draw.sample(choices_of("experiment"), 2)),
            (no_net, f"method.lambda_net.{net}={draw.randint(1, 9)}"),
            ("method=lambda_equitune", "method.lambda_net=null"),
            (no_net, "stage=lambda"),
            ("method=lambda_equitune", "dataset.groups=[]"),
        ]
    )
