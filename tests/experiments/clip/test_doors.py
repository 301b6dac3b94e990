"""Weights and tokenizers of CLIP: from the hub, its cache, or files that are the hub's own."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from experiments.clip import checkpoints
from experiments.clip.checkpoints import Source, fetch, identity, put_file, source
from experiments.clip.models import build_model, make_tokenizer, pretrained_model
from experiments.external import downloads
from experiments.frame.errors import UserError
from experiments.frame.files import sha256
from experiments.frame.options import AnyConfig
from experiments.frame.stages import name_run
from experiments.frame.tasks import load_task
from experiments.frame.variant import variant
from tests.experiments.clip.test_models import Bare
from tests.experiments.clip.tiny import ARCHITECTURES, register, state_of
from tests.experiments.emulated import emulated_hub, fetch_all, point_to, publish
from tests.experiments.hub_server import Behaviour, HubServer, Repository, commit_of

Configure = Callable[..., AnyConfig]
SAFE, PICKLE = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
REPOSITORY = "someone/tiny-vit"


def chosen(name: str = "tiny-vit", weights: str = "here") -> tuple[str, ...]:
    names = (f"model.architecture={name}", f"model.weights={weights}")
    return ("task=clip", "model=open_clip", *names)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two files of a repository of open_clip's."""
    folder = tmp_path_factory.mktemp("published")
    state = state_of_tiny()
    save_file(state, folder / SAFE)
    torch.save(state, folder / PICKLE)
    return {name: folder / name for name in (SAFE, PICKLE)}


def state_of_tiny() -> dict[str, torch.Tensor]:
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        return {name: value.clone() for name, value in state_of("tiny-vit").items()}


@pytest.fixture
def hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]
) -> Iterator[HubServer]:
    register(monkeypatch)
    with emulated_hub(monkeypatch, tmp_path / "cache") as server:
        publish(server, REPOSITORY, {**files, "README.md": b"words"})
        yield server


def cached(cache: Path, name: str = SAFE) -> Path:
    return next(cache.rglob(f"snapshots/*/{name}"))


def names(config: AnyConfig) -> list[str]:
    task = load_task("clip")
    return [name_run(task, task.stages[name], config).folder for name in ("text", "evaluate")]


def test_what_is_fetched_once_is_asked_for_no_more(
    hub: HubServer, configure: Configure, files: dict[str, Path]
) -> None:
    config = configure(*chosen())
    fetch_all(config)
    asked = [request.path for request in hub.requests]
    assert asked[0].endswith(f"/resolve/main/{SAFE}") and not any(PICKLE in path for path in asked)
    hub.clear()
    fetch_all(config)
    run = Bare()
    built = pretrained_model(config, run)  # type: ignore[arg-type]
    make_tokenizer(config.model)
    assert hub.requests == []
    expected = state_of_tiny()
    assert all(torch.equal(v, expected[name]) for name, v in built.state_dict().items())
    facts = {"tag": "here", "file": SAFE, "sha256": sha256(files[SAFE])}
    assert run.facts["weights"] == {**facts, "commit": commit_of(REPOSITORY)}


def test_the_pickle_is_read_where_there_is_nothing_else(
    hub: HubServer, configure: Configure, files: dict[str, Path]
) -> None:
    publish(hub, REPOSITORY, {PICKLE: files[PICKLE]})
    run = Bare()
    pretrained_model(configure(*chosen()), run)  # type: ignore[arg-type]
    assert run.facts["weights"]["file"] == PICKLE


def test_a_damaged_file_is_refused_wherever_it_was_damaged(
    hub: HubServer, configure: Configure, tmp_path: Path
) -> None:
    model = configure(*chosen()).model
    hub.behaviour = Behaviour(corrupt=True, only="/cdn/*")
    with pytest.raises(UserError, match="the network or the server damaged it; run the same"):
        fetch(model)
    hub.behaviour = Behaviour()
    blob = fetch(model).path.resolve()
    blob.write_bytes(bytes(blob.stat().st_size))
    with pytest.raises(UserError, match=f"is damaged .*; delete {blob} and run the same") as error:
        fetch(model)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("known", "kind"), [("cache", SAFE), ("configuration", PICKLE)])
