"""A small stand-in for the Hugging Face hub on the loopback, for `HF_ENDPOINT`.

It speaks as much of the hub as `huggingface_hub` asks for when it reads: files and their headers,
large files on another host, names that have moved, revisions, lists of files. It also serves plain
files, and it can be told to misbehave. Every request is written down.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

Kind = Literal["model", "dataset"]

#: Files that the hub keeps in its large storage whatever their size.
LARGE_ENDINGS = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf"),
    *(".parquet", ".arrow", ".npz", ".npy", ".pkl", ".zip", ".gz", ".tar", ".model"),
)
#: Files of more bytes than this are in its large storage whatever their name.
LARGE_SIZE = 10_000_000

_CHUNK = 1 << 20
_REPOSITORY = r"([^/]+(?:/[^/]+)??)"
_RESOLVE = re.compile(rf"/(datasets/)?{_REPOSITORY}/resolve/(.+)")
_API = re.compile(rf"/api/(models|datasets)/{_REPOSITORY}(?:/(revision|tree)/(.+))?")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def commit_of(text: str) -> str:
    """Return a made-up commit, 40 hexadecimal digits."""
    return hashlib.sha1(text.encode()).hexdigest()


class Repository(NamedTuple):
    """A repository of the hub.

    Attributes:
        name: `OWNER/NAME`, or only a name.
        kind: "model" or "dataset".
        commits: The files of each commit, by their paths: bytes, or a file that holds them. The
            file must not change later.
        branches: The commit of each branch, tag or pull request ("main", "refs/pr/1").
    """

    name: str
    kind: Kind
    commits: Mapping[str, Mapping[str, bytes | Path]]
    branches: Mapping[str, str]


class Request(NamedTuple):
    """A request that came in.

    Attributes:
        method: "GET" or "HEAD".
        path: As it was sent (`%2F` stays), without what follows a question mark. Those to the
            second host start with `/cdn/`.
        status: Of the answer; 0 if there was none.
        range: The bytes asked for ("bytes=10-"), "" for all.
    """

    method: str
    path: str
    status: int
    range: str = ""


@dataclass(frozen=True)
class Behaviour:
    """How the server treats requests.

    Attributes:
        status: Answer with this status: 401, 403, 404, 503.
        error_code: The `X-Error-Code` that goes with `status`: "GatedRepo", "RepoNotFound",
            "RevisionNotFound", "EntryNotFound", or "" for none. None for the usual one:
            RepoNotFound with 401 and 404, GatedRepo with 403.
        silent: Take the request and never answer.
        cut_after: Send no byte of a file beyond this many and close the connection. Smaller files
            are whole. A client that resumes gets nothing more, unless `times` have passed.
        slow: Bytes of a file per second.
        corrupt: Files have their right size, but their last half is zeros.
        times: How many requests get `status`, `silent`, `cut_after` or `corrupt`; None for all.
        only: The paths (unquoted) that this is about, as a pattern: "*/model.safetensors",
            "/cdn/*", "/api/*". The others are treated normally.
    """

    status: int | None = None
    error_code: str | None = None
    silent: bool = False
    cut_after: int | None = None
    slow: int | None = None
    corrupt: bool = False
    times: int | None = None
    only: str = "*"


NORMAL = Behaviour()
_USUAL_CODES = {401: "RepoNotFound", 403: "GatedRepo", 404: "RepoNotFound"}


class HubServer:
    """A hub on the loopback while the context is entered.

    Attributes:
        url: What `HF_ENDPOINT` should be. Connections to it are refused after `close`.
        cdn_url: The second host, which has the large files.
    """

    def __init__(self) -> None:
        self._store = _Store()
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._behaviour, self._left = NORMAL, NORMAL.times
        self.closing = threading.Event()
        self._servers = [_Server(self, is_cdn) for is_cdn in (False, True)]
        hub, cdn = (server.server_address[1] for server in self._servers)
        self.url, self.cdn_url = f"http://127.0.0.1:{hub}", f"http://localhost:{cdn}"
        self._store.cdn_url = self.cdn_url
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            for server in self._servers
        ]

    def __enter__(self) -> HubServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the ports and every connection; a second call does nothing."""
        if self.closing.is_set():
            return
        self.closing.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            if thread.is_alive():
                server.shutdown()
            server.server_close()
            server.close_connections()

    @staticmethod
    def closed_port_url() -> str:
        """Return a URL where connections are refused as long as this process lives."""
        return f"http://127.0.0.1:{_closed_port().getsockname()[1]}"

    def add(self, repository: Repository, *aliases: str) -> None:
        """Add a repository, or replace the one of its name.

        Args:
            repository: The repository.
            aliases: Former names of it, which are redirected ("gpt2").
        """
        self._store.add(repository, aliases)

    def add_file(self, path: str, content: bytes | Path) -> str:
        """Serve a plain file under `/files/` and return its URL."""
        self._store.plain[path] = _stored(content)
        return f"{self.url}/files/{quote(path)}"

    @property
    def behaviour(self) -> Behaviour:
        """How requests are treated, from the next one on; `times` starts when it is set."""
        return self._behaviour

    @behaviour.setter
    def behaviour(self, value: Behaviour) -> None:
        with self._lock:
            self._behaviour, self._left = value, value.times

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in the order of their answers."""
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._requests.clear()

    def note(self, request: Request) -> None:
        """Write down a request."""
        with self._lock:
            self._requests.append(request)

    def towards(self, path: str) -> Behaviour:
        """Return how a path is treated."""
        behaviour = self._behaviour
        return behaviour if fnmatch.fnmatchcase(unquote(path), behaviour.only) else NORMAL

    def spend(self) -> bool:
        """Count one more disturbed request; say whether there are any left."""
        with self._lock:
            if self._left is None:
                return True
            self._left -= 1
            return self._left >= 0

    def answer(self, target: str) -> _Answer:
        """Return what a well-behaved hub answers."""
        return self._store.answer(target)


@cache
def _closed_port() -> socket.socket:
    """Hold a port without listening, so that nobody else does."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


