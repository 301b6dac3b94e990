"""The first processes to use the kernel and all later ones train to the same bits."""

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
from experiments.scan.nets.training import Settings, Stream
from experiments.scan.trainers import make_trainer
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
def test_processes_that_find_no_cached_kernel_train_to_the_same_bits(tmp_path: Path) -> None:
    """Without the detour over another process the two differ in the last bits after one step.

    Of two that start at once, one has the kernel compiled and the other waits for it.
    """

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", TRAIN],
            cwd=ROOT,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    together = [process.communicate() for process in (start(), start())]
    later = start().communicate()
    compilations = [log.count("compiling the LSTM training kernel") for _, log in together]
    assert sorted(compilations) == [0, 1]
    assert "compiling" not in later[1]
    (digest,) = {out.strip() for out, _ in (*together, later)}
    assert len(digest) == 64
