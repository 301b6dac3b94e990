"""Weights of networks: fetching and loading. Weight files never run code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from experiments.cnn.backbones import SMALL, Backbone, parse
from experiments.cnn.options import is_own
from experiments.external.downloads import Unavailable, web_file
from experiments.external.hub import HubFile, hub_file
from experiments.external.published import cached_digests, pinned
from experiments.external.weight_files import (
    PREFIXES,
    check_weights,
    listed,
    load_weights,
    name_faults,
    under_prefix,
    wrong_shapes,
)
from experiments.frame.errors import UserError, one_line
from experiments.frame.files import file_digest
from experiments.images import cifar
from experiments.images.config import is_ours, pretraining_data

if TYPE_CHECKING:
    from experiments.cnn.options import CnnConfig, CnnModel

#: Names of the classifiers in the suite's and torchvision's networks.
_CLASSIFIERS = ("linear", "fc", "classifier", "heads", "head")


def class_count(weights: dict[str, Tensor], architecture: str) -> int:
    """Return the number of classes that weights are for: the rows of the classifier's last matrix.

    Args:
        weights: Tensors by name.
        architecture: As for `build_backbone`.

    Raises:
        UserError: If the architecture is unknown or the weights have no classifier.
    """
    heads = _classifiers(architecture)
    shaped = [n for n, value in weights.items() if n.endswith("weight") and value.ndim >= 2]
    # `put_weights` removes a prefix of the names.
    ways = (heads, tuple(f"{prefix}{head}" for prefix in PREFIXES for head in heads))
    found = ([name for name in shaped if name.startswith(way)] for way in ways)
    matrices = next(filter(None, found), None)
    if not matrices:
        raise UserError(
            f"the weights are not those of {architecture}: they have no classifier named "
            f"{' or '.join(head.rstrip('.') for head in heads)}, but {listed(list(weights))}"
        )
    # A user's network may use any names, in the order of its layers.
    last = matrices[-1] if is_own(architecture) else max(matrices, key=_numbered)
    return len(weights[last])


def _classifiers(architecture: str) -> tuple[str, ...]:
    """Return the possible name prefixes of the classifier's tensors."""
    if is_own(architecture):
        return ("",)
    family, name = parse(architecture)
    heads: str | tuple[str, ...] = _CLASSIFIERS
    if family == "timm":
        import timm

        known = timm.get_pretrained_cfg(name)
        heads = (known and known.classifier) or _CLASSIFIERS
    return tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))


