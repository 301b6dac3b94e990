"""The results folder of the tests of the report, and programs as a user starts them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.report.conftest import ROOT as ROOT
from tests.report.conftest import tree as tree


def ran(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python with these words, in the checkout if not elsewhere; its status is 0."""
    chosen = {"cwd": ROOT, "capture_output": True, "text": True} | options
    done = subprocess.run([sys.executable, *words], **chosen)
    assert done.returncode == 0, done.stderr
    return done
