"""Every option and preset composes; bad input is one line that names the valid choices."""

from __future__ import annotations

import itertools
import os
import pwd
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from experiments.frame import conf
from experiments.frame import load as loading
from experiments.frame.cli import _is_readable
from experiments.frame.conf import CONF
from experiments.frame.errors import UserError, unknown
from experiments.frame.load import load
from experiments.frame.methods import METHODS
from experiments.frame.options import AnyConfig
from experiments.frame.stages import name_run
from experiments.frame.tasks import TASKS, load_task
from experiments.frame.variant import variant
from experiments.scan.fingerprint import VERSIONS, group_identity, learning_rate, nontrivial_group
from report.artefacts.catalogue import ARTEFACTS

Configure = Callable[..., AnyConfig]
#: What a preset leaves to its user.
LEFT_OPEN = {"gpt2_sentences": (f"model.file={__file__}", "task.judges=[words]")}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def serves(task: str, method: str) -> bool:
    """Whether a task has code for a method."""
    return method in load_task(task).methods(bool).split(", ")


AUGMENTING = [name for name, method in METHODS.items() if method.augments]
#: What an option cannot be without.
NEEDS = {
    "causal_lm": "model.source=a/b task.judges=[words] task.scorer=words",
    "smollm2": "task.judges=[words] task.scorer=words",
    "gpt2_sentences": "model.file=/etc/hostname task.judges=[words] task.scorer=words",
    "open_clip": "model.architecture=RN50 model.weights=openai",
    "images": "dataset.root=/etc dataset.classes=2",
    "imagenet_v2": "dataset.root=/etc",
}


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_pairs_of_options_compose_or_are_refused_in_one_line(
    configure: Configure, task: str
) -> None:
    axes = {
        **{group: conf.options(group, task) for group in ("dataset", "model")},
        **{group: options(group) for group in ("scale", "protocol")},
        # CLIP is augmented where its encoder is trained.
        "method": [
            name
            for name in options("method")
            if serves(task, name) and not (task == "clip" and name in AUGMENTING)
        ],
    }
    for name in set(options("method")) - set(axes["method"]):
        with pytest.raises(UserError) as refused:
            configure(f"task={task}", f"method={name}")
        assert "\n" not in str(refused.value) and "choose" in str(refused.value)
    composed: set[tuple[str, str]] = set()
    for values in covering(list(axes.values())):
        chosen = dict(zip(axes, values, strict=True))
        needed = " ".join(NEEDS[value] for value in values if value in NEEDS).split()
        try:
            config = configure(
                f"task={task}", *(f"{key}={value}" for key, value in chosen.items()), *needed
            )
        except UserError as error:
            assert "\n" not in str(error) and str(error)
            continue
        assert all(getattr(config, group).name == value for group, value in chosen.items())
        assert needed or variant(config) == ""
        composed |= set(chosen.items())
    left = {(group, value) for group, values in axes.items() for value in values} - composed
    # The authors have no code for DQN.
    assert left == ({("protocol", "reference")} if task == "dqn" else set())


@pytest.mark.parametrize("dataset", ["add_jump", "around_right"])
@pytest.mark.parametrize("model", ["G-LSTM", "G-GRU", "G-RNN"])
def test_an_equivariant_model_has_its_own_group_and_method(
    configure: Configure, dataset: str, model: str
) -> None:
    groups = {}
    for protocol, bias in (("reference", "free"), ("paper", "tied")):
        config = configure(f"dataset={dataset}", f"model={model}", f"protocol={protocol}")
        assert config.method.name == "pretrained"
        assert config.task.word_bias == bias
        assert variant(config) == ""
        groups[protocol] = config.group.name
    jump = dataset == "add_jump"
    assert groups["paper"] == ("verb" if jump else "direction")
    assert groups["reference"] == ("verb4" if jump else "direction")
    assert configure(f"model={model}", "model.group=verb_direction").group.name == "verb_direction"


@pytest.mark.parametrize("group", options("group"))
def test_every_group_acts_on_both_data_sets_or_is_refused(configure: Configure, group: str) -> None:
    for dataset in ("add_jump", "around_right"):
        if not group.startswith(("trivial", "verb", "direction")):
            with pytest.raises(UserError, match=f"group={group} does not act"):
                configure(f"dataset={dataset}", f"group={group}")
        else:
            assert configure(f"dataset={dataset}", f"group={group}").group.name == group


