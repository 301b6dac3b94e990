"""The source of a user's own module, which decides numbers as its options do."""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from experiments.frame.files import file_digest

#: This suite: its changes of numbers raise a version, and do not rename runs.
_OWN = {"equitune", "experiments", "report", "scripts", "benchmarks", "hydra_plugins", "tests"}


def source_digests(name: str) -> dict[str, str]:
    """Return the SHA-256 of a module's source, and of all that it imports from beside it, by path.

    What lies beside it are the modules in the folder that Python finds it in; of an installed
    package, the package alone. Files that the module reads when it runs are not among them.

    Args:
        name: As it is imported, ``package.module``; what is behind a colon is something in it.

    Returns:
        Digests by path from that folder, sorted; nothing for a module that is not found.
    """
    name = name.partition(":")[0]
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return {}
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return {}
    first, parts = Path(spec.origin), name.split(".")
    base = first.parents[len(parts) - (first.name != "__init__.py")]
    installed = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib", "stdlib")}
    alone = base in installed

    found, todo = dict[str, str](), [first]
    while todo:
        path = todo.pop()
        place = path.relative_to(base).as_posix()
        if place in found or path.suffix != ".py":
            continue
        found[place] = file_digest(path)
        for imported in _imports(path, base):
            top = imported.split(".")[0]
            if top not in _OWN and (top == parts[0] or not alone):
                todo.extend(_files(base, imported))
    return dict(sorted(found.items()))


def _imports(path: Path, base: Path) -> Iterator[str]:
    """Yield the names that a file imports, absolute; of ``from a import b`` also ``a.b``.

    A text that could be a module's name is one: it counts where such a module lies beside the file.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # whoever imports it will say so
        return
    package = path.parent.relative_to(base).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # As gymnasium's register and importlib are told: "package.module:Name".
            if re.fullmatch(r"[A-Za-z_][\w.]*(:\w+)?", node.value):
                yield node.value.partition(":")[0]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}".strip(".") for alias in node.names)


def _files(base: Path, name: str) -> Iterator[Path]:
    """Yield the files that importing a name runs: its packages', and its own."""
    here = base
    for part in name.split("."):
        here = here / part
        if here.with_suffix(".py").is_file():
            yield here.with_suffix(".py")
        if (here / "__init__.py").is_file():
            yield here / "__init__.py"