class _File(NamedTuple):
    """Content with what the hub says about it; `oid` is for small files only."""

    content: bytes | Path
    size: int
    oid: str
    sha256: str

    def open(self) -> BinaryIO:
        return (
            io.BytesIO(self.content)
            if isinstance(self.content, bytes)
            else open(self.content, "rb")
        )

    def is_large(self, path: str) -> bool:
        return path.endswith(LARGE_ENDINGS) or self.size > LARGE_SIZE

    @property
    def pointer(self) -> bytes:
        """What Git has in place of a large file."""
        lines = "version https://git-lfs.github.com/spec/v1", f"oid sha256:{self.sha256}"
        return "\n".join([*lines, f"size {self.size}", ""]).encode()

    def blob(self, path: str) -> str:
        """Return the name that Git has for it."""
        if not self.is_large(path):
            return self.oid
        return hashlib.sha1(b"blob %d\0" % len(self.pointer) + self.pointer).hexdigest()


def _stored(content: bytes | Path) -> _File:
    if isinstance(content, bytes):
        return _digested(content, len(content))
    about = content.stat()
    return _read_once(content, about.st_size, about.st_mtime_ns)


@cache
def _read_once(path: Path, size: int, changed: int) -> _File:
    return _digested(path, size)


def _digested(content: bytes | Path, size: int) -> _File:
    """Compute both names of a file."""
    oid, sha256 = hashlib.sha1(b"blob %d\0" % size), hashlib.sha256()
    with _File(content, size, "", "").open() as stream:
        while chunk := stream.read(_CHUNK):
            sha256.update(chunk)
            if size <= LARGE_SIZE:
                oid.update(chunk)
    return _File(content, size, oid.hexdigest(), sha256.hexdigest())


class _Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: _File | bytes = b""