@pytest.mark.parametrize("method", ["equitune", "equizero", "lambda_equitune"])
def test_fine_tuning_is_named_by_its_recipe_and_not_by_where_the_rate_comes_from(
    configure: Configure, method: str
) -> None:
    task = load_task("scan")

    def names(*overrides: str) -> tuple[str, str]:
        given = (f"method={method}", "task.finetune.iterations=10000", *overrides)
        config = configure(*given)
        stages = task.stages["finetune"], task.stages["evaluate"]
        return tuple(name_run(task, stage, config).hash for stage in stages)  # type: ignore[return-value]

    by_name, by_number = names("task.finetune.rate=text"), names("task.finetune.learning_rate=1e-5")
    assert by_name[0] == by_number[0]  # trained once
    assert by_name[1] != by_number[1]  # the rows carry another label
    others = [
        names(option)
        for option in (
            "task.finetune.weight_decay=0.5",
            "task.finetune.iterations=3000",
            "task.finetune.evaluate_every=200",
            "task.finetune.learning_rate=1e-3",
            "seed=1",
        )
    ]
    assert len({by_name, *others}) == 6
    single = names("task.finetune.rate=text", "task.finetune.equizero_steps=1")
    assert (single == by_name) == (method != "equizero")
    full = names("task.finetune.rate=text", "task.pretrain.iterations=200000")
    paper = names("task.finetune.rate=text", "protocol=reference", "scale=paper")
    assert paper[0] == full[0] != by_name[0]


def test_the_learning_rate_of_a_protocol_depends_on_the_method(configure: Configure) -> None:
    """The authors' scripts have none for equizero."""
    rates = {
        (protocol, method): learning_rate(
            configure(f"method={method}", f"protocol={protocol}", "task.finetune.iterations=5")
        )
        for protocol in ("reference", "paper")
        for method in ("equitune", "equizero", "lambda_equitune")
    }
    assert rates == {
        ("reference", "equitune"): 2e-5,
        ("reference", "equizero"): 1e-5,
        ("reference", "lambda_equitune"): 2e-5,
        **dict.fromkeys((("paper", m) for _, m in rates), 1e-5),
    }


def test_fine_tuning_is_labelled_by_its_options_and_not_by_its_length(configure: Configure) -> None:
    tuned = ("method=equizero", "task.finetune.iterations=300", "task.finetune.evaluate_every=100")
    config = configure(*tuned)
    assert variant(config) == ""
    assert config.task.finetune.steps == [0, 100, 200, 300]
    labels = {
        ("task.finetune.rate=default",): "finetune.rate=default",
        ("task.finetune.rates.script.add_jump=9e-5",): "finetune.rates.script.add_jump=9e-05",
        ("task.finetune.learning_rate=0.1",): "finetune.learning_rate=0.1",
        ("task.finetune.equizero_steps=1",): "finetune.equizero_steps=1",
        ("task.space=probabilities",): "space=probabilities",
    }
    assert {given: variant(configure(*tuned, *given)) for given in labels} == labels
    assert variant(configure("task.finetune.rate=default")) == ""  # zero-shot reads none of it


def covering(axes: list[list[str]]) -> list[tuple[str, ...]]:
    """Return few of all combinations: every pair of values of two axes is in one of them."""
    several = min(2, len(axes))
    pairs = {
        values: {frozenset(some) for some in itertools.combinations(enumerate(values), several)}
        for values in itertools.product(*axes)
    }
    wanted = set().union(*pairs.values())
    found = []
    while wanted:
        found.append(max(pairs, key=lambda values: len(pairs[values] & wanted)))
        wanted -= pairs[found[-1]]
    return found


def test_few_combinations_cover_all_pairs() -> None:
    found = covering([["a", "b"], ["c", "d"], ["e", "f"]])
    assert len(found) == 4
    for i, j in itertools.combinations(range(3), 2):
        assert len({(values[i], values[j]) for values in found}) == 4
    assert covering([["a", "b"]]) == [("a",), ("b",)]


