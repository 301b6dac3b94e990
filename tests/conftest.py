"""Shapes in the library's annotations are checked while its tests run, and only there."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("equitune", "beartype.beartype")
