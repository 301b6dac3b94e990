"""Checks of configured weights, before anything is fetched or loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.external.hub import SHA256
from experiments.external.published import drop_pins
from experiments.fairness.sources import (
    Wanted,
    files_in,
    find_folder,
    gguf_file,
    known_digest,
    model_folder,
    wanted_of,
)
from experiments.frame.conf import read
from experiments.frame.errors import UserError

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessConfig, FairnessModel

_REPOSITORY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def unpin(config: FairnessConfig) -> None:
    """Drop the pins in ``conf/`` if another source or revision is configured."""
    keys, scorers = ("source", "revision"), read("task/fairness").scorers
    drop_pins(config.model, read(f"model/{config.model.name}"), keys)
    for name, scorer in config.task.scorers.items():
        drop_pins(scorer, scorers.get(name, {}), keys)


def check_source(model: FairnessModel) -> None:
    """Refuse an invalid source, before anything heavy is loaded.

    Raises:
        UserError: If a package, folder or file is missing or not as expected.
    """
    if model.kind != "causal_lm" and (model.local or model.sha256):
        raise UserError(
            f"model.local and model.sha256 are for models of the hub; model={model.name} is none"
        )
    if model.kind == "planted":
        return
    if model.kind == "sentences":
        if model.file is None or not Path(model.file).is_file():
            raise UserError(
                f"model.file={model.file}: no such file; one with a sentence in each line, "
                "beginning with a prompt of task.prompts"
            )
        return
    if not model.source:
        raise UserError(f"model={model.name} needs model.source")
    if model.kind == "gguf":
        gguf_file(model.source)
    else:
        check_wanted(wanted_of(model, "model"))


def check_wanted(wanted: Wanted) -> None:
    """Refuse invalid weights, without a request to the hub.

    Raises:
        UserError: If a folder has no model, a name is not one of the hub, or ``local`` cannot be
            compared with the hub's files.
    """
    key, source, _, sha256, local = wanted
    folder = find_folder(source)
    if folder is not None:
        if local is not None or sha256 is not None:
            raise UserError(
                f"{key}.local and {key}.sha256 are for a name of the hub; {key}.source={source} is "
                "a folder or a package of this machine"
            )
        model_folder(folder)
        return
    if not _REPOSITORY.fullmatch(source) or ".." in source or Path(source).exists():
        raise UserError(
            f"{key}.source={source}: no such folder or package, and no name of the hub, which is "
            "OWNER/NAME"
        )
    if sha256 is not None and not SHA256.fullmatch(sha256):
        raise UserError(f"{key}.sha256={sha256}: must be 64 digits from 0 to 9 and a to f")
    if local is not None:
        _check_local(wanted, Path(local))


def _check_local(wanted: Wanted, folder: Path) -> None:
    """Compare a folder with the known digests of the hub's files, or with the cached files.

    Raises:
        UserError: If a file differs, or nothing is known of the weights.
    """
    key, source, *_ = wanted
    if not folder.is_dir():
        raise UserError(f"{key}.local={folder}: no such folder")
    found = files_in(folder)
    for name, digest in found.digests:
        known = known_digest(wanted, found, name)
        if known is None and name in found.weights:
            one = f"or give its SHA-256, {key}.sha256=HEX, which the hub's page of the file shows"
            raise UserError(
                f"{key}.local={folder}: nothing here tells what {name} of {source} is; fetch it "
                f"once {one if len(found.weights) == 1 else 'from the hub'}"
            )
        if known is not None and known != digest:
            raise UserError(
                f"{key}.local={folder}: {name} is not that of {source} (its SHA-256 is {digest}, "
                f"not {known}); a model of your own is given by {key}.source={folder}"
            )
