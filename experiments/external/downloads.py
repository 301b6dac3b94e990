"""Downloads of files: resumed after an interruption, and checked against digests."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from experiments.frame import stopping
from experiments.frame.errors import Interrupted, UserError, one_line
from experiments.frame.progress import progress
from experiments.frame.stopping import locked, stop_requested

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

#: Timeout in seconds for a server that sends nothing.
SILENCE = 20.0
#: Attempts at a file if the connection breaks or the server is busy, and the pause between them.
ATTEMPTS, PAUSE = 4, 1.0
#: Status codes of a busy server.
BUSY = (408, 429, 500, 502, 503, 504)
#: Size in bytes from which a download is announced and has a progress bar.
LARGE = 2**22
#: System errors of the local disk, not of the network.
_DISK = (errno.EACCES, errno.EDQUOT, errno.EIO, errno.ENOSPC, errno.EPERM, errno.EROFS)


class Unavailable(UserError):
    """A file is missing and cannot be fetched.

    Attributes:
        reason: The reason, without advice.
        absent: Whether the server has said that there is no such file.
    """

    def __init__(self, reason: str, *, absent: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.absent = reason, absent


class Transfer:
    """Progress of a download; written by the downloading thread, read by the waiting one."""

    def __init__(self) -> None:
        self.name, self.done, self.total = "", 0, 0
        self.cancelled = False
        self.heard = time.monotonic()

    def advance(self, done: int) -> None:
        """Add received bytes.

        Raises:
            Interrupted: If no thread waits for them any more.
        """
        if self.cancelled:
            raise Interrupted("a download was given up")
        self.done, self.heard = done, time.monotonic()


def web_file(url: str, path: Path, *, digests: Mapping[str, str]) -> Path:
    """Return a file of any server; fetch it if it is missing.

    Args:
        url: The address of the file.
        path: Path of the file on this machine.
        digests: The expected beginning of the hexadecimal digest, by the name of the algorithm,
            ``sha256`` or ``md5``.

    Raises:
        Unavailable: If it is missing and cannot be fetched.
        UserError: If its content is not as expected.
        Interrupted: If the process was asked to stop during the download.
    """
    if path.is_file():
        check(path, digests, f"it was damaged or exchanged: delete {path}")
        return path
    refuse_offline(url, path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    watched(urlsplit(url).netloc, partial(_fetch, url, path, digests))
    return path


def _fetch(url: str, path: Path, digests: Mapping[str, str], transfer: Transfer) -> None:
    transfer.name = path.name
    bring(url, {}, path, None, digests, transfer)


def bring(
    url: str,
    headers: Mapping[str, str],
    path: Path,
    size: int | None,
    digests: Mapping[str, str],
    transfer: Transfer,
) -> None:
    """Download a file and check it; of several processes one does it.

    Args:
        url: The address.
        headers: Headers of the request.
        path: Path of the file; a partial file is stored beside it.
        size: Size in bytes; None: as the server says.
        digests: As for `web_file`.
        transfer: Receives the progress.
    """
    part = path.with_name(f"{path.name}.incomplete")
    with locked(path.with_name(f".{path.name}.lock"), lambda: transfer.advance(0)):
        if not path.is_file():
            part.touch()
            _fill(url, headers, part, size, transfer)
            check(part, digests, "the network or the server damaged it; run the same command again")
            os.replace(part, path)


def refuse_offline(what: str, folder: Path) -> None:
    """Refuse to fetch if the network is forbidden.

    Raises:
        Unavailable: If HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise Unavailable(f"HF_HUB_OFFLINE=1 forbids the network, and {what} is not in {folder}")