@pytest.mark.parametrize("preset", options("experiment"))
def test_the_jobs_of_every_preset_compose(preset: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        raw = compose("config", overrides=[f"experiment={preset}"], return_hydra_config=True)
        assert (
            (CONF / "experiment" / f"{preset}.yaml").read_text().startswith("# @package _global_")
        )
        axes = {key: str(value).split(",") for key, value in raw.hydra.sweeper.params.items()}
        assert raw.hydra.mode.name == "MULTIRUN" and raw.preset == preset
        assert raw.artefact in ARTEFACTS
        axes["seed"] = axes["seed"][:1]
        given = LEFT_OPEN.get(preset, ())
        for values in covering(list(axes.values())):
            job = [f"{key}={value}" for key, value in zip(axes, values, strict=True)]
            load(compose("config", overrides=[f"experiment={preset}", *job, *given]))


def test_the_data_set_chooses_its_group_and_pretrained_needs_none(configure: Configure) -> None:
    assert configure("dataset=around_right").group.name == "direction"
    assert configure("dataset=around_right", "group=trivial").group.name == "trivial"
    assert configure("method=pretrained").group.name == "trivial"
    names = {
        name_run(load_task("scan"), load_task("scan").stages["evaluate"], config).hash
        for config in (
            configure("method=pretrained"),
            configure("method=pretrained", "group=trivial"),
        )
    }
    assert len(names) == 1


@pytest.mark.parametrize("task", TASKS)
def test_what_is_fitted_needs_more_than_one_view(configure: Configure, task: str) -> None:
    fitted = load_task(task).methods(lambda known: known.is_fitted and known.uses_group)
    for method in fitted.split(", "):
        with pytest.raises(
            UserError, match=f"method={method} has one view|group=trivial does not act"
        ):
            configure(f"task={task}", f"method={method}", "group=trivial")


@pytest.mark.parametrize("task", ["clip", "cnn"])
def test_images_are_transformed_by_the_group_that_is_said(configure: Configure, task: str) -> None:
    trains = "task.training=image_encoder" if task == "clip" else "task.training=probe"
    words = (f"task={task}", "method=augmented", trains, "task.transform=rot90")
    with pytest.raises(UserError, match=r"task.transform=rot90, not by group=mirror; give task"):
        configure(*words, "group=mirror")
    assert configure(*words, "group=rot90").task.transform == "rot90"


def test_the_number_of_neighbours_names_no_run_that_does_not_read_it(configure: Configure) -> None:
    words = ("task=cnn", "dataset=letters", "task.training=none", "method=distance")
    assert configure(*words, "method.neighbours=3").method.neighbours is None
    near = configure(*words, "method.neighbours=3", "method.distance=neighbours")
    assert near.method.neighbours == 3


def test_a_departure_from_the_protocol_is_labelled(configure: Configure, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"x")
    labels = {
        ("task.score=emitted",): "score=emitted",
        ("task.score=padded",): "",
        ("task.max_commands=10",): "max_commands=10",
        ("task.pretrain.backend=torch",): "",
        ("task.pretrain.iterations=100",): "pretrain.iterations=100",
        ("task.pretrain.backend=torch", "task.pretrain.iterations_without_kernel=100"): (
            "pretrain.iterations_without_kernel=100"
        ),
        ("model.hidden=32",): "model.hidden=32",
        ("group.words=[[jump,look]]", "group.actions=[[JUMP,LOOK]]"): (
            "words=[['jump', 'look']], actions=[['JUMP', 'LOOK']]"
        ),
        (f"model.checkpoint={weights}",): "checkpoint=2d711642",
        ("method=equitune", "task.score=emitted"): "",  # equitune reads no score
        ("method=pretrained", "task.coupling=joint"): "",
        ("method=lambda_equitune", "method.lambda_net.steps=7"): "lambda_net.steps=7",
        ("protocol=paper", "task.selection=step"): "selection=step",
    }
    assert {given: variant(configure(*given)) for given in labels} == labels


def test_only_what_decides_the_numbers_names_the_run(configure: Configure) -> None:
    task = load_task("scan")

    def name(stage: str, *overrides: str) -> str:
        return name_run(task, task.stages[stage], configure(*overrides)).hash

    assert name("pretrain") == name("pretrain", "protocol=paper", "method=equitune")
    papers = name("pretrain", "task.pretrain.iterations=200000")
    assert name("pretrain", "scale=paper") == papers != name("pretrain")
    assert name("pretrain") == name("pretrain", "threads=2", "task.pretrain.checkpoint_every=7")
    # Training amplifies the last bits in which the back ends differ.
    full = ("pretrain", "scale=paper")
    assert name(*full) != name(*full, "task.pretrain.backend=torch")
    assert name("pretrain") != name("pretrain", "task.pretrain.learning_rate=1e-3")
    assert name("evaluate") != name("evaluate", "task.score=emitted")
    assert name("evaluate") == name("evaluate", "task.space=logits")  # equizero reads no space
    assert name("evaluate", "method=equitune") == name("evaluate", "method=equitune", "device=cpu")


@pytest.mark.parametrize("stage", ["pretrain", "lambda", "finetune"])
def test_a_new_version_of_a_stage_renews_what_builds_on_it(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    task = load_task("scan")

    def name(*overrides: str) -> str:
        return name_run(task, task.stages["evaluate"], configure(*overrides)).hash

    plain = ("method=pretrained",)
    weighted = ("method=lambda_equitune",)
    tuned = (*weighted, "task.finetune.iterations=10")
    before = {given: name(*given) for given in (plain, weighted, tuned)}
    monkeypatch.setitem(VERSIONS, stage, 99)
    changed = {given for given, old in before.items() if name(*given) != old}
    expected = {
        "pretrain": {plain, weighted, tuned},
        "lambda": {weighted, tuned},
        "finetune": {tuned},
    }
    assert changed == expected[stage]


def test_the_equivariance_error_is_measured_under_the_group_that_was_given(
    configure: Configure,
) -> None:
    own = configure("group.words=[[jump,walk]]", "group.actions=[[JUMP,WALK]]")
    assert nontrivial_group(own).words == [["jump", "walk"]]
    assert nontrivial_group(configure("method=pretrained")).words == [["jump", "run"]]
    product = group_identity(configure("group=verb_direction").group)
    assert [factor["name"] for factor in product["factors"]] == ["verb", "direction"]


BAD = {
    "group=nonsense": ["group=nonsense", "direction", "trivial", "verb"],
    "group=verbs": ["did you mean verb?"],
    "task=scan group=rot90": ["group=rot90", "dataset=add_jump", "trivial, verb, direction"],
    "task=clap": ["task=clap", "scan"],
    "method=equizeroo": ["did you mean equizero?", *METHODS],
    "task.scor=padded": ["task.scor", "did you mean task.score?"],
    "+task.scor=padded": ["task.scor", "did you mean task.score?"],
    "sead=1": ["sead", "did you mean seed?"],
    "task.score=loud": ["task.score=loud", "padded, emitted"],
    "task.pretrain.learning_rate=-1": ["task.pretrain.learning_rate=-1", "above 0"],
    "task.pretrain.learning_rate=fast": ["task.pretrain.learning_rate", "fast"],
    "task.pretrain.iterations=1.5": ["task.pretrain.iterations", "1.5"],
    "task.pretrain.learning_rate=nan": ["task.pretrain.learning_rate=nan"],
    "task.pretrain.teacher_forcing=2": ["at least 0 and at most 1"],
    "seed=-1": ["seed=-1", "at least 0"],
    "seed=one": ["seed", "one"],
    "seed=0:2": ["seed", "0:2", "seed=range(3)"],
    "device=tpu": ["device=tpu", "auto, cpu, cuda, mps"],
    "stage=train": ["stage=train", "choose from: pretrain, lambda, finetune, evaluate"],
    "model.checkpoint=missing.safetensors": ["missing.safetensors", "no such file"],
    "protocol=paper task.coupling=apart task.selection=step": ["task.selection=step", "joint"],
    "task.coupling=joint task.selection=prefix": ["task.score=padded", "task.score=emitted"],
    "model=G-LSTM method=equitune": ["equivariant by itself", "method=pretrained"],
    "model=G-LSTM model.group=verbs": ["model.group=verbs", "verb4"],
    "method=pretrained task.finetune.iterations=5": ["method=pretrained is not fine-tuned"],
    "stage=finetune": ["task.finetune.iterations above 0"],
    "stage=lambda": ["stage=lambda belongs to method=lambda_equitune", "not to method=equizero"],
    "task.finetune.iterations=5 task.finetune.rate=guess": ["rate=guess", "text, default"],
    "protocol=paper task.selection=step task.finetune.iterations=5": ["task.selection=sequence"],
    "method=equitune task.finetune.iterations=5 +task.finetune.rates.own={around_right:1e-4} "
    "task.finetune.rate=own": ["rates.own has no learning rate for dataset=add_jump"],
    "+group.factors=[verb_direction] group.words=[] group.actions=[]": ["verb_direction", "cycles"],
    "model=G-RNN model.dropout=0.1": ["G-RNN has no dropout"],
    "task=dqn protocol=reference": ["no code for task=dqn", "protocol=paper"],
    "task=dqn stage=finetune": ["stage=finetune", "pretrain, lambda, evaluate"],
    "task=dqn group=rot90": ["group=rot90 does not act on dataset=cartpole", "trivial, mirror"],
    "task=dqn task.regime=modren": ["did you mean modern?"],
    "task=dqn dataset=gridworld task.regime=tuned": ["regime=tuned", "reference, modern, demo"],
    "task=dqn ~dataset.representations.mirror": ["group=mirror", "does not say how it acts"],
    "task=dqn dataset.representations.mirror.signs=[1,2,1,1]": ["must be 1 or -1"],
    "task=dqn +dataset.representations.mirror.image=rot90": ["exactly one of signs, matrix"],
    "task=dqn task.recipe.hidden=[]": ["task.recipe.hidden=[]", "[64,64]"],
    "task=dqn device=cuda": ["task=dqn runs on the CPU"],
    "task=dqn stage=pretrain model.checkpoint=LICENSE": ["makes no use of model.checkpoint"],
    "task=dqn model=LSTM": ["model=LSTM", "DQN"],
    "method=null": ["Config group override"],
    "dataset.groups=null": ["dataset.groups=None must be a list"],
    "method=lambda_equitune method.lambda_net=null": ["needs method.lambda_net"],
    "group.words=[[jump,hop]]": ["group.words=hop", "walk, look, run, jump"],
    "group.actions=[]": ["group.words and group.actions"],
    "group.words=[[jump,jump]]": ["more than one place"],
    "model.max_steps=10": ["model.max_steps=10", "49"],
    "model.dropout=1": ["model.dropout=1.0", "below 1"],
    "seed=99999999999999999999": ["seed"],
    "results=": ["results= is empty"],
    "stage=pretrain device=cuda": ["device=cuda", "auto, cpu"],
    "stage=pretrain model.checkpoint=LICENSE": ["makes no use of model.checkpoint"],
    "experiment=table2 experiment=table8": ["one preset at a time", "for e in table2 table8"],
    "method=equitune,equizero": ["method=equitune,equizero", "add -m"],
    "experiment=glob(table*)": ["one preset at a time"],
    "experiment=table2,table8": ["one preset at a time", "for e in table2 table8"],
    "hydra/launcher=joblib": ["hydra/launcher=joblib is for sweeps", "add -m"],
    "task=clip model=open_clip": [
        "model.architecture, model.weights must be given: model.architecture=VALUE",
        "conf/model/open_clip.yaml",
    ],
    "task=cnn dataset=images": ["dataset.classes=VALUE", "conf/dataset/images.yaml"],
    "experiment=table3": ["experiment=table3", "table2"],
    "logger=wanbd": ["did you mean wandb?"],
    "task=cnn model=resnet18": ["did you mean ResNet18?", "AlexNet, ResNet18, ResNet20"],
    "task=cnn group=c4": ["choose from: trivial, rot90, rot180, mirror, dihedral"],
    "--task clip": ["--task: write task=clip"],
    "task clip": ["task: write task=clip"],
    "help": ["python run.py --help"],
    "task = cnn": ["task = cnn: write task=cnn"],
    "task =cnn": ["task =cnn: write task=cnn"],
    "task= cnn": ["task= cnn: write task=cnn"],
    "figure8": ["figure8: write experiment=figure8"],
    "figure5": ["write experiment=figure5b or experiment=figure5a"],
    "paper": ["paper: write protocol=paper or scale=paper"],
    "Equizero seed=1": ["Equizero: write method=equizero"],
    "nonsense": ["nonsense: write KEY=VALUE", "--help", "experiment=list"],
    "--list": ["--list: no such flag", "experiment=list"],
    "task=cnn lr=0.1": ["did you mean task.probe.learning_rate or task.pretrain.learning_rate?"],
    "task=cnn +lr=0.1": ["did you mean task.probe.learning_rate or task.pretrain.learning_rate?"],
    "task=cnn task.probe.lr=0.1": ["did you mean task.probe.learning_rate?"],
    "task=cnn probe.epochs=1": ["key=probe is not known; did you mean task.probe?"],
    "task=dqn lr=0.1": ["did you mean task.recipe.learning_rate or"],
    "experiment=figure8 model=nonsense": ["choose from: RN101, RN50, SmallCLIP"],
    "method=lambda_equitune method.lambda_net.positive=relu": ["softplus, exp\n"],
    "method=lambda_equitune method.lambda_net.positive=none": ["choose from: softplus, exp"],
    "task=clip method=lambda_equitune method.lambda_net.positive=relu task.lambda_as=temperature": [
        "choose from: softplus, exp, none"
    ],
    "method=λ-equitune": ["did you mean lambda_equitune?", *METHODS],
    "model.checkpoint=/x/größe.safetensors": [
        """write 'model.checkpoint="/x/größe.safetensors"'"""
    ],
    "model.checkpoint=/x/(copy).safetensors": [
        """write 'model.checkpoint="/x/(copy).safetensors"'"""
    ],
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line_and_a_non_zero_exit(
    refused: Callable[..., str], tmp_path: Path, arguments: str
) -> None:
    line = refused(*arguments.split())
    for part in BAD[arguments]:
        assert part in f"{line}\n"
    assert not list((tmp_path).glob("results/runs/*/*"))


def test_a_key_and_its_value_with_spaces_in_one_word_are_refused(
    refused: Callable[..., str],
) -> None:
    assert refused("task = cnn") == "run.py: task = cnn: write task=cnn, without spaces"


def test_a_wrong_option_of_a_preset_lists_those_of_its_task(refused: Callable[..., str]) -> None:
    assert "LSTM" not in refused("experiment=figure8", "model=nonsense")


@pytest.mark.parametrize("fast", [True, False])
def test_a_precision_is_chosen_for_the_machine_and_names_the_run_without_a_departure(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr(loading, "multiplies_bfloat16", lambda device: fast)
    chosen, other = ("bfloat16", "float32") if fast else ("float32", "bfloat16")
    for task in ("clip", "cnn"):
        stage = load_task(task).stages["pretrain"]
        configs = [
            configure(f"task={task}", *words)
            for words in ((), *((f"task.pretrain.precision={name}",) for name in (chosen, other)))
        ]
        assert [config.task.pretrain.precision for config in configs] == [chosen, chosen, other]
        names = [name_run(load_task(task), stage, config).hash for config in configs]
        assert names[0] == names[1] != names[2]
        assert [variant(config) for config in configs] == ["", "", ""]
    tuned = configure("task=clip", "method=equitune", "task.training=image_encoder")
    assert tuned.task.finetune.precision == chosen
    # Stored embeddings are float32 everywhere, and say so if not.
    labels = {"float32": "", "bfloat16": "precision=bfloat16"}
    assert configure("task=clip").task.precision == "float32"
    assert variant(configure("task=clip", "task.precision=auto")) == labels[chosen]


def test_the_help_names_all_tasks_and_methods() -> None:
    text = (CONF / "config.yaml").read_text(encoding="utf-8").partition("template:")[2]
    assert not {*TASKS, *METHODS} - set(re.findall(r"\w+", text))


def test_help_loads_nothing_heavy(run_py: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    result = run_py("--help", PYTHONPROFILEIMPORTTIME="1")
    assert result.returncode == 0
    # Every group of options that a user chooses from is described, and no other.
    inner = {"hydra", "prompts", "words"}
    groups = {path.name for path in CONF.iterdir() if path.is_dir()} - inner
    described = re.findall(r"^  (\w+) {2,}\w", result.stdout, re.MULTILINE)
    assert set(described) == {name for name in groups if not name.startswith("task_")}
    assert "  name: equizero" in result.stdout and "$" not in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "hydra" in imported
    heavy = {"torch", "numpy", "pandas", "wandb", "numba", "scipy", "matplotlib", "transformers"}
    assert not imported & heavy


def test_schema_errors_are_raised_before_anything_heavy(configure: Configure) -> None:
    with pytest.raises(UserError, match=r"task\.space=words"):
        configure("task.space=words")


@pytest.mark.parametrize(
    ("value", "choices", "meant"),
    [
        ("c4", ("trivial", "rot90", "mirror"), "rot90"),
        ("C4", ("trivial", "rot90", "mirror"), "rot90"),
        ("λ-equitune", ("equitune", "lambda_equitune"), "lambda_equitune"),
        ("lambda", ("equitune", "lambda_equitune"), "lambda_equitune"),
        ("resnet18", ("ResNet18", "ResNet20"), "ResNet18"),
    ],
)
def test_the_names_of_others_are_understood(
    value: str, choices: tuple[str, ...], meant: str
) -> None:
    assert f"(did you mean {meant}?)" in str(unknown("group", value, choices))
    assert "did you mean" not in str(unknown("group", "c4", ("verb", "direction")))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("words:\n\t- [jump, look]\n", "/own.yaml:3:1: no YAML: found character"),
        ("words: [[jump, look]\nactions: []\n", r"own.yaml:3:1: no YAML: expected ',' or ']'"),
        ("words: {a: [b\n", r"own.yaml:\d+:\d+: no YAML: expected"),
    ],
)
def test_a_file_of_the_user_s_that_is_no_yaml_is_one_line(
    refused: Callable[..., str], tmp_path: Path, text: str, line: str
) -> None:
    (tmp_path / "my" / "group").mkdir(parents=True)
    (tmp_path / "my" / "group" / "own.yaml").write_text(f"name: own\n{text}")
    found = refused(f"--config-dir={tmp_path}/my", "group=own", "dataset.groups=[own]")
    assert re.search(line, found)


def test_a_word_of_scan_that_yaml_reads_as_something_else_is_refused(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "my" / "group").mkdir(parents=True)
    text = "name: own\nwords: [[jump, no]]\nactions: [[JUMP, LOOK]]\n"
    (tmp_path / "my" / "group" / "own.yaml").write_text(text)
    found = refused(f"--config-dir={tmp_path}/my", "group=own", "dataset.groups=[own]")
    assert "group.words: YAML reads False where a text is due: no, yes, on, off and" in found


def test_of_two_files_that_are_not_utf_8_the_one_that_is_read_is_named(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "my" / "group").mkdir(parents=True)
    for name in ("ahead", "own"):
        content = f"name: {name} größe".encode("latin-1")
        (tmp_path / "my" / "group" / f"{name}.yaml").write_bytes(content)
    found = refused(f"--config-dir={tmp_path}/my", "group=own")
    assert "/my/group/own.yaml: 'utf-8' codec can't decode" in found


@pytest.mark.parametrize("form", ["--config-dir={}", "--config-dir {}"])
@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "group: the chosen file sets no group.name"),
        ("name: größe".encode("latin-1"), "/my/group/own.yaml: 'utf-8' codec can't decode"),
    ],
)
def test_a_file_of_the_user_s_that_says_nothing_readable_is_named(
    refused: Callable[..., str], tmp_path: Path, form: str, content: bytes, line: str
) -> None:
    (tmp_path / "my" / "group").mkdir(parents=True)
    (tmp_path / "my" / "group" / "own.yaml").write_bytes(content)
    assert line in refused(*form.format(tmp_path / "my").split(), "group=own")


