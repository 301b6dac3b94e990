"""Files of the hub and of other servers: the cache first, the network second.

Cached files are used without a request. Downloads go to the same cache and are resumed after an
interruption. A file is refused if its digest is not that of the server, its name or the
configuration; huggingface_hub itself only compares sizes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from experiments.external.downloads import (
    SILENCE,
    Transfer,
    Unavailable,
    bring,
    patient,
    refuse_offline,
    watched,
)
from experiments.frame.errors import UserError, one_line
from experiments.frame.files import file_digest

#: Names of files in the cache: of large ones, and of small ones.
SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")

#: Files that transformers reads besides the weights, and the kinds of tokenizers.
_SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
)
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
)
#: Weight files of a transformers model in order of preference; an index names further files.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


class HubFile(NamedTuple):
    """A file of a repository, on this machine.

    Attributes:
        path: Path of the file.
        commit: Commit of the repository; None if the cache does not have it.
        sha256: SHA-256 of the content.
    """

    path: Path
    commit: str | None
    sha256: str


class Snapshot(NamedTuple):
    """The files of a transformers model, in one local folder.

    Attributes:
        folder: The folder.
        commit: Commit of the repository; None if the cache does not have it.
        weights: The weight files in the folder.
    """

    folder: Path
    commit: str | None
    weights: tuple[Path, ...]


def hub_file(
    repository: str,
    *names: str,
    revision: str | None = None,
    kind: str = "model",
    sha256: str | None = None,
) -> HubFile:
    """Return a file of a repository of the hub, from the cache or from the hub.

    Args:
        repository: ``OWNER/NAME``.
        names: Possible paths in the repository; the first that exists is used.
        revision: A commit, branch or tag; None: the main branch. A cached branch is not requested
            again.
        kind: ``model`` or ``dataset``.
        sha256: The expected SHA-256 of the content; None: as the hub says.

    Raises:
        Unavailable: If it is not in the cache and cannot be fetched.
        UserError: If its content is not as expected.
        Interrupted: If the process was asked to stop during the download.
    """
    for name in names:
        if (path := cached_file(repository, name, revision, kind, sha256)) is not None:
            return _checked(path, sha256)
    refuse_offline(f"{names[0]} of {repository}", _cache())
    for place, name in enumerate(names, start=1):
        try:
            path = watched(_endpoint(), partial(_download, repository, name, revision, kind))
            return _checked(path, sha256)
        except Unavailable as error:
            if not error.absent or place == len(names):
                raise
    raise AssertionError("a file has a name")


def cached_file(
    repository: str,
    name: str,
    revision: str | None = None,
    kind: str = "model",
    sha256: str | None = None,
) -> Path | None:
    """Return a file of the hub from the cache, or None; without a request.

    Args:
        repository: As for `hub_file`.
        name: Its path in the repository.
        revision: As for `hub_file`.
        kind: As for `hub_file`.
        sha256: SHA-256 of its content; a file with it is accepted, of any commit.
    """
    found = _hub().try_to_load_from_cache(repository, name, revision=revision, repo_type=kind)
    if isinstance(found, str):
        return Path(found)
    snapshots = _storage(repository, kind).glob(f"snapshots/*/{name}") if sha256 else ()
    return next((path for path in snapshots if path.resolve().name == sha256), None)


def cached_digest(repository: str, name: str, revision: str | None) -> str | None:
    """Return the SHA-256 of a cached file of the hub, or None; see `cached_file`."""
    path = cached_file(repository, name, revision)
    if path is None:
        return None
    blob = path.resolve()  # the name of a large file is its SHA-256
    return blob.name if SHA256.fullmatch(blob.name) else file_digest(blob)


def commit_of(repository: str, revision: str | None = None, *, ask: bool = True) -> str | None:
    """Return the current commit of a model's branch, for the identity of a run.

    Args:
        repository: ``OWNER/NAME``.
        revision: The branch or tag; None: the main branch.
        ask: Whether to ask the hub, once, if the cache does not have the commit.

    Returns:
        The commit from the cache, else from the hub; None if neither has it.
    """
    known = _storage(repository, "model") / "refs" / (revision or "main")
    if known.is_file():
        return known.read_text("utf-8").strip()
    try:
        return _told_commit(_endpoint(), repository, revision) if ask else None
    except Unavailable:  # an error follows where the files are needed
        return None


@cache
def _told_commit(endpoint: str, repository: str, revision: str | None) -> str:
    refuse_offline(f"the commit of {repository}", _cache())
    return watched(endpoint, partial(_listing, repository, revision))[1]


def hub_snapshot(repository: str, *, revision: str | None, sha256: str | None = None) -> Snapshot:
    """Return the files of a model for transformers, from the cache or from the hub.

    Weights are safetensors or, if a repository has none, a pickle that holds only tensors.

    Args:
        repository: ``OWNER/NAME``.
        revision: A commit, branch or tag; None: the main branch in the cache.
        sha256: The expected SHA-256 of a single weight file; None: as the hub says.

    Raises:
        Unavailable: If they are not in the cache and cannot be fetched.
        UserError: If the content of a file is not as expected.
        Interrupted: If the process was asked to stop during the download.
    """
    found = _cached_snapshot(repository, revision)
    if found is None:
        refuse_offline(f"the model {repository}", _cache())
        present, commit = watched(_endpoint(), partial(_listing, repository, revision))
        # The weights come last: if they are cached, so are the other files.
        for name in (name for name in _SETTINGS if name in present):
            hub_file(repository, name, revision=revision)
        chosen = next((name for name in _WEIGHTS if name in present), None)
        if chosen is None:
            raise Unavailable(f"{repository} has no file of weights: {', '.join(_WEIGHTS[::2])}")
        first = hub_file(repository, chosen, revision=revision)
        for name in _shards(first.path):
            hub_file(repository, name, revision=revision)
        found = _cached_snapshot(repository, revision)
        if found is None:
            raise Unavailable(f"{repository} has no tokenizer, only: {', '.join(sorted(present))}")
        found = found._replace(commit=found.commit or commit)
    for path in sorted(found.folder.iterdir()):
        if path in found.weights or path.name in _SETTINGS:
            _checked(path, sha256 if len(found.weights) == 1 and path in found.weights else None)
    return found


def weights_in(folder: Path) -> tuple[Path, ...]:
    """Return the weight files of a transformers model in a folder, of the best kind.

    Raises:
        UserError: If an index names a file that is not there.
    """
    chosen = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if chosen is None:
        return ()
    files = tuple(folder / name for name in _shards(chosen)) or (chosen,)
    for path in files:
        if not path.is_file():
            raise UserError(f"{path}: no such file, but {chosen.name} names it")
    return files


def _shards(path: Path) -> list[str]:
    """Return the files that an index names; empty for other files."""
    if not path.name.endswith(".index.json"):
        return []
    try:
        names = sorted(
            str(name) for name in set(json.loads(path.read_text("utf-8"))["weight_map"].values())
        )
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: is no index of weights ({one_line(error)})") from error
    for name in names:
        if Path(name).name != name:
            raise UserError(f"{path}: names {name!r}, which is no file of its folder")
    return names


def _cached_snapshot(repository: str, revision: str | None) -> Snapshot | None:
    """Return a model that is complete in the cache, or None."""
    settings = cached_file(repository, "config.json", revision)
    if settings is None:
        return None
    folder = settings.parent
    try:
        weights = weights_in(folder)
    except UserError:
        return None
    if not weights or not any((folder / name).is_file() for name in _TOKENIZERS):
        return None
    return Snapshot(folder, _commit(settings), weights)


def _checked(path: Path, sha256: str | None) -> HubFile:
    """Compare a cached file with its digest; the cache names files by their content.

    Raises:
        UserError: If it differs or is damaged.
    """
    blob = path.resolve()
    found = file_digest(blob)
    advice = f"delete {blob} and run the same command again"
    if SHA256.fullmatch(blob.name) and blob.name != found:
        raise UserError(f"{path}: is damaged (its SHA-256 is {found}, not {blob.name}); {advice}")
    if _SHA1.fullmatch(blob.name) and blob.name != _git_digest(blob):
        raise UserError(f"{path}: is damaged (git's digest of it is not {blob.name}); {advice}")
    if sha256 is not None and found != sha256:
        raise UserError(f"{path}: is another file (its SHA-256 is {found}, not {sha256}); {advice}")
    return HubFile(path, _commit(path), found)


def _git_digest(path: Path) -> str:
    """Return git's digest of a file, by which the hub names small files."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _commit(path: Path) -> str | None:
    """Return the commit in a path of the cache: .../snapshots/COMMIT/..."""
    parts = path.parts
    places = [place for place, part in enumerate(parts[:-2]) if part == "snapshots"]
    return parts[places[-1] + 1] if places else None


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _storage(repository: str, kind: str) -> Path:
    """Return the folder of a repository in the cache."""
    return _cache() / f"{kind}s--{repository.replace('/', '--')}"