def test_the_published_file_is_the_tag_wherever_it_lies(
    hub: HubServer,
    configure: Configure,
    files: dict[str, Path],
    tmp_path: Path,
    known: str,
    kind: str,
) -> None:
    by_tag = configure(*chosen())
    more: tuple[str, ...] = (f"model.sha256={sha256(files[kind])}",)
    if known == "cache":
        publish(hub, REPOSITORY, {kind: files[kind]})
        fetch_all(by_tag)
        more = ()
    else:
        by_tag = configure(*chosen(), *more)
    path = tmp_path / f"mine{files[kind].suffix}"
    shutil.copy(files[kind], path)
    hub.close()
    for key in ("local", "checkpoint"):
        config = configure(*chosen(), f"model.{key}={path}", *more)
        assert (config.model.local, config.model.checkpoint) == (str(path), None)
        assert names(config) == names(by_tag) and variant(config) == variant(by_tag)
        run = Bare()
        pretrained_model(config, run)  # type: ignore[arg-type]
        assert run.facts["weights"]["sha256"] == sha256(path)
    other = tmp_path / "other.safetensors"
    save_file(state_of_tiny() | {"logit_scale": torch.tensor(1.0)}, other)
    with pytest.raises(UserError, match=r"is not the file of .*=here of tiny-vit .*checkpoint="):
        configure(*chosen(), f"model.local={other}", *more)
    own = configure(*chosen(), f"model.checkpoint={other}", *more)
    assert own.model.checkpoint == str(other) and "checkpoint=" in variant(own)
    assert not set(names(own)) & set(names(by_tag))


def test_the_papers_models_from_a_file_are_no_departure(
    configure: Configure, files: dict[str, Path]
) -> None:
    path = files[SAFE]
    by_tag = configure("task=clip", "model=RN50")
    more = (f"model.checkpoint={path}", f"model.sha256={sha256(path)}")
    by_file = configure("task=clip", "model=RN50", *more)
    assert names(by_file) == names(by_tag) and variant(by_file) == ""


def test_a_file_that_nothing_is_known_of_is_not_believed(
    hub: HubServer, configure: Configure, files: dict[str, Path]
) -> None:
    path = files[SAFE]
    for overrides, message in (
        ((f"model.local={path}",), r"nothing here tells what the file of .* model\.sha256=HEX"),
        (("model.local=none.safetensors",), r"model\.local=none\.safetensors: no such file"),
        ((f"model.local={path}", f"model.checkpoint={path}"), "give one of the two"),
        (("model.sha256=12ab",), r"model\.sha256=12ab: must be whole, 64 digits"),
        (("model.revision=main",), r"model\.revision=main: must be whole, 40 digits"),
    ):
        with pytest.raises(UserError, match=message) as error:
            configure(*chosen(), *overrides)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"are given by model\.checkpoint="):
        configure("task=clip", f"model.local={path}")
    assert "checkpoint=" in variant(configure(*chosen(), f"model.checkpoint={path}"))
    assert hub.requests == []


def test_a_pinned_commit_and_digest_are_what_is_fetched(
    hub: HubServer, configure: Configure, files: dict[str, Path]
) -> None:
    old, new = commit_of("old"), commit_of("new")
    commits: dict[str, dict[str, bytes | Path]] = {
        old: {SAFE: files[SAFE]},
        new: {SAFE: b"another file"},
    }
    hub.add(Repository(REPOSITORY, "model", commits, {"main": new}))
    pinned = configure(*chosen(), f"model.revision={old}")
    assert fetch(pinned.model)[1:] == (old, sha256(files[SAFE]))
    assert names(pinned)[0] != names(configure(*chosen()))[0]
    assert f"model.revision={old}" in variant(pinned)
    with pytest.raises(UserError, match=f"is another file .*, not {'0' * 64}"):
        fetch(configure(*chosen(), f"model.sha256={'0' * 64}").model)


def test_what_is_pinned_of_one_tag_is_not_of_another(configure: Configure) -> None:
    config = configure("task=clip", "model=ViT-B-32")
    assert config.model.revision and config.model.sha256 and variant(config) == ""
    other = configure("task=clip", "model=ViT-B-32", "model.weights=laion400m_e32")
    assert other.model.revision is None and other.model.sha256 is None
    assert variant(other) == "model.weights=laion400m_e32"


