"""Wrong files of the user's: weights, environments, models, lists, configurations."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
from collections.abc import Callable
from typing import Any, NamedTuple

#: A folder that a program in a file makes where it is run, in the working directory.
MARK = "executed"
FOLDER = "{folder}"


class Wrong(NamedTuple):
    """A wrong command line and the files that it names.

    Attributes:
        words: What follows `python run.py`; `{folder}` is where the files are.
        files: Content by name.
        late: Whether it is noticed when the run has begun, since the file must be loaded.
    """

    words: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...]
    late: bool = True


class Program:
    """What a pickle may hold: a call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (MARK,)


def _saved(content: Any) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def own_weights(draw: random.Random, task: str) -> Wrong:
    """Draw a file of weights that is damaged, of another network, or a program."""
    import torch

    task = draw.choice(("scan", "dqn", "cnn", "clip"))
    names = [f"layer{draw.randint(1, 9)}.weight" for _ in range(draw.randint(1, 4))]
    weights = {name: torch.full((draw.randint(1, 4), 3), draw.random()) for name in names}
    good = _saved({"state_dict": weights})
    content, endings = draw.choice(
        [
            (pickle.dumps(Program()), ("pt", "pth", "ckpt", "bin", "safetensors")),
            (_saved({"state_dict": weights, "x": Program()}), ("pt", "pth.tar", "ckpt")),
            (good[: draw.randint(1, len(good) - 9)], ("pt", "th", "ckpt")),
            (draw.randbytes(draw.randint(0, 400)), ("pt", "safetensors", "zip", "npz", "onnx")),
            (_saved({"epoch": draw.randint(1, 9), "lr": 0.1}), ("pt", "pth")),
            (_saved([torch.ones(2)]), ("pt", "pth")),
            (_saved({**weights, "bad": torch.full((2,), torch.nan)}), ("pt", "ckpt")),
            (_saved({**weights, "step": draw.randint(1, 9)}), ("pt", "th")),
            (good, ("pt", "pth", "ckpt", "h5", "pkl")),
        ]
    )
    name = f"weights{draw.randint(0, 999)}.{draw.choice(endings)}"
    words = (f"task={task}", f"model.checkpoint={FOLDER}/{name}", "method=equizero")
    return Wrong(words, ((name, content),))


#: The module of an environment, with places for what may be wrong with it.
ENVIRONMENT = """
import gymnasium, numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
class Mine(gymnasium.Env):
    observation_space = {observations}
    action_space = {actions}
    steps = 0
    def reset(self, seed=None, options=None):
        return {reset}
    def step(self, action):
        self.steps += 1
        return {step}
gymnasium.register("{name}-v0", Mine, max_episode_steps=20, disable_env_checker={unchecked})
{last}
"""


def own_environment(draw: random.Random, task: str) -> Wrong:
    """Draw a module with an environment that a DQN cannot be trained in."""
    name, size, when = f"mine{draw.randint(0, 10**6)}", draw.randint(1, 5), draw.randint(1, 150)
    zeros = f"np.zeros({size}, np.float32)"
    parts = {
        "observations": f"Box(-1.0, 1.0, ({size},), np.float32)",
        "actions": f"Discrete({draw.randint(2, 4)})",
        "reset": f"{zeros}, {{}}",
        "step": f"{zeros}, 1.0, False, False, {{}}",
        "unchecked": "True",
        "last": "",
    }
    bad = f"np.full({size}, np.nan if self.steps > {when} else 0, np.float32)"
    change = draw.choice(
        [
            {"actions": f"Discrete(2, start={draw.randint(1, 5)})"},
            {"actions": draw.choice(("Box(-1.0, 1.0, (1,))", "MultiDiscrete([2, 2])"))},
            {"observations": draw.choice(("Discrete(4)", "Dict(a=Discrete(2))"))},
            {"reset": zeros},
            {"step": f"{zeros}, 1.0, False, {{}}"},
            {"step": "None"},
            {"reset": f"np.zeros({size + 1}, np.float32), {{}}"},
            {"step": f"{bad}, 1.0, False, False, {{}}"},
            {"step": f"{zeros}, float('inf') * (self.steps > {when}), False, False, {{}}"},
            {"step": f"1 / (self.steps - {when})"},
            {"last": draw.choice(("import no_such_module", "def broken(:", "1 / 0"))},
        ]
    )
    text = ENVIRONMENT
    for key, value in {**parts, **change, "name": name}.items():
        text = text.replace(f"{{{key}}}", value)
    short = "task.recipe.steps=400 task.recipe.keep_from=200 task.recipe.keep_every=200"
    given = (f"dataset.environment={name}:{name}-v0", *short.split(), "task.episodes=2")
    return Wrong(("task=dqn", *given, "method=pretrained"), ((f"{name}.py", text.encode()),))