@pytest.mark.parametrize(
    ("group", "text", "line"),
    [
        ("group", "general: [he, no]", "group.general: YAML reads False where a text is due"),
        (
            "group",
            "coreference: {a: [no, b]}",
            "group.coreference.a: YAML reads False where a text",
        ),
        ("group", "equality: {no: [a, b]}", "group.equality: YAML reads False where a text is due"),
        ("group", "equality: {a: [yes, 1]}", "group.equality.a: YAML reads True where a text"),
        ("group", "phrases: {paper: [a, 1]}", "group.phrases.paper: YAML reads 1 where a text"),
        ("model", "source: off", "model.source: YAML reads False where a text is due: no, yes,"),
        ("model", "source: a\nrevision: 12e45", r"model.revision: YAML reads 1.2e\+46 where"),
    ],
)
def test_a_text_that_yaml_reads_as_something_else_is_refused(
    refused: Callable[..., str], tmp_path: Path, group: str, text: str, line: str
) -> None:
    base = {"group": "man_woman", "model": "causal_lm"}[group]
    folder = tmp_path / "my" / group
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(f"defaults: [{base}, _self_]\nname: own\n{text}\n")
    given = (f"--config-dir={tmp_path}/my", "task=fairness", f"{group}=own")
    assert re.search(line, refused(*given, "dataset.groups=[own,man_woman]"))