@pytest.mark.parametrize("way", ["refused", "silent", "missing", "offline"])
def test_without_the_hub_the_line_says_what_to_place(
    hub: HubServer, configure: Configure, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "refused":
        point_to(monkeypatch, HubServer.closed_port_url())
    elif way == "silent":
        monkeypatch.setattr(downloads, "SILENCE", 0.2)
        hub.behaviour = Behaviour(silent=True)
    elif way == "missing":
        publish(hub, REPOSITORY, {"README.md": b"words"})
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as error:
        fetch_all(configure(*chosen()))
    text = str(error.value)
    assert "\n" not in text and ("HF_HUB_OFFLINE=1" in text) == (way == "offline")
    for part in (
        "the weights here of tiny-vit cannot be fetched",
        f"get {SAFE} of https://huggingface.co/{REPOSITORY}",
        f"model.local=FOLDER/{SAFE}",
        "model=SmallCLIP",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (
            {"hf_hub": "timm/vit.openai/", "url": "https://x/y.pt"},
            Source("https://huggingface.co/timm/vit.openai", (SAFE, PICKLE), "timm/vit.openai"),
        ),
        (
            {"hf_hub": "a/b/c.bin"},
            Source("https://huggingface.co/a/b", ("c.safetensors", "c.bin"), "a/b"),
        ),
        ({"hf_hub": "a/b/c.pt"}, Source("https://huggingface.co/a/b", ("c.pt",), "a/b")),
        ({"url": "https://x/there/y.pt"}, Source("https://x/there", ("y.pt",), None)),
        ({}, None),
    ],
)
def test_where_weights_are_published(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tag: dict[str, str], expected: Source
) -> None:
    import open_clip

    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: tag)
    assert source(configure("task=clip", "model=RN50").model) == expected


