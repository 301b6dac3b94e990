"""The checksums of the committed rows, in a file that `sha256sum --check` reads too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from experiments.frame.errors import UserError
from experiments.frame.files import sha256, text_lines, write_text

NAME = "SHA256SUMS"


def read(measured: Path) -> dict[str, str]:
    """The checksums of files by their path in `results/measured`; none without the file.

    A line that is no checksum and path is a ValueError of one line.
    """
    path, found = measured / NAME, {}
    if not path.is_file():
        return {}
    try:
        lines = text_lines(path)
    except UserError as error:
        raise ValueError(str(error)) from None
    for number, line in enumerate(lines, 1):
        digest, blank, name = line.partition("  ")
        if len(digest) != 64 or not blank or not name:
            raise ValueError(f"{path}:{number}: not a SHA-256, two spaces and a path")
        found[name] = digest
    return found


def note(measured: Path, files: Iterable[Path]) -> None:
    """Write down the checksums of files, beside those of others that are still there."""
    known = {name: digest for name, digest in read(measured).items() if (measured / name).is_file()}
    known |= {path.relative_to(measured).as_posix(): sha256(path) for path in files}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(known.items()))
    write_text(measured / NAME, lines)


def changed(measured: Path, task: str) -> Iterator[Path]:
    """Yield the files of a task whose content is not the one that was written down."""
    for name, digest in read(measured).items():
        path = measured / name
        if name.startswith(f"{task}/") and path.is_file() and sha256(path) != digest:
            yield path