@pytest.mark.parametrize("home", ["home", "ho me", "größe (1)"])
def test_a_tilde_is_the_home_of_the_user(
    refused: Callable[..., str],
    configure: Callable[..., AnyConfig],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    home: str,
) -> None:
    """With and without quotes on the command line, and in a file."""
    monkeypatch.setenv("HOME", str(tmp_path / home))
    place = f"{tmp_path}/{home}/none.pt"
    for word in ("~/none.pt", '"~/none.pt"', "'~/none.pt'"):
        line = refused(f"model.checkpoint={word}")
        assert line.startswith(f"run.py: model.checkpoint={place}: no such file")
    assert configure('results="~/x"').results == f"{tmp_path}/{home}/x"
    assert configure("task=fairness", "task.judges=[words]").results != "~"


def test_a_tilde_and_a_name_are_the_home_of_that_user(
    refused: Callable[..., str], configure: Callable[..., AnyConfig]
) -> None:
    user = pwd.getpwuid(os.getuid())
    for word in (f"~{user.pw_name}/none.pt", f'"~{user.pw_name}/none.pt"'):
        line = refused(f"model.checkpoint={word}")
        assert line.startswith(f"run.py: model.checkpoint={user.pw_dir}/none.pt: no such file")
    given = (f'results="~{user.pw_name}/x"', f'+dataset.arguments.table="~{user.pw_name}/t"')
    config = configure("task=dqn", *given)
    assert config.results == f"{user.pw_dir}/x"
    assert config.dataset.arguments["table"] == f"{user.pw_dir}/t"
    assert configure('results="~nobody-of-this-name/x"').results == "~nobody-of-this-name/x"