def own_model(draw: random.Random, task: str) -> Wrong:
    """Draw a folder of a language model that cannot be loaded, or only by its own code."""
    config: dict[str, Any] = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2}
    own = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    code = f"import os\nos.mkdir({MARK!r})\n".encode()
    files = {"config.json": json.dumps(config).encode(), "model.safetensors": b"", "own.py": code}
    change: dict[str, bytes | None] = draw.choice(
        [
            {"config.json": json.dumps({**config, "auto_map": own}).encode()},
            {"config.json": json.dumps({**config, "model_type": "own", "auto_map": own}).encode()},
            {"config.json": draw.randbytes(draw.randint(0, 60))},
            {"config.json": b"[1, 2]"},
            {"config.json": None},
            {"model.safetensors": draw.randbytes(draw.randint(0, 300))},
            {"model.safetensors": None},
            {"model.safetensors": None, "pytorch_model.bin": pickle.dumps(Program())},
            {"tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": ["own.Tokenizer", null]}}'},
        ]
    )
    found = {name: value for name, value in {**files, **change}.items() if value is not None}
    place = f"model{draw.randint(0, 999)}"
    words = ("task=fairness", "model=causal_lm", f"model.source={FOLDER}/{place}")
    judged = ("task.judges=[words]", "task.scorer=words", "task.sentences=10")
    return Wrong(
        (*words, f"method={draw.choice(('pretrained', 'equitune'))}", *judged),
        tuple((f"{place}/{name}", value) for name, value in found.items()),
    )


def own_yaml(draw: random.Random, task: str) -> Wrong:
    """Draw a group in a file of the user's own that is no YAML, or no action."""
    one, other = draw.sample(["jump", "run", "walk", "look"], 2)
    words, actions = f"[[{one}, {other}]]", f"[[{one.upper()}, {other.upper()}]]"
    text = draw.choice(
        [
            f"words:\n\t- [{one}, {other}]\nactions: {actions}\n",
            f"words: {words[:-1]}\nactions: {actions}\n",
            f"words: {words}\nactions: {actions[:-2]}\n",
            f"words: [[{one}, {draw.choice(('no', 'yes', 'on', 'off'))}]]\nactions: {actions}\n",
            f"words: [[{one}, {one}]]\nactions: {actions}\n",
            f"words: [[{one}, {other}], [left, right, {one}]]\nactions: {actions}\n",
            f"words: [[{one}, sprint]]\nactions: {actions}\n",
            f"words: {draw.randint(1, 99)}\nactions: {actions}\n",
            f"words: {words}\nactions: {actions}\ncolour: red\n",
            f"words: {words}\nactions: []\n",
            f'words: "{one}\nactions: {actions}\n',
            f"words: {words}: {words}\nactions: {actions}\n",
        ]
    )
    name = f"own{draw.randint(0, 999)}"
    given = (f"--config-dir={FOLDER}/my", f"group={name}", f"dataset.groups=[{name},trivial]")
    content = f"name: {name}\n{text}".encode()
    return Wrong((*given, "task=scan"), ((f"my/group/{name}.yaml", content),), late=False)


def own_list(draw: random.Random, task: str) -> Wrong:
    """Draw a list of words that is no text, is empty, or can never be counted."""
    name = f"words{draw.randint(0, 999)}.txt"
    content = draw.choice(
        [
            bytes([255, 254]) + draw.randbytes(20),
            b"",
            b"\n \n# a remark\n",
            f"kind\nwell-known{draw.randint(0, 9)}\n".encode(),
            "gütig\n".encode(),
            b"very kind\n",
            "\ufeffgood\nna\u00efve\n".encode(),
        ]
    )
    key = f"task.scorers.words.{draw.choice(('positive', 'negative'))}"
    words = ("task=fairness", f"{key}={FOLDER}/{name}", "task.judges=[words]")
    return Wrong(words, ((name, content),), late=False)


def own_path(draw: random.Random, task: str) -> Wrong:
    """Draw a path that is not there, with characters that mean something to Hydra."""
    task = draw.choice(("scan", "dqn", "cnn", "clip"))
    odd = [
        "epoch=3-step=9",
        "größe",
        "a#1",
        "(copy)",
        "[v1]",
        "it's",
        "a b",
        "a,b",
        "{x}",
        "λ",
        "模型",
    ]
    odd += ["$HOME", "a:b", "a\\b", "50%", 'say "a"', "~", "a;b", "a|b", "*", "?", "!x", "&", "^"]
    middle = "/".join(draw.sample(odd, draw.randint(1, 2)))
    place = f"{draw.choice(('/none', '~', 'none', '.'))}/{middle}"
    word = draw.choice((f"model.checkpoint={place}.pt", f'model.checkpoint="{place}.pt"'))
    return Wrong((f"task={task}", word), (), late=False)


KINDS: dict[str, Callable[[random.Random, str], Wrong]] = {
    "own weights": own_weights,
    "own environment": own_environment,
    "own language model": own_model,
    "own YAML": own_yaml,
    "own list of words": own_list,
    "odd path": own_path,
}