def _hub() -> Any:
    """Return huggingface_hub, configured to leave error handling to the suite."""
    # Its telemetry would send further requests.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub
    from huggingface_hub.utils import logging as theirs

    theirs.set_verbosity(logging.ERROR)
    # Silence the line per request, for all names of the library's client.
    for name in ("httpx", "httpx2", "httpcore", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return huggingface_hub


def _endpoint() -> str:
    from huggingface_hub import constants

    return urlsplit(str(constants.ENDPOINT)).netloc


def _listing(repository: str, revision: str | None, transfer: Transfer) -> tuple[set[str], str]:
    """Return the names of a repository's files, and its commit."""
    transfer.name = f"the list of files of {repository}"
    hub = _hub()
    found = patient(
        lambda: hub.HfApi().model_info(repository, revision=revision, timeout=SILENCE / 2), transfer
    )
    return {file.rfilename for file in found.siblings or ()}, str(found.sha)


def _download(
    repository: str, name: str, revision: str | None, kind: str, transfer: Transfer
) -> Path:
    """Download a file into the hub's cache and return its path."""
    transfer.name = f"{name} of {repository}"
    hub = _hub()
    url = hub.hf_hub_url(repository, name, repo_type=kind, revision=revision)
    found = patient(lambda: hub.get_hf_file_metadata(url, timeout=SILENCE / 2), transfer)
    blob = _storage(repository, kind) / "blobs" / str(found.etag)
    blob.parent.mkdir(parents=True, exist_ok=True)
    headers = hub.utils.build_hf_headers()
    if urlsplit(found.location).netloc != _endpoint():
        headers.pop("authorization", None)
    digests = {"sha256": blob.name} if SHA256.fullmatch(blob.name) else {}
    bring(found.location, headers, blob, found.size, digests, transfer)
    # The library links an existing file; no content is moved.
    options = {"repo_type": kind, "revision": revision, "etag_timeout": SILENCE / 2}
    return Path(hub.hf_hub_download(repository, name, **options))


def hub_tokenizer(repository: str) -> Path:
    """Return a folder with the files that transformers reads for a tokenizer.

    Args:
        repository: ``OWNER/NAME``.

    Raises:
        Unavailable: If they are not in the cache and cannot be fetched.
        UserError: If the content of a file is not as expected.
        Interrupted: If the process was asked to stop during the download.
    """
    found = (cached_file(repository, name) for name in _TOKENIZERS)
    folder = next((path.parent for path in found if path is not None), None)
    if folder is None:
        refuse_offline(f"the tokenizer {repository}", _cache())
        present, _ = watched(_endpoint(), partial(_listing, repository, None))
        # The tokenizer's main file comes last: if it is cached, so are the other files.
        wanted = present.intersection(_SETTINGS)
        names = sorted(wanted, key=lambda name: (name in _TOKENIZERS, name))
        if not names or names[-1] not in _TOKENIZERS:
            raise Unavailable(f"{repository} has no tokenizer, only: {', '.join(sorted(present))}")
        folder = [hub_file(repository, name).path for name in names][-1].parent
    for path in sorted(folder.iterdir()):
        if path.name in _SETTINGS:
            _checked(path, None)
    return folder
