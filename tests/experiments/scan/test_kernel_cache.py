"""The first process to use the kernel and all later ones train to the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments.conftest import ROOT

TRAIN = """
import hashlib, logging, torch
from experiments.scan.nets.model import Seq2Seq
from experiments.scan.nets.training import Settings, Stream, make_trainer
logging.basicConfig(level=logging.INFO)
torch.manual_seed(0)
commands = [[2, 5, 1], [7, 3, 9, 4, 1], [6, 1]]
targets = [[2, 3, 1], [4, 4, 5, 6, 1], [7, 1]]
stream = Stream.pack(commands, targets, [0, 1, 2] * 10, [True, False] * 15)
trainer = make_trainer(Seq2Seq("LSTM"), Settings(dropout=0.1), "numba")
trainer.run(stream, 0, 30)
state = trainer.state_dict()
print(hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest())
"""


@pytest.mark.slow
def test_a_process_that_finds_no_cached_kernel_trains_to_the_same_bits(tmp_path: Path) -> None:
    """Without the detour over another process the two differ in the last bits after one step."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", TRAIN],
            cwd=ROOT,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        for _ in range(2)
    ]
    assert "compiling the LSTM training kernel" in runs[0].stderr
    assert "compiling" not in runs[1].stderr
    assert runs[0].stdout == runs[1].stdout
