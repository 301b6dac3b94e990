"""Sphinx configuration. Building the pages also runs every example that they show."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the checkout itself; it need not be installed

import equitune  # noqa: E402

project = "equitune"
author = "The equitune developers"
project_copyright = author
version = release = equitune.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "examples", "notebooks"]
myst_heading_anchors = 3

html_theme = "furo"
# Long commands are wrapped, not cut.
html_static_path = ["_static"]
html_css_files = ["wrap.css"]
html_title = f"equitune {release}"
html_show_sourcelink = False
html_copy_source = False

default_role = "py:obj"  # one backtick is code, and a link where the name is documented
autoclass_content = "both"  # the arguments are described at __init__
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
maximum_signature_line_length = 80

_CODE_OR_BAR = re.compile(r"``.*?``|`(?P<code>[^`]+)`|\|")


def _escape(match: re.Match[str]) -> str:
    """Escape |G|, which would be a substitution, and quote code that can be no reference."""
    code = match["code"]
    if code is None:
        return "\\|" if match[0] == "|" else match[0]
    return match[0] if code.replace(".", "_").isidentifier() and code[0] != "." else f"`{match[0]}`"


def _tidy(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make a docstring fit for Sphinx; of a constructor's, keep the arguments and errors."""
    if what == "class":
        # The docstrings of the class and of its constructor arrive one after the other.
        constructors = (inspect.getdoc(obj.__init__), inspect.getdoc(obj.__new__))
        if lines[0] in [(text or "").split("\n")[0] for text in constructors]:
            del lines[0]
    lines[:] = [_CODE_OR_BAR.sub(_escape, line) for line in lines]


def _run_examples(app: Sphinx) -> None:
    """Run the examples, so that a page never shows code that fails."""
    for path in sorted((HERE / "examples").glob("*.py")):
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_path(str(path))


def _check_api(app: Sphinx) -> None:
    """Fail if a public name is missing on the page of the library's names."""
    directives = re.findall(
        r"^\.\. (?:auto|py:)\w+:: ([\w.]+)", (HERE / "api.md").read_text(), re.M
    )
    shown = {part for name in directives for part in name.split(".")}
    missing = [name for name in equitune.__all__ if name not in shown]
    if missing:
        raise RuntimeError(f"api.md lacks public names: {', '.join(missing)}")


def setup(app: Sphinx) -> None:
    """Register the hooks above."""
    app.connect("autodoc-process-docstring", _tidy)
    app.connect("builder-inited", _run_examples)
    app.connect("builder-inited", _check_api)
