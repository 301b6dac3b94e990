"""Transformers networks and their tokenizers, loaded from files without running their code."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from experiments.external.weight_files import listed, unpickle
from experiments.fairness.sources import Files
from experiments.frame.errors import UserError, one_line

#: Configuration files that may refer to code.
_MAY_NAME_CODE = ("config.json", "tokenizer_config.json")


class Pretrained(NamedTuple):
    """A network and its tokenizer.

    Attributes:
        network: The network in evaluation mode, in float32, on the CPU.
        tokenizer: Its tokenizer.
    """

    network: Any
    tokenizer: Any


def load_pretrained(kind: str, files: Files, origin: str, unused: str = "") -> Pretrained:
    """Load a transformers network.

    Args:
        kind: The class of transformers that chooses the network's: ``AutoModel``.
        files: Its files.
        origin: The key and the source, for messages.
        unused: The beginning of the names of weights that may be missing, as nobody uses them.

    Raises:
        UserError: If the files name code, are damaged, lack weights, or hold numbers that are not
            finite.
    """
    _refuse_code(files, origin)
    with _alone(files) as folder:
        try:
            network, tokenizer, told = _read(kind, folder, files.weights[0])
        except Exception as error:  # a user's files may raise anything
            for name in files.weights:
                if name.endswith(".bin"):
                    unpickle(files.folder / name)  # raises a clearer error
            known = isinstance(error, (OSError, ValueError))
            reason = one_line(error) if known else f"{type(error).__name__}: {one_line(error)}"
            reason = reason.replace(folder, str(files.folder))
            raise UserError(f"{origin} cannot be loaded from {files.folder} ({reason})") from error
    _refuse_incomplete(tokenizer, told, files, origin, unused)
    _refuse_infinite(network, files, origin)
    return Pretrained(network.eval(), tokenizer)


def _read(kind: str, folder: str, weights: str) -> tuple[Any, Any, dict[str, Any]]:
    """Return the network, the tokenizer, and the loading report of transformers.

    Raises:
        Exception: Any error of transformers.
    """
    import transformers

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    more: dict[str, Any] = {}
    if weights.endswith(".gguf"):
        options["gguf_file"] = weights
    else:
        more = {"use_safetensors": weights.endswith(".safetensors"), "weights_only": True}
    with _quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        network, told = getattr(transformers, kind).from_pretrained(
            folder,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported, and refused by the caller
            **options,
            **more,
        )
    return network, tokenizer, told


@contextlib.contextmanager
def _alone(files: Files) -> Iterator[str]:
    """Yield a folder with only these files, as transformers would read others, too.

    The hashed files then decide the network.
    """
    with TemporaryDirectory(prefix="equitune-") as folder:
        for name, _ in files.digests:
            (Path(folder) / name).symlink_to((files.folder / name).resolve())
        yield folder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep bars and warnings of transformers from the terminal while the body runs."""
    from transformers.utils import logging as theirs

    before = theirs.get_verbosity()
    theirs.set_verbosity(logging.ERROR)
    try:
        # Bars, of which no setting hides that of .gguf; what we log goes to the stream of before.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        theirs.set_verbosity(before)


def _refuse_code(files: Files, origin: str) -> None:
    """Refuse settings that refer to code: a transformers network of that name may differ."""
    for name, _ in files.digests:
        if name not in _MAY_NAME_CODE:
            continue
        path = files.folder / name
        try:
            settings = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: is no JSON ({one_line(error)})") from error
        if not isinstance(settings, dict):
            raise UserError(f"{path}: is no JSON object")
        kernels = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
        entries = [name for name in kernels if "/" in str(settings.get(name, ""))]
        entries += ["auto_map"] if "auto_map" in settings else []
        if entries:
            entry = entries[-1]
            key = origin.partition("=")[0]
            raise UserError(
                f"{origin}: {path} asks for code of its own ({entry}), and no code of a model is "
                "run; where transformers knows the model without it, remove that entry in a copy "
                f"of the folder and give {key}=COPY"
            )


def _refuse_incomplete(
    tokenizer: Any, told: dict[str, Any], files: Files, origin: str, unused: str
) -> None:
    """Refuse missing weights or words; transformers would use random or unknown ones."""
    absent = [name for name in told["missing_keys"] if not (unused and name.startswith(unused))]
    if absent:
        raise UserError(f"{origin}: {files.folder} has no weights for {listed(sorted(absent))}")
    other = sorted(str(found[0]) for found in told["mismatched_keys"])
    if other:
        raise UserError(f"{origin}: {files.folder} has weights of other shapes for {listed(other)}")
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UserError(f"{origin}: {files.folder} has no tokenizer, tokenizer.json for instance")


def _refuse_infinite(network: Any, files: Files, origin: str) -> None:
    """Refuse weights that are not finite, as all their outputs would not be finite either."""
    bad = [name for name, value in network.named_parameters() if not value.isfinite().all()]
    if bad:
        raise UserError(f"{origin}: {files.folder} has weights that are not finite: {listed(bad)}")