ODD = ("a,b", "it's", 'a"q', "a=b", "(x)", "[v1]", "${y}", "$y", "λ", "#1")


@pytest.mark.parametrize("value", ODD)
def test_the_quoting_that_a_line_advises_works_in_a_shell(
    refused: Callable[..., str], value: str
) -> None:
    line = refused(f"model.checkpoint=/none/{value}.pt")
    advised = line.partition("write ")[2]
    if not advised:  # it needed none
        assert f"model.checkpoint=/none/{value}.pt: no such file" in line
        return
    (word,) = shlex.split(advised)
    assert f"model.checkpoint=/none/{value}.pt: no such file" in refused(word)


@pytest.mark.parametrize(
    ("values", "advised"),
    [
        ("/a.pt,/b(1).pt,/c.pt", '/a.pt,"/b(1).pt",/c.pt'),
        ("'/a,1.pt',/größe.pt", "'/a,1.pt',\"/größe.pt\""),
        ("/b(1).pt", '"/b(1).pt"'),
    ],
)
def test_in_a_sweep_the_values_that_need_it_are_quoted(
    refused: Callable[..., str], values: str, advised: str
) -> None:
    """A list that Hydra reads is left alone, even where it stands in front."""
    line = refused("-m", "dataset.groups=[verb,trivial]", f"model.checkpoint={values}")
    assert f"model.checkpoint={values}: has a character that means something" in line
    assert shlex.split(line.partition("write ")[2]) == [f"model.checkpoint={advised}"]
    assert _is_readable(f"model.checkpoint={advised}")


@pytest.mark.parametrize("task", sorted(TASKS))
def test_nothing_heavy_is_loaded_to_check_a_configuration(task: str) -> None:
    """Composed and checked whole: the stage is looked at last but for the task's own checks."""
    code = (
        "import sys; from hydra import compose, initialize_config_dir; "
        "from experiments.frame.conf import CONF; from experiments.frame.load import load; "
        "initialize_config_dir(str(CONF), version_base='1.3'); "
        f"load(compose('config', ['task={task}', 'logger=none', 'device=cpu'])); "
        "print({'torch', 'numba', 'pandas', 'transformers', 'open_clip'} & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=CONF.parent, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "set()\n"
