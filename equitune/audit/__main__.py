"""An audit from the command line, for a network of torchvision or timm and a folder of images.

python -m equitune.audit --model torchvision:resnet18 --images FOLDER --group rot90
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import torch

from equitune.actions import Action, DihedralImage, Invariant, Mirror, Rot90, Rot180
from equitune.audit.images import Refused, find_images, label, load_network, read_batches
from equitune.audit.page import Audit
from equitune.audit.run import audit

GROUPS: dict[str, Callable[[], Action]] = {
    "rot90": Rot90,
    "rot180": Rot180,
    "mirror": Mirror,
    "dihedral": DihedralImage,
}
FACES = (".txt", ".md", ".json", ".png", ".svg", ".pdf")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one line and status 2."""
        self.exit(2, f"error: {message}\n")


def main(words: Sequence[str] | None = None) -> int:
    """Run an audit; return the exit status."""
    options = _parser().parse_args(words)
    try:
        _check(options)
        result = _audit(options)
        for path in options.out:
            _write(result, path)
    except (Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(result.text(), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m equitune.audit",
        description="How far a classifier of images is from equivariant, and which method helps.",
    )
    parser.add_argument("--model", required=True, help="torchvision:NAME or timm:NAME")
    parser.add_argument(
        "--weights", default="default", help="default, none (random), or a file; default: default"
    )
    parser.add_argument(
        "--images",
        required=True,
        type=Path,
        help="a folder of images without labels, or of one folder per class, named by index, "
        "synset or name of the class",
    )
    parser.add_argument("--group", required=True, choices=GROUPS, help="the transforms")
    parser.add_argument("--size", type=_positive, help="side of the images; default: the model's")
    parser.add_argument("--batch", type=_positive, default=32, help="images at a time; default: 32")
    parser.add_argument(
        "--chunk", type=_positive, help="transforms of a batch at a time; default: all of the group"
    )
    parser.add_argument(
        "--out",
        type=Path,
        action="append",
        default=[],
        help=f"a file to write: {', '.join(FACES)}; may be given more than once",
    )
    return parser


def _positive(word: str) -> int:
    if not word.isdecimal() or int(word) == 0:
        raise argparse.ArgumentTypeError(f"{word!r} must be a whole number above 0")
    return int(word)


def _check(options: argparse.Namespace) -> None:
    """Refuse what can be seen to be wrong before a network is loaded."""
    family, _, name = options.model.partition(":")
    if family not in ("torchvision", "timm") or not name:
        raise Refused(f"--model {options.model}: choose torchvision:NAME or timm:NAME")
    if not options.images.is_dir():
        raise Refused(f"--images {options.images}: there is no such folder")
    if options.weights not in ("default", "none") and not Path(options.weights).is_file():
        raise Refused(f"--weights {options.weights}: choose default, none or a file that exists")
    for path in options.out:
        if path.suffix not in FACES:
            raise Refused(f"--out {path}: choose a name that ends in {', '.join(FACES)}")
        if not path.absolute().parent.is_dir():
            raise Refused(f"--out {path}: there is no such folder")
        if path.suffix in FACES[3:] and find_spec("matplotlib") is None:
            raise Refused("matplotlib is needed for a picture: pip install matplotlib")


def _audit(options: argparse.Namespace) -> Audit:
    found = find_images(options.images)
    count = sum(map(len, found.values()))
    if count < 4:
        raise Refused(f"--images {options.images}: {count} images are too few, give 4 or more")
    network = load_network(options.model, options.weights, options.size)
    files = label(found, network)
    action = GROUPS[options.group]()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batches = read_batches(files, network.transform, options.batch)
    result = audit(
        network.model.to(device), batches, action, Invariant(action.group), chunk=options.chunk
    )
    kept = {"default": "", "none": " (random weights)"}
    own = kept.get(options.weights, f" ({Path(options.weights).name})")
    notes = (*result.notes, *filter(None, [files.note]))
    return replace(result, model=options.model + own, notes=notes)


def _write(result: Audit, path: Path) -> None:
    if path.suffix in FACES[3:]:
        result.picture(path)
        return
    faces = {".txt": result.text, ".md": result.markdown, ".json": result.json}
    path.write_text(faces[path.suffix](), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