def _numbered(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which layer 10 follows layer 9."""
    return [(int(part) if part.isdigit() else -1, part) for part in name.split(".")]


def put_weights(backbone: Backbone, weights: dict[str, Tensor]) -> None:
    """Load weights into a network; every parameter must be given.

    Args:
        backbone: The network; changed in place.
        weights: Tensors by their names in the original network. The counters of batch norms may be
            absent, as in files of before 2018.

    Raises:
        UserError: If names, number of classes or shapes are not those of the network.
    """
    # A copy knows the version of its format; torchvision's MNASNet asks for it.
    state = backbone.model.state_dict()
    architecture = backbone.architecture
    weights = under_prefix(weights, state, ("num_batches_tracked",))
    faults = name_faults(weights, state, ("num_batches_tracked",))
    if faults:
        raise UserError(f"the weights are not those of {architecture}: {'; '.join(faults)}")
    classes = class_count(weights, architecture)
    if classes != backbone.classes:
        raise UserError(
            f"the weights are for {classes} classes; this {architecture} is for {backbone.classes}"
        )
    wrong = wrong_shapes(weights, state)
    if wrong:
        stem = "conv1.weight [64, 3, 7, 7] instead of [64, 3, 3, 3]" in wrong
        note = f"; its first convolution is 3x3 up to model.size={SMALL}" if stem else ""
        raise UserError(f"the weights do not fit {architecture}: {listed(wrong)}{note}")
    state.update(weights)
    backbone.model.load_state_dict(state)


class Source(NamedTuple):
    """Where the ImageNet weights of an architecture are published.

    Attributes:
        name: Name of the weights, unique for the architecture.
        repository: Repository on the hub; None: another server.
        files: Possible file names in the repository; the first that exists is used.
        url: The address, if it is not on the hub.
    """

    name: str
    repository: str | None
    files: tuple[str, ...]
    url: str

    @property
    def page(self) -> str:
        """Web page of the weights."""
        return f"https://huggingface.co/{self.repository}" if self.repository else self.url


def find_source(architecture: str) -> Source | None:
    """Return the source of published ImageNet weights, or None if there are none.

    Args:
        architecture: ``torchvision:NAME``, for the default weights of that name, or ``timm:NAME``.

    Raises:
        UserError: If there is no such architecture.
    """
    family, name = parse(architecture)
    if family == "torchvision":
        from torchvision import models  # type: ignore[import-untyped]

        url = str(models.get_model_weights(name).DEFAULT.url)
        return Source(url.rpartition("/")[2], None, (), url)
    if family == "timm":
        import timm

        known = timm.get_pretrained_cfg(name)
        if known is not None and (known.hf_hub_id or known.url):
            own = known.hf_hub_filename
            files = (own,) if own else ("model.safetensors", "pytorch_model.bin")
            called = f"{known.architecture}.{known.tag}"
            return Source(called, known.hf_hub_id or None, files, str(known.url or ""))
    return None


def source(architecture: str) -> Source:
    """Return the source of published ImageNet weights, see `find_source`.

    Raises:
        UserError: If there are none.
    """
    found = find_source(architecture)
    if found is None:
        raise UserError(
            f"{architecture} has no ImageNet weights; give a file instead, with "
            "model.checkpoint=FILE, or model.weights=ours"
        )
    return found


def imagenet_identity(model: CnnModel) -> dict[str, str | None]:
    """Return the identity of the weights that `imagenet_file` takes; fetch nothing.

    Weights of the hub are identified by revision, else by the file's SHA-256, else by commit.

    Raises:
        UserError: If there are none.
    """
    found = source(model.architecture)
    named: dict[str, str | None] = {"weights": found.name}
    if found.repository is None:
        return named | ({"revision": model.revision} if model.revision else {})
    return named | pinned(model, found.repository)


def known_digests(model: CnnModel) -> tuple[str, ...]:
    """Return the known beginnings of the SHA-256 of ImageNet weights, without a request."""
    found = find_source(model.architecture)
    if found is None:
        return ()
    if model.sha256 is not None:
        return (model.sha256,)
    if found.repository is None:
        return tuple(_digests(found.url).values())
    return cached_digests(found.repository, found.files, model.revision)


def _digests(url: str) -> dict[str, str]:
    """Return the digest at the end of the name of a PyTorch file."""
    ending = re.search(r"-([0-9a-f]{8,64})\.pth$", url)
    return {"sha256": ending[1]} if ending else {}


def imagenet_file(model: CnnModel) -> HubFile:
    """Return the file of ImageNet weights: from this machine, a cache, or the network.

    Args:
        model: The configuration of the network and its weights.

    Raises:
        UserError: If there are none, they cannot be fetched, or the file is damaged.
        Interrupted: If the process was asked to stop during the download.
    """
    found = source(model.architecture)
    if model.local is not None:
        return HubFile(Path(model.local), None, file_digest(Path(model.local)))
    place = Path(torch.hub.get_dir()) / "checkpoints" / found.url.rpartition("/")[2]
    try:
        if found.repository is not None:
            return hub_file(
                found.repository, *found.files, revision=model.revision, sha256=model.sha256
            )
        digests = {"sha256": model.sha256} if model.sha256 else _digests(found.url)
        path = web_file(found.url, place, digests=digests)
        return HubFile(path, None, file_digest(path))
    except Unavailable as error:
        what = f"get {found.files[0]} of {found.page}" if found.repository else f"get {found.url}"
        there = "" if found.repository else f"place it at {place} or "
        raise UserError(
            f"the ImageNet weights of {model.architecture} cannot be fetched ({error.reason}); "
            f"where there is no network, {what} and {there}give model.local=FILE"
        ) from error


def imagenet_weights(architecture: str, path: Path) -> dict[str, Tensor]:
    """Read ImageNet weights from their file, under the names that the network gives them.

    Args:
        architecture: As for `source`.
        path: The file.

    Raises:
        UserError: If the file is damaged, would run code, or is not that of the architecture.
    """
    family, name = parse(architecture)
    weights = load_weights(path)
    if family == "timm":
        return check_weights(_as_timm(name, weights, path), str(path))
    # Layer names of DenseNets have one more dot in these older files.
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
    return {old.sub(r"\1\2.", key): value for key, value in weights.items()}


def _as_timm(name: str, weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return weights as timm converts them when it loads them; nothing is fetched."""
    import timm

    try:
        with torch.random.fork_rng(devices=[]):
            network = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay={"state_dict": weights}
            )
    except Exception as error:  # whatever it does not find
        raise UserError(
            f"{path}: has not the weights of timm:{name} ({one_line(error)})"
        ) from error
    found: dict[str, Tensor] = network.state_dict()
    return found


def downloads(config: CnnConfig) -> Iterator[partial[Any]]:
    """Yield what downloads each file that runs of a configuration need and this machine lacks.

    A call raises UserError if its file cannot be fetched or is not as expected, and Interrupted if
    the process was asked to stop meanwhile.
    """
    if is_ours(config):
        yield partial(cifar.fetch, pretraining_data(config))
    elif config.model.checkpoint is None:
        yield partial(imagenet_file, config.model)
    yield partial(cifar.fetch, config.dataset)