def test_a_tag_that_is_not_on_the_hub_has_an_address(
    hub: HubServer, configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OpenAI's addresses tell the SHA-256 of the file."""
    from open_clip import pretrained

    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    url = hub.add_file(f"clip/{digest}/tiny.pt", content)
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", {"here": {"url": url}})
    monkeypatch.setattr(checkpoints, "_CACHE", tmp_path / "clip")
    model = configure(*chosen()).model
    assert fetch(model) == (tmp_path / "clip" / "tiny.pt", None, digest)
    hub.clear()
    assert fetch(model).sha256 == digest and hub.requests == []
    copy = tmp_path / "copy.pt"
    copy.write_bytes(content)
    assert configure(*chosen(), f"model.checkpoint={copy}").model.local == str(copy)
    (tmp_path / "clip" / "tiny.pt").write_bytes(b"other")
    with pytest.raises(UserError, match=r"damaged or exchanged: delete .*clip/tiny\.pt"):
        fetch(model)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_program_is_not_run_and_the_right_file_is_named(
    configure: Configure, tmp_path: Path
) -> None:
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(path)
    model = configure("task=clip", "model=ViT-B-32").model
    with pytest.raises(UserError) as error:
        put_file(torch.nn.Linear(2, 2), path, model)
    text = str(error.value)
    page = "https://huggingface.co/timm/vit_base_patch32_clip_224.openai"
    assert f"{path}: is TorchScript" in text and f"get {SAFE} of {page} instead" in text
    assert "weights_only" not in text and "\n" not in text


def words() -> dict[str, bytes]:
    """Return the files of a tokenizer of transformers, as SigLIP's repositories have them."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = {"[PAD]": 0, "[UNK]": 1, "a": 2, "photo": 3, "cat": 4}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    return {
        "tokenizer.json": tokenizer.to_str().encode(),
        "tokenizer_config.json": json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", **special}
        ).encode(),
        "special_tokens_map.json": json.dumps(special).encode(),
        "open_clip_model.safetensors": b"not for the tokenizer",
    }


def of_transformers(monkeypatch: pytest.MonkeyPatch, **text: Any) -> None:
    """Let the text side of tiny-siglip be one of transformers."""
    from open_clip import factory

    described = ARCHITECTURES["tiny-siglip"]
    own = {"context_length": 6, "hf_tokenizer_name": "someone/words"}
    changed = {**described, "text_cfg": {**described["text_cfg"], **own, **text}}
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny-siglip", changed)


def test_a_tokenizer_of_the_hub_is_fetched_once(
    hub: HubServer, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    from open_clip.tokenizer import HFTokenizer

    of_transformers(monkeypatch, tokenizer_kwargs={"clean": "canonicalize"})
    publish(hub, "someone/words", words())
    model = configure(*chosen("tiny-siglip")).model
    lines = ["a photo", "A photo, of a cat"]
    found = make_tokenizer(model)(lines)
    asked = {request.path.rpartition("/")[2] for request in hub.requests}
    assert "tokenizer.json" in asked and SAFE not in asked
    expected = HFTokenizer("someone/words", context_length=6, clean="canonicalize")(lines)
    assert torch.equal(found, expected) and found.tolist()[0] == [2, 3, 0, 0, 0, 0]
    hub.clear()
    assert torch.equal(make_tokenizer(model)(lines), found)
    assert hub.requests == []


def test_a_tokenizer_that_cannot_be_had_is_one_line(
    hub: HubServer, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_transformers(monkeypatch)
    model = configure(*chosen("tiny-siglip")).model
    for files, message in (
        ({"README.md": b"a"}, "someone/words has no tokenizer, only: README.md"),
        (words() | {"tokenizer.json": b"{}"}, "tokenizer of .*siglip cannot be read of .*words"),
    ):
        publish(hub, "someone/words", files)
        with pytest.raises(UserError, match=message) as error:
            make_tokenizer(model)
        assert "\n" not in str(error.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    of_transformers(monkeypatch, hf_tokenizer_name="someone/other")
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE=1 .*run `hf download someone/other`"):
        make_tokenizer(model)


def test_a_text_tower_of_transformers_is_built_from_its_description(
    hub: HubServer, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    described |= {"intermediate_size": 8, "vocab_size": 9, "max_position_embeddings": 8}
    settings = json.dumps({"model_type": "roberta", **described}).encode()
    publish(hub, "someone/tower", {"config.json": settings, "model.safetensors": b"not needed"})
    publish(hub, "someone/words", words())
    of_transformers(monkeypatch, hf_model_name="someone/tower", hf_pooler_type="mean_pooler")
    publish(hub, "someone/tiny-siglip", {SAFE: b"weights"})
    config = configure(*chosen("tiny-siglip"))
    fetch_all(config)
    assert not any("tower/resolve/main/model" in request.path for request in hub.requests)
    hub.clear()
    built: Any = build_model(config.model)
    assert built.text.transformer.config.vocab_size == 9 and hub.requests == []


def test_without_a_revision_the_commits_that_are_used_are_part_of_the_name(
    hub: HubServer, configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    of_transformers(monkeypatch)
    publish(hub, "someone/words", words())
    publish(hub, "someone/tiny-siglip", {SAFE: b"weights"})
    config = configure(*chosen("tiny-siglip"))
    assert hub.requests == []
    texts = {"texts": {"someone/words": commit_of("someone/words")}}
    expected = {"commit": commit_of("someone/tiny-siglip"), **texts}
    assert identity(config.model) == expected
    fetch_all(config)
    hub.clear()
    moved = {SAFE: b"other weights"}
    name = "someone/tiny-siglip"
    hub.add(Repository(name, "model", {"1" * 40: moved}, {"main": "1" * 40}))
    assert identity(config.model) == expected and hub.requests == []
    pinned = configure(*chosen("tiny-siglip"), f"model.revision={'1' * 40}")
    assert identity(pinned.model) == {"revision": "1" * 40}
    own = tmp_path / "own.safetensors"
    save_file({"logit_scale": torch.ones(1)}, own)
    # A file of the user's own is named by its content, under a pinned option as before.
    assert identity(configure(*chosen("tiny-siglip"), f"model.checkpoint={own}").model) == texts
    papers = configure("task=clip", "model=ViT-B-32", f"model.checkpoint={own}")
    assert papers.model.revision is not None and identity(papers.model) == {}
    assert hub.requests == []
