"""Whether every command of the paper starts: full-size models from an emulated hub, cut short.

    python -m benchmarks.doors

The hub is a server of this process: real architectures, formats and names of files, random weights,
few images. Nothing leaves the machine. Needs 3 GB of disk, kept for the next time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks._door_files import CLIPS, TORCHVISION, build, publish
from experiments.frame.files import sha256
from scripts._arguments import Parser
from tests.experiments.hub_server import HubServer

ROOT = Path(__file__).resolve().parents[1]
#: One caption for each class, few images, small batches.
CLIP = ("dataset.prompts=photo", "task.max_images=8", "task.feature_batch=4", "model.sha256=null")
TUNED = (
    *("task.finetune.steps=2", "task.finetune.every=1", "task.finetune.batch_size=4"),
    *("task.training_images=16", "task.lambda_images=16", "task.max_images=20"),
)
LAMBDA = ("method=lambda_equitune", "method.lambda_net.steps=4", "task.max_images=20")
TEXT = (
    *("task.sentences=5", "task.tokens=3", "task.lambda_sentences=10", "group=man_woman"),
    "model.sha256=null",
)
PROBED = ("task.max_images=40", "task.probe.epochs=1", "seed=0", "protocol=paper")


class Door(NamedTuple):
    """One command.

    Attributes:
        name: For the table.
        words: What follows `python run.py`, or the name of a script.
        offline: Whether the network is forbidden and the hub ended.
    """

    name: str
    words: tuple[str, ...]
    offline: bool = False


def doors(files: Path) -> Iterator[Door]:
    """Return the commands, in an order in which the later ones find what the earlier have fetched.

    Args:
        files: Where `build` has put what no hub has.
    """
    words: tuple[str, ...]
    figure8 = ("experiment=figure8", *CLIP, "group=rot90")
    yield Door("prefetch of Figure 8", ("scripts/fetch.py", "figure8", "model.sha256=null"))
    for model in ("RN50", "RN101", "ViT-B-32", "ViT-B-16"):
        yield Door(f"Figure 8, {model}, all methods", (*figure8, f"model={model}"))
    reference = ("protocol=reference", "method=equizero", "model=ViT-B-32")
    yield Door("Figure 8, ViT-B-32, reference", (*figure8, *reference))
    yield Door("Figure 7, RN50", ("experiment=figure7", *CLIP, "model=RN50"))
    imagenet = (f"dataset.root={files}/imagenet", *CLIP, "group=rot90", "method=equizero")
    yield Door("Figure 4, ImageNet-V2, RN50", ("experiment=figure4", *imagenet, "model=RN50"))
    words = ("experiment=figure5a", *CLIP, *TUNED, "model=RN50")
    yield Door("Figure 5a, RN50, all methods", words)
    words = ("experiment=figure11a", *CLIP, *TUNED, "model=ViT-B-32", "method=equitune")
    yield Door("Figure 11a, ViT-B-32, equitune", words)
    yield Door("Figure 12, RN50", ("experiment=figure12", *CLIP, *LAMBDA, "model=RN50"))
    timing = ("task.timing_batch=2", "task.timing_rounds=1", "task.max_images=4", "device=cpu")
    yield Door("Table 1, RN50", ("experiment=table1", *timing, "model=RN50"))
    yield Door("prefetch of Figure 3", ("scripts/fetch.py", "figure3", "model.sha256=null"))
    yield Door("Figure 3, GPT-2 and regardv3, all arms", ("experiment=figure3", *TEXT))
    yield Door("Figure 9, equitune", ("experiment=figure9", *TEXT, "arm=fairness/equi"))
    pickle = ("task.scorers.regardv3.revision=main", "task.scorers.regardv3.sha256=null")
    yield Door(
        "regardv3 as a pickle of tensors",
        ("experiment=figure3", *TEXT, *pickle, "arm=fairness/plain"),
    )
    for model, figure in (("AlexNet", "figure11b"), ("ResNet18", "figure5b")):
        path = files / TORCHVISION[model.lower()]
        own = (f"model={model}", "model.weights=imagenet", "model.size=224")
        given = (f"model.local={path}", f"model.sha256={sha256(path)}")
        words = (f"experiment={figure}", *own, *given, *PROBED, "arm=cnn/equitune,cnn/lambda")
        yield Door(f"{figure}, {model} of torchvision, a local file", words)
    yield Door("Figure 8 again, all done", (*figure8, "model=ViT-B-32"), offline=True)
    words = (*figure8, "model=ViT-B-32", "seed=1", "method=equizero")
    yield Door("Figure 8, another seed, no network", words, offline=True)
    words = ("experiment=figure3", *TEXT, "seed=1", "arm=fairness/equi")
    yield Door("Figure 3, another seed, no network", words, offline=True)


#: Run by a process of its own: fetches a file, asks for it again, and hashes it without us.
_TRANSFER = """
import hashlib, sys, time
from experiments.frame.files import sha256
from experiments.external.hub import hub_file