def check(path: Path, digests: Mapping[str, str], advice: str) -> None:
    """Compare a file with the beginnings of digests; remove a wrong partial file.

    Raises:
        UserError: If the content differs.
    """
    for kind, expected in digests.items():
        with open(path, "rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()[: len(expected)]
        if found != expected:
            if path.suffix == ".incomplete":
                path.unlink()
            name = path.name.removesuffix(".incomplete")
            raise UserError(
                f"{path.with_name(name)}: its {kind} is {found} and not {expected}; {advice}"
            )


#: Time of the last failure of a host, so that later jobs of a sweep do not wait for it again.
_silent: dict[str, float] = {}
#: Seconds during which such a host is not contacted again.
_REST = 300.0


def watched(host: str, work: Callable[[Transfer], ResultT]) -> ResultT:
    """Do network work in a thread, and react to signals meanwhile.

    Name resolution and waiting libraries cannot be interrupted: the thread is then abandoned and
    ends with the process.

    Raises:
        Unavailable: If nothing arrives for some time, or the host cannot be reached.
        Interrupted: If the process was asked to stop.
    """
    if time.monotonic() - _silent.get(host, -_REST) < _REST:
        raise Unavailable(f"{host} did not answer before")
    transfer, results, errors = Transfer(), list[ResultT](), list[BaseException]()

    def body() -> None:
        try:
            results.append(work(transfer))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    with contextlib.ExitStack() as stack:
        stack.callback(setattr, transfer, "cancelled", True)
        thread.start()
        for _ in _looks(thread, transfer, stack):
            if stop_requested():
                raise Interrupted(f"stopped on request while {transfer.name} was fetched")
            if time.monotonic() - transfer.heard > SILENCE:
                _silent[host] = time.monotonic()
                raise Unavailable(f"{host} did not answer for {SILENCE:.0f} seconds")
    if not errors:
        return results[0]
    explained = _explained(errors[0], host)
    if explained is None:
        raise errors[0]
    raise explained from errors[0]


def _looks(
    thread: threading.Thread, transfer: Transfer, stack: contextlib.ExitStack
) -> Iterator[None]:
    """Yield regularly until a thread ends, with a progress bar of its download."""
    bar = None
    while thread.is_alive():
        thread.join(stopping.LOOK)
        if bar is None and transfer.total >= LARGE:
            log.info("fetching %s, %.0f MB", transfer.name, transfer.total / 1e6)
            done, total = transfer.done // 10**6, transfer.total // 10**6
            bar = stack.enter_context(progress(f"fetch {transfer.name} (MB)", total, done))
        if bar is not None:
            bar.update(transfer.done // 10**6)
        yield


#: Packages whose errors come from the network.
_CLIENTS = re.compile(r"(httpx|httpcore|huggingface_hub|requests|urllib3)")


def _explained(error: BaseException, host: str) -> Unavailable | None:
    """Return the message for an error of a client or the system; None for the suite's errors."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return Unavailable(f"{host} asks for an account with access: run `hf auth login`")
    if isinstance(error, errors.RepositoryNotFoundError):
        return Unavailable(f"{host} has no such repository, or it needs `hf auth login`")
    if (status := _status(error)) == 404:
        return Unavailable(f"{host} has no such file (404)", absent=True)
    if status is not None:
        return Unavailable(f"{host} answers {status}")
    if isinstance(error, OSError) and error.errno in _DISK:
        return Unavailable(f"{error.filename or 'the disk'}: {error.strerror}")
    if not isinstance(error, OSError) and not _CLIENTS.match(type(error).__module__):
        return None
    _silent[host] = time.monotonic()
    return Unavailable(f"{host} cannot be reached: {one_line(error)}")


def _status(error: BaseException) -> int | None:
    """Return the status code of a server's answer, or None if it did not answer."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def patient(ask: Callable[[], ResultT], transfer: Transfer) -> ResultT:
    """Repeat a request while a server is busy."""
    for left in reversed(range(ATTEMPTS)):
        try:
            found = ask()
        except Exception as error:
            transfer.heard = time.monotonic()
            if _status(error) not in BUSY or not left:
                raise
            time.sleep(PAUSE)
        else:
            transfer.heard = time.monotonic()
            return found
    raise AssertionError("the last attempt returns or raises")


def _fill(
    url: str, headers: Mapping[str, str], part: Path, size: int | None, transfer: Transfer
) -> None:
    """Download the rest of a partial file; reconnect if the connection breaks."""
    left = ATTEMPTS
    while size is None or part.stat().st_size != size:
        before, reason = part.stat().st_size, None
        try:
            size = _receive(url, headers, part, size, transfer)
        except Exception as error:
            transfer.heard = time.monotonic()
            if not _may_pass(error, part):
                raise
            reason = error
        if part.stat().st_size != size:
            left = ATTEMPTS if part.stat().st_size > before else left - 1
            if not left:
                raise reason or Unavailable(f"{url}: the connection breaks again and again")
            time.sleep(PAUSE)


def _may_pass(error: Exception, part: Path) -> bool:
    """Whether another attempt may help: not if no server answered."""
    if isinstance(error, OSError) and error.errno in _DISK:
        return False
    status = _status(error)
    return part.stat().st_size > 0 if status is None else status in BUSY


def _receive(
    url: str, headers: Mapping[str, str], part: Path, size: int | None, transfer: Transfer
) -> int | None:
    """Append the server's data to a partial file; return the full size, if known.

    Raises:
        Exception: Any error of the client.
    """
    from huggingface_hub import get_session

    start = part.stat().st_size
    if size is not None and start > size:
        start = 0
    wanted = {**headers, "Accept-Encoding": "identity"}
    wanted |= {"Range": f"bytes={start}-"} if start else {}
    with get_session().stream(
        "GET", url, headers=wanted, timeout=SILENCE / 2, follow_redirects=True
    ) as response:
        if start and response.status_code == 416:  # the partial file does not belong to it
            os.truncate(part, 0)
            return size
        response.raise_for_status()
        start = start if response.status_code == 206 else 0
        told = response.headers.get("content-length")
        transfer.total = size or start + int(told or 0)
        with open(part, "ab" if start else "wb") as stream:
            transfer.advance(start)
            for chunk in response.iter_bytes():
                stream.write(chunk)
                transfer.advance(transfer.done + len(chunk))
    if size is not None:
        return size
    return part.stat().st_size if told is None else start + int(told)
