"""The jobs of a preset: which runs they would do, and what is known of these."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar, get_type_hints

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode

from experiments.frame.cli import refuse_several_presets
from experiments.frame.conf import CONF
from experiments.frame.errors import UserError
from experiments.frame.load import load_for_machines
from experiments.frame.options import AnyConfig, RunConfig
from experiments.frame.records import find_finished
from experiments.frame.runner import run_folder
from experiments.frame.stages import name_run
from experiments.frame.sweeps import without_jobs
from experiments.frame.tasks import load_task
from report.rows import committed_records
from report.runs.listing import find

if TYPE_CHECKING:
    from omegaconf import DictConfig

COMMITTED = "done (committed)"
#: Options of a run that are in no section.
_OPTIONS = {
    name
    for name, kind in get_type_hints(RunConfig).items()
    if not (isinstance(kind, TypeVar) or is_dataclass(kind))
}


class Job(NamedTuple):
    """One job of a preset.

    Attributes:
        words: What tells it from the other jobs, as on the command line.
        state: `done`, `done (committed)`, `planned`, `damaged` (its metrics are not those of its
            record) or a state of a run folder.
        reason: Why its run failed, in one line; else empty.
        unnamed: Why its run has no name here, in one line; then there is no folder, and its
            committed rows alone tell the state.
    """

    words: tuple[str, ...]
    folder: Path | None
    state: str
    reason: str = ""
    unnamed: str = ""

    @property
    def done(self) -> bool:
        """Whether its numbers are there."""
        return self.state in ("done", COMMITTED)


class Asked(NamedTuple):
    """What is asked of one job of a preset.

    Attributes:
        words: What tells it from the other jobs, as on the command line.
        config: Its configuration on this machine.
        elsewhere: That of a machine with another fast precision, where it differs.
    """

    words: tuple[str, ...]
    config: AnyConfig
    elsewhere: Sequence[AnyConfig]


def asked(words: Sequence[str], config_dir: Path | None = None) -> list[Asked]:
    """The jobs of a command line, in the order of the sweep; nothing is read and nothing is named.

    `words` follow `python run.py`; `config_dir` is run.py's `--config-dir`. Refused words are a
    UserError of one line; `experiments.frame.cli.describe` makes one line of errors by Hydra and
    OmegaConf.
    """
    with _composing(words, config_dir) as (shared, sweep):
        common = set(sweep[0]).intersection(*sweep)
        composed = _composer(shared)
        found = []
        for job in sweep:
            here, *elsewhere = load_for_machines(composed(job))
            own = tuple(word for word in job if word not in common)
            found.append(Asked(own, here, elsewhere))
        return found


def _composer(shared: Sequence[str]) -> Callable[[Sequence[str]], DictConfig]:
    """Return what composes a job as Hydra does, once for all jobs that choose the same files.

    Values are set in a copy of the composition; most jobs of a sweep differ in a value, the seed.
    """
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    parsed = cache(OverridesParser.create(config_loader=loader).parse_override)

    @cache
    def chosen(files: tuple[str, ...]) -> DictConfig:
        return compose("config", [*shared, *files])

    def composed(job: Sequence[str]) -> DictConfig:
        overrides = [parsed(word) for word in job]
        values = [each for each in overrides if _sets_value(each)]
        plain = all(each.type is OverrideType.CHANGE for each in overrides)
        if not plain or any(isinstance(each.value(), dict) for each in overrides):
            return compose("config", [*shared, *job])
        raw = deepcopy(chosen(tuple(word for word in job if not _sets_value(parsed(word)))))
        loader._apply_overrides_to_config(values, raw)
        return raw

    return composed


def jobs(
    sweep: Sequence[Asked], holds: Callable[[AnyConfig], bool] = lambda _: False
) -> Iterator[Job]:
    """Each job with what is known of its run.

    Images are read to name a run, since their checksum is a part of its identity. Where they, or
    weights, cannot be had, `holds` tells whether a job has committed rows.
    """
    committed = cache(_committed)
    lacking: list[tuple[object, object, str]] = []
    for each in sweep:
        parts = each.config.model, each.config.dataset
        # Asked for once: each try may wait for the network.
        why = next((why for *known, why in lacking if (*known,) == parts), "")
        if not why:
            try:
                yield Job(each.words, *_look(each, committed))
                continue
            except UserError as error:
                why = str(error)
                lacking.append((*parts, why))
        state = COMMITTED if holds(each.config) else "planned"
        yield Job(each.words, None, state, unnamed=why)


def _sets_value(override: Override) -> bool:
    """Whether a word sets an option of a run; a group of files, also of the user's, has no dot."""
    key = override.key_or_group
    return override.package is None and ("." in key or key in _OPTIONS)


@contextmanager
def _composing(
    words: Sequence[str], config_dir: Path | None
) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Give Hydra's own words and those of each job, while it can compose them."""
    refuse_several_presets(list(words))
    if config_dir is not None:
        if not config_dir.is_dir():
            raise UserError(f"--config-dir {config_dir}: no such folder")
        words = [f"hydra.searchpath=[{quoted(f'file://{config_dir.resolve()}')}]", *words]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield _sweep(words)


def count(words: Sequence[str]) -> int:
    """The number of jobs of a command line, without composing each."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return len(_sweep(words)[1])


def quoted(value: str | Path) -> str:
    """The value, in quotes where Hydra's command line would not take it for text."""
    text = str(value)
    if re.fullmatch(r"[A-Za-z0-9_./-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _sweep(words: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return Hydra's own words and those of each job, as its sweeper makes them."""
    loader = GlobalHydra.instance().config_loader()
    raw = loader.load_configuration("config", list(words), RunMode.MULTIRUN, from_shell=False)
    axes = [f"{key}={value}" for key, value in raw.hydra.sweeper.params.items()]
    parser = OverridesParser.create(config_loader=loader)
    overrides = parser.parse_overrides([*axes, *raw.hydra.overrides.task])
    (sweep,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    if not sweep:
        raise without_jobs(overrides)
    return list(raw.hydra.overrides.hydra), sweep


def _look(asked: Asked, committed: Callable[[str, str], set[str]]) -> tuple[Path, str, str]:
    """Find the run of a job; one of a machine with another fast precision will do as well."""
    here = _known(asked.config, committed)
    if here[1] == "planned":
        for config in asked.elsewhere:
            there = _known(config, committed)
            if there[1] in ("done", COMMITTED):
                return there
    return here


def _known(config: AnyConfig, committed: Callable[[str, str], set[str]]) -> tuple[Path, str, str]:
    task = load_task(config.task.name)
    folder = run_folder(config, name_run(task, task.stages[config.stage], config))
    found = find(folder)
    state = found.state
    if state == "done" and find_finished(folder) is None:
        state = "damaged"
    if state not in ("done", "running") and folder.name in committed(config.results, task.name):
        return folder, COMMITTED, ""
    return folder, "planned" if state == "empty" else state, found.reason


def _committed(results: str, task: str) -> set[str]:
    paths = (Path(results) / "measured" / task).glob("*.json")
    return set().union(*map(committed_records, paths))