def _error(status: int, code: str, message: str, **headers: str) -> _Answer:
    named = {"X-Error-Code": code} if code else {}
    named |= {"X-Error-Message": message, "Content-Type": "application/json"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return _Answer(status, named, json.dumps({"error": message}).encode())


def _found(value: object) -> _Answer:
    return _Answer(200, {"Content-Type": "application/json"}, json.dumps(value).encode())


class _Repo(NamedTuple):
    """A repository whose files have been read."""

    name: str
    kind: Kind
    commits: dict[str, dict[str, _File]]
    branches: dict[str, str]

    def split(self, words: str) -> tuple[str, str]:
        """Split `REVISION/PATH`; branches may have slashes."""
        for branch in sorted(self.branches, key=len, reverse=True):
            if words == branch or words.startswith(f"{branch}/"):
                return branch, words[len(branch) + 1 :]
        revision, _, path = words.partition("/")
        return revision, path

    def commit(self, revision: str) -> str | None:
        """Return the commit of a branch, a commit or the start of one (seven digits at least)."""
        if revision in self.branches:
            return self.branches[revision]
        if revision in self.commits:
            return revision
        matching = [commit for commit in self.commits if commit.startswith(revision)]
        return matching[0] if len(revision) >= 7 and len(matching) == 1 else None


class _Store:
    """What the hub has."""

    def __init__(self) -> None:
        self.cdn_url = ""
        self.plain: dict[str, _File] = {}
        self.large: dict[str, _File] = {}
        self.repositories: dict[tuple[str, str], _Repo] = {}
        self.aliases: dict[tuple[str, str], str] = {}

    def add(self, repository: Repository, aliases: tuple[str, ...]) -> None:
        name, kind, commits, branches = repository
        read = {
            commit: {path: _stored(content) for path, content in sorted(files.items())}
            for commit, files in commits.items()
        }
        self.large |= {
            file.sha256: file
            for files in read.values()
            for path, file in files.items()
            if file.is_large(path)
        }
        self.aliases |= {(kind, alias): name for alias in aliases}
        self.repositories[kind, name] = _Repo(name, kind, read, dict(branches))

    def answer(self, target: str) -> _Answer:
        path = urlsplit(target).path
        if path.startswith("/files/"):
            return _plain(self.plain.get(unquote(path.removeprefix("/files/"))))
        if path.startswith("/cdn/"):
            return _plain(self.large.get(path.split("/")[2]))
        if match := _API.fullmatch(path):
            return self._inside(match, target, match[1][:-1], self._api)
        if match := _RESOLVE.fullmatch(path):
            kind = "dataset" if match[1] else "model"
            return self._inside(match, target, kind, self._resolve)
        return _error(404, "", "Not found")

    def _inside(
        self,
        match: re.Match[str],
        target: str,
        kind: str,
        answer: Callable[[_Repo, re.Match[str], str], _Answer],
    ) -> _Answer:
        """Answer a request that is about a repository."""
        if moved := self.aliases.get((kind, match[2])):
            return _Answer(
                307, {"Location": target[: match.start(2)] + moved + target[match.end(2) :]}
            )
        repo = self.repositories.get((kind, match[2]))
        if repo is None:
            return _error(404, "RepoNotFound", "Repository not found")
        return answer(repo, match, target)

    def _resolve(self, repo: _Repo, match: re.Match[str], target: str) -> _Answer:
        revision, path = repo.split(unquote(match[3]))
        commit = repo.commit(revision)
        if commit is None:
            return _no_revision(revision)
        file = repo.commits[commit].get(path)
        if file is None:
            return _error(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
        headers = {"X-Repo-Commit": commit}
        if not file.is_large(path):
            return _Answer(200, headers | {"ETag": f'"{file.oid}"'}, file)
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.sha256}"'}
        location = f"{self.cdn_url}/cdn/{file.sha256}/{quote(path)}"
        return _Answer(302, headers | {"Location": location, "ETag": f'"{file.sha256}"'})

    def _api(self, repo: _Repo, match: re.Match[str], target: str) -> _Answer:
        revision, folder = repo.split(unquote(match[4] or "main"))
        commit = repo.commit(revision)
        if commit is None:
            return _no_revision(revision)
        query = {
            name: values[-1].lower() == "true"
            for name, values in parse_qs(urlsplit(target).query).items()
        }
        if match[3] != "tree":
            return _found(_information(repo, commit, query.get("blobs", False)))
        entries = list(_entries(repo.commits[commit], folder, query.get("recursive", False)))
        if folder and not entries:
            return _error(404, "EntryNotFound", f"{folder} does not exist", X_Repo_Commit=commit)
        return _found(entries)


def _plain(file: _File | None) -> _Answer:
    if file is None:
        return _error(404, "", "Not found")
    return _Answer(200, {"ETag": f'"{file.sha256}"'}, file)


def _no_revision(revision: str) -> _Answer:
    return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")


def _information(repo: _Repo, commit: str, blobs: bool) -> dict[str, Any]:
    siblings: list[dict[str, Any]] = []
    for path, file in repo.commits[commit].items():
        siblings.append({"rfilename": path})
        if blobs:
            siblings[-1] |= {"size": file.size, "blobId": file.blob(path)}
        if blobs and file.is_large(path):
            siblings[-1]["lfs"] = _large(file, "sha256")
    date = "2024-01-01T00:00:00.000Z"
    return {
        **{"_id": commit[:24], "id": repo.name, "author": repo.name.partition("/")[0]},
        **({"modelId": repo.name} if repo.kind == "model" else {}),
        **{"sha": commit, "private": False, "gated": False, "disabled": False},
        **{"tags": [], "downloads": 0, "likes": 0, "lastModified": date, "createdAt": date},
        "siblings": siblings,
    }


def _entries(files: Mapping[str, _File], folder: str, recursive: bool) -> Iterator[dict[str, Any]]:
    """List the files and folders in a folder, or below it."""
    seen: set[str] = set()
    start = f"{folder}/" if folder else ""
    for path, file in files.items():
        parts = path.removeprefix(start).split("/")
        if not path.startswith(start):
            continue
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            above = start + "/".join(parts[:depth])
            if above not in seen:
                seen.add(above)
                yield {"type": "directory", "oid": commit_of(above), "size": 0, "path": above}
        if recursive or len(parts) == 1:
            lfs = {"lfs": _large(file, "oid")} if file.is_large(path) else {}
            about = {"type": "file", "oid": file.blob(path), "size": file.size, "path": path}
            yield about | lfs


def _large(file: _File, name: str) -> dict[str, Any]:
    return {name: file.sha256, "size": file.size, "pointerSize": len(file.pointer)}


class _Server(ThreadingHTTPServer):
    """One of the two hosts."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hub: HubServer, is_cdn: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.is_cdn = hub, is_cdn
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End those that clients keep for later, and those with a request in progress."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave out that a client went away, or that its connection was closed here."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        """Say nothing: the requests are in `HubServer.requests`."""

    def _note(self, status: int) -> None:
        path = urlsplit(self.path).path
        self.server.hub.note(Request(self.command, path, status, self.headers.get("Range", "")))

    def _serve(self) -> None:
        hub, path = self.server.hub, urlsplit(self.path).path
        behaviour = hub.towards(path)
        if behaviour.silent and hub.spend():
            self._note(0)
            hub.closing.wait()
            self.close_connection = True
        elif behaviour.status is not None and hub.spend():
            code = behaviour.error_code
            code = _USUAL_CODES.get(behaviour.status, "") if code is None else code
            self._send(_error(behaviour.status, code, "The test says so"))
        elif self.server.is_cdn != path.startswith("/cdn/"):
            self._send(_error(404, "", "Not found"))
        else:
            self._send(hub.answer(self.path))

    def _send(self, answer: _Answer) -> None:
        body = answer.body
        if isinstance(body, _File):
            self._send_file(body, answer.headers)
            return
        self._start(answer.status, answer.headers | {"Content-Length": str(len(body))})
        if self.command == "GET":
            self.wfile.write(body)

    def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self._note(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_file(self, file: _File, headers: dict[str, str]) -> None:
        part = _part(self.headers.get("Range"), file.size)
        if part is not None and part.start >= file.size:
            empty = {"Content-Range": f"bytes */{file.size}", "Content-Length": "0"}
            self._start(416, headers | empty)
            return
        wanted = range(file.size) if part is None else part
        headers |= {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        headers["Content-Length"] = str(len(wanted))
        if part is not None:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
        self._start(200 if part is None else 206, headers)
        if self.command == "GET":
            self._write(file, wanted)

    def _write(self, file: _File, wanted: range) -> None:
        """Send some bytes of a file, as the behaviour has it."""
        hub, path = self.server.hub, urlsplit(self.path).path
        behaviour = hub.towards(path)
        stop, zeros = wanted.stop, file.size
        if behaviour.cut_after is not None and behaviour.cut_after < stop and hub.spend():
            stop, self.close_connection = behaviour.cut_after, True
        if behaviour.corrupt and hub.spend():
            zeros = file.size // 2
        with file.open() as stream:
            stream.seek(wanted.start)
            while (place := stream.tell()) < stop:
                # Looked up each time, so that a slow answer can be hurried.
                slow = hub.towards(path).slow
                size = min(_CHUNK, stop - place, max(1, slow // 20) if slow else _CHUNK)
                chunk = stream.read(size)
                self.wfile.write(_zeroed(chunk, zeros - place))
                if not chunk or (slow and hub.closing.wait(size / slow)):
                    self.close_connection = True
                    return


def _zeroed(chunk: bytes, kept: int) -> bytes:
    """Put zeros in place of all bytes but the first ones."""
    return chunk[: max(kept, 0)].ljust(len(chunk), b"\0")


def _part(header: str | None, size: int) -> range | None:
    """Return the bytes that a `Range` asks for, None for all."""
    match = _RANGE.fullmatch(header or "")
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        return range(max(size - int(match[2]), 0), size)
    stop = min(int(match[2]) + 1, size) if match[2] else size
    return range(int(match[1]), stop)
