"""The source code of a user's module, which affects numbers like its options."""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from experiments.frame.files import file_digest

#: This suite: changes of its code raise a result version instead of renaming runs.
_SUITE = Path(__file__).resolve().parents[2]
_OWN = (
    *("equitune", "experiments", "report", "scripts", "benchmarks", "hydra_plugins", "tests"),
    "run.py",
)
_PYTHON = tuple(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib"))


class _File(NamedTuple):
    """A file that an import runs.

    Attributes:
        place: Its path relative to its folder in ``sys.path``.
        path: Its path.
    """

    place: PurePosixPath
    path: Path

    def is_installed(self) -> bool:
        return bool({"site-packages", "dist-packages"} & set(self.path.parts))

    def is_of_python(self) -> bool:
        return not self.is_installed() and any(map(self.path.is_relative_to, _PYTHON))

    def is_of_suite(self) -> bool:
        path = self.path.resolve()
        return path.is_relative_to(_SUITE) and path.relative_to(_SUITE).parts[0] in _OWN


def source_digests(name: str) -> dict[str, str]:
    """Return the SHA-256 of the source of a module, and of all modules that it imports, by path.

    Modules of Python, of this suite and of installed packages are omitted; if the module itself is
    in an installed package, that package is included. Data files are not included.

    Args:
        name: Import name, ``package.module``; a suffix after a colon is ignored.

    Returns:
        Digests by path relative to the folder in ``sys.path``, sorted; empty for a module that is
        not found.
    """
    name = name.partition(":")[0]
    files = list(_files(name))
    if files and files[-1].is_of_suite():
        return {str(files[-1].place): file_digest(files[-1].path)}
    found, todo, seen = dict[str, str](), [name], set[str]()
    while todo:
        imported = todo.pop()
        if imported in seen:
            continue
        seen.add(imported)
        of_it = imported.partition(".")[0] == name.partition(".")[0]
        for file in _files(imported):
            installed = file.is_installed() and not of_it
            if str(file.place) in found or installed or file.is_of_python() or file.is_of_suite():
                continue
            found[str(file.place)] = file_digest(file.path)
            todo.extend(_imports(file))
    return dict(sorted(found.items()))


def _imports(file: _File) -> Iterator[str]:
    """Yield the names that a file imports, absolute; of ``from a import b`` also ``a.b``.

    A string that could be a module's name is included: it counts if there is such a module.
    """
    if file.path.suffix not in SOURCE_SUFFIXES:
        return
    try:
        tree = ast.parse(file.path.read_bytes())
    except (SyntaxError, ValueError):  # importing it raises the error
        return
    package = file.place.parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # The form used by gymnasium's register and importlib: "package.module:Name".
            if re.fullmatch(r"[A-Za-z_][\w.]*(:\w+)?", node.value):
                yield node.value.partition(":")[0]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}".strip(".") for alias in node.names)


def _files(name: str) -> Iterator[_File]:
    """Yield the files that importing a name runs: those of its packages, and the module."""
    top, *parts = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        path = Path(spec.origin or "")
        if path.is_file():
            yield _File(PurePosixPath(path.name), path)
        return
    for location in spec.submodule_search_locations:
        here, place = Path(location), PurePosixPath(top)
        ways = [_File(place / "__init__.py", here / "__init__.py")]
        for part in parts:
            here, place = here / part, place / part
            endings = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)
            ways += [_File(PurePosixPath(f"{place}{end}"), Path(f"{here}{end}")) for end in endings]
            ways.append(_File(place / "__init__.py", here / "__init__.py"))
        yield from (file for file in ways if file.path.is_file())