def timed(work):
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun

name, file = sys.argv[1:]
found, fetched = timed(lambda: hub_file(name, file))
_, again = timed(lambda: hub_file(name, file))
_, alone = timed(lambda: sha256(found.path))
print(f"{found.path.stat().st_size / 1e6:.0f} MB: fetched and compared {fetched:.2f} s,"
      f" the digest alone {alone:.2f} s, asked for again {again:.4f} s")
"""


class Opened(NamedTuple):
    """What a command did.

    Attributes:
        door: The command.
        status: Its exit status.
        seconds: Wall.
        requests: What the hub was asked.
        lines: What it wrote on stderr.
        last: The last of them.
    """

    door: Door
    status: int
    seconds: float
    requests: int
    lines: int
    last: str


def open_door(door: Door, hub: HubServer, results: Path, environment: Mapping[str, str]) -> Opened:
    """Run a command to its end.

    Args:
        door: The command.
        hub: Answers it.
        results: The results folder.
        environment: Of the process.
    """
    script = door.words[0].startswith("scripts/")
    own = () if script else ("run.py", "logger=none", f"results={results}")
    begun, before = time.monotonic(), len(hub.requests)
    done = subprocess.run(
        [sys.executable, *own, *door.words],
        cwd=ROOT,
        env={**environment, **({"HF_HUB_OFFLINE": "1"} if door.offline else {})},
        capture_output=True,
        text=True,
    )
    lines = done.stderr.strip().splitlines()
    seconds, asked = time.monotonic() - begun, len(hub.requests) - before
    return Opened(door, done.returncode, seconds, asked, len(lines), lines[-1] if lines else "")


def table(opened: Sequence[Opened]) -> str:
    """Return the table, in Markdown.

    Args:
        opened: What the commands did.
    """
    lines = ["| door | outcome | seconds | requests | lines |", "|---|---|---|---|---|"]
    for found in opened:
        outcome = "works" if found.status == 0 else f"**{found.status}**: {found.last}"
        numbers = f"{found.seconds:.0f} | {found.requests} | {found.lines}"
        lines.append(f"| {found.door.name} | {outcome} | {numbers} |")
    return "\n".join(lines)


def main() -> int:
    """Open all doors; the exit status is 1 if one does not open."""
    parser = Parser(description="Open the doors to the paper's models.")
    parser.add_argument("--files", type=Path, default=Path(tempfile.gettempdir()) / "doors")
    parser.add_argument("--only", default="", help="doors whose name contains this")
    chosen = parser.parse_args()
    build(chosen.files)
    opened = []
    with tempfile.TemporaryDirectory() as made, HubServer() as hub:
        publish(hub, chosen.files)
        home = Path(made)
        environment = {
            **os.environ,
            **{"HOME": made, "HF_HOME": made, "TORCH_HOME": made, "HF_ENDPOINT": hub.url},
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        words = (CLIPS["ViT-B-32"][1], "open_clip_model.safetensors")
        own = {**environment, "HF_HOME": str(home / "alone")}
        subprocess.run([sys.executable, "-c", _TRANSFER, *words], cwd=ROOT, env=own, check=True)
        for door in doors(chosen.files):
            if chosen.only not in door.name:
                continue
            if door.offline:
                hub.close()
            opened.append(open_door(door, hub, home / "results", environment))
            print(table(opened[-1:]).splitlines()[-1], flush=True)
    print()
    print(table(opened))
    return int(any(found.status for found in opened))


if __name__ == "__main__":
    sys.exit(main())
