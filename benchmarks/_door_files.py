"""The paper's models with random weights and small data, in the files that the hub has of them."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import save_file

from experiments.frame.conf import CONF
from tests.experiments.hub_server import HubServer, Kind, Repository, commit_of

#: The hub's repositories of OpenAI's weights, by the names of models here and of open_clip.
CLIPS = {
    "RN50": ("RN50", "timm/resnet50_clip.openai"),
    "RN101": ("RN101", "timm/resnet101_clip.openai"),
    "ViT-B-32": ("ViT-B-32", "timm/vit_base_patch32_clip_224.openai"),
    "ViT-B-16": ("ViT-B-16", "timm/vit_base_patch16_clip_224.openai"),
}
#: Files of torchvision; their names hold the digest of the real ones.
TORCHVISION = {"alexnet": "alexnet.pth", "resnet18": "resnet18.pth"}
CIFAR = {"uoft-cs/cifar100": ("cifar100", 100), "uoft-cs/cifar10": ("plain_text", 10)}
#: Images of each class of CIFAR, by split.
EACH = {"train": 20, "test": 4}
#: Tokens of GPT-2.
_GPT2_SIZE = 50257


def revision(option: str, key: str = "revision") -> str | None:
    """Return what a file of conf/ says of a model: the commit of the hub that it takes."""
    found = OmegaConf.select(OmegaConf.load(CONF / f"{option}.yaml"), key)
    return None if found is None else str(found)


def build(folder: Path) -> None:
    """Write all files that are not there yet; a few gigabytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (architecture, _) in CLIPS.items():
        _once(folder / f"{name}.safetensors", partial(_clip, architecture=architecture))
    for name, file in TORCHVISION.items():
        _once(folder / file, partial(_vision, name=name))
    _once(folder / "gpt2", _gpt2)
    _once(folder / "regardv3", _regard)
    for name, (_, classes) in CIFAR.items():
        for split, each in EACH.items():
            path = folder / f"{name.rpartition('/')[2]}-{split}.parquet"
            _once(path, partial(_parquet, classes=classes, each=each))
    _once(folder / "imagenet" / "imagenetv2-matched-frequency.tar.gz", _imagenet)


def _once(path: Path, write: Callable[[Path], Any]) -> None:
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(f"part-{path.name}")
        write(part)
        part.rename(path)


def publish(hub: HubServer, folder: Path) -> None:
    """Put the files on a hub, at the commits that conf/ names."""

    def add(name: str, kind: Kind, files: dict[str, Path], commit: str | None, *alias: str) -> None:
        commit = commit or commit_of(name)
        hub.add(Repository(name, kind, {commit: files}, {"main": commit}), *alias)

    for name, (_, repository) in CLIPS.items():
        files = {"open_clip_model.safetensors": folder / f"{name}.safetensors"}
        add(repository, "model", files, revision(f"model/{name}"))
    whole = {path.name: path for path in (folder / "gpt2").iterdir()}
    add("openai-community/gpt2", "model", whole, revision("model/gpt2"), "gpt2")
    # Its main branch has a pickle, a pull request the same in safetensors.
    files = {path.name: path for path in (folder / "regardv3").iterdir()}
    old = {name: path for name, path in files.items() if name != "model.safetensors"}
    new = {name: path for name, path in files.items() if name != "pytorch_model.bin"}
    pinned = revision("task/fairness", "scorers.regardv3.revision") or commit_of("pull request")
    main = commit_of("regardv3")
    commits, branches = {main: old, pinned: new}, {"main": main, "refs/pr/1": pinned}
    hub.add(Repository("sasha/regardv3", "model", commits, branches))
    for name, (inside, _) in CIFAR.items():
        short = name.rpartition("/")[2]
        data = {
            f"{inside}/{split}-00000-of-00001.parquet": folder / f"{short}-{split}.parquet"
            for split in EACH
        }
        add(name, "dataset", data, revision(f"dataset/{short}"))


def _clip(path: Path, architecture: str) -> None:
    import open_clip  # type: ignore[import-untyped]

    torch.manual_seed(0)
    model = open_clip.create_model(architecture, load_weights=False, force_quick_gelu=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)


def _vision(path: Path, name: str) -> None:
    from torchvision import models  # type: ignore[import-untyped]

    torch.manual_seed(0)
    torch.save(models.get_model(name, weights=None).state_dict(), path)


def _gpt2(folder: Path) -> None:
    """GPT-2 small; its tokenizer knows the words of groups and prompts, and bytes."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel

    files = (path for kind in ("group", "dataset") for path in sorted((CONF / kind).glob("*.yaml")))
    words = {word for path in files for word in _words(path)}
    forms = sorted({form(word) for word in words for form in (str.lower, str.capitalize)})
    tokenizer = ByteLevelBPETokenizer()
    # So often that each becomes one token.
    texts = [text for form in forms for text in (form, f" {form}")]
    tokenizer.train_from_iterator(texts, vocab_size=_GPT2_SIZE, min_frequency=1)
    folder.mkdir()
    tokenizer.save_model(str(folder))
    known = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
    filler = [f"<unused{n}>" for n in range(_GPT2_SIZE - len(known) - 1)]
    vocabulary = {name: place for place, name in enumerate([*known, *filler, "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1024}')
    config = GPT2Config()
    config.save_pretrained(folder)
    torch.manual_seed(0)
    network = GPT2LMHeadModel(config).transformer.state_dict()
    # As in the hub's file: the base model's names, and the causal mask of every layer.
    mask = torch.ones(1, 1, config.n_positions, config.n_positions).tril()
    masks = {f"h.{layer}.attn.bias": mask.clone() for layer in range(config.n_layer)}
    save_file({**network, **masks}, folder / "model.safetensors", metadata={"format": "pt"})


def _words(path: Path) -> list[str]:
    found = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(found, dict)
    lists = [found.get("contexts", [])]
    lists += [*found.get("equality", {}).values(), *found.get("phrases", {}).values()]
    texts = " ".join(str(text) for texts in lists for text in texts)
    return re.findall("[A-Za-z]+", texts)


def _regard(folder: Path) -> None:
    """BERT base with the labels of regardv3, as a pickle and as safetensors."""
    from transformers import BertConfig, BertForSequenceClassification

    labels = ("negative", "neutral", "positive", "other")
    names = dict(enumerate(labels))
    config = BertConfig(id2label=names, label2id={name: place for place, name in names.items()})
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    model.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters)]
    pieces += [f"[unused{n}]" for n in range(config.vocab_size - len(pieces))]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')


def _parquet(path: Path, classes: int, each: int) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    labels = [number % classes for number in range(classes * each)]
    images = [{"bytes": _image(32, "PNG", place), "path": None} for place in range(len(labels))]
    name = "fine_label" if classes == 100 else "label"
    names = [f"thing {number}" for number in range(classes)]
    features = {"img": {"_type": "Image"}, name: {"names": names, "_type": "ClassLabel"}}
    about = json.dumps({"info": {"features": features}})
    table = pa.table({"img": images, name: labels})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), path)


def _image(side: int, kind: str, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(256, size=(side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def _imagenet(path: Path) -> None:
    """The archive of ImageNet-V2: a folder for each of 1000 classes, one image in each."""
    content = _image(64, "JPEG", 0)
    with tarfile.open(path, "w:gz") as archive:
        for number in range(1000):
            info = tarfile.TarInfo(f"imagenetv2-matched-frequency-format-val/{number}/a.jpeg")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
