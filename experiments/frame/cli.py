"""The command line: composes a configuration with Hydra and hands it to the runner."""

from __future__ import annotations

import difflib
import itertools
import logging
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError  # type: ignore[import-untyped]

from experiments.frame.conf import CONF, choices_of, groups_of, options, read
from experiments.frame.errors import STOPPED, Interrupted, UserError, unknown
from experiments.frame.load import explain, load
from experiments.frame.methods import METHODS, PAPERS
from experiments.frame.tasks import TASKS

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from experiments.frame.options import AnyConfig
    from experiments.frame.records import FinishedRun

log = logging.getLogger(__name__)

FULL_ERROR = "HYDRA_FULL_ERROR"
#: Whether the user asked Hydra for full tracebacks.
DEBUGGING = os.environ.get(FULL_ERROR) == "1"
#: Hydra's flags, and those with a value.
_FLAGS = ("-m", "--multirun", "--resolve")
_FOLDERS = ("--config-dir", "-cd")
#: Our own flag.
_VERBOSE = ("-v", "--verbose")
_VALUED = (*_FOLDERS, "--config-path", "-cp", "--config-name", "-cn", "--cfg", "-c")
_RARE = ("--package", "-p", "--experimental-rerun", "--info", "-i")
_ALONE = ("--help", "-h", "--hydra-help", "--version", "--run", "-r", "--shell-completion", "-sc")
#: Why jobs of this process have failed; a second time a reason is told in short.
_TOLD = set[str]()
_cut = partial(textwrap.shorten, width=50, placeholder=" ...")
#: One of several comma-separated values; commas in quotes or brackets do not separate.
_VALUE = r"""(?:"[^"]*"|'[^']*'|\[[^\]]*\]|[^,])+"""
#: A key and a value with spaces around the sign, which a shell makes words of their own.
_SPACED = re.compile(r"([\w.+/@]+)(?: += *|= +)([^\s=]*)(?=\s|$)")
#: Words that need no quotes in Hydra.
_PLAIN = r"[\w./+~@:-]+=[\w./:,+ -]*"
#: Errors of composing and checking (ValueError: Hydra's for ``method=null``).
BAD_INPUT = (
    UserError,
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    OSError,
    ValueError,
)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _job(raw: DictConfig) -> FinishedRun:
    """Run one job of a sweep, or a single run."""
    from experiments.frame.runner import execute

    try:
        _refuse_idle_launcher()
        config = load(raw)
        run = execute(config)
        _tell(config, run)
        return run
    except BAD_INPUT as error:
        if HydraConfig.get().mode == RunMode.RUN and not DEBUGGING:
            _end(describe(error), 1)
        job, reason = " ".join(HydraConfig.get().overrides.task), describe(error)
        log.error("failed: %s: %s", job, _cut(reason) if reason in _TOLD else reason)
        _TOLD.add(reason)
        raise  # the launcher continues with the other jobs and then fails the sweep


def _tell(config: AnyConfig, run: FinishedRun) -> None:
    """Print how a run ended. A job of a sweep logs one line, as others run beside it."""
    from experiments.frame.show import all_rows, departures, headline

    if config.verbose:
        print(all_rows(run), flush=True)
    main = headline(run)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        if main:
            log.info("%s: %s", run.folder.name, main)
        return
    further = _over_methods(config) if main else ""
    lines = ["", main, *departures(run), str(run.folder), further and f"next: {further}"]
    print("\n".join(line for place, line in enumerate(lines) if line or not place))


def _over_methods(config: AnyConfig) -> str:
    """Return the command that compares a run's method with those that need no training.

    Empty where the command line has options of the method, which others may not have.
    """
    words = [word for word in sys.argv[1:] if word.partition("=")[0] not in ("method", "verbose")]
    if any(word.startswith(("method.", "arm=")) for word in words):
        return ""
    names = [name for name in PAPERS if not METHODS[name].is_fitted]
    methods = ",".join(dict.fromkeys([*names, config.method.name]))
    return shlex.join(["python", "run.py", "-m", *words, f"method={methods}"])


def main() -> None:
    """Compose, check and run; on an error, print one line and exit with a non-zero status."""
    words = ["verbose=true" if word in _VERBOSE else word for word in sys.argv[1:]]
    sys.argv[1:] = [_at_home(word) for word in _flags_first(words)]
    if DEBUGGING:
        _job()
        return
    os.environ[FULL_ERROR] = "1"  # Hydra raises errors as exceptions
    try:
        _refuse_other_words(sys.argv[1:])
        refuse_several_presets(sys.argv[1:])
        _refuse_paths(sys.argv[1:])
        _job()
    except Interrupted as stopped:
        _end(str(stopped), STOPPED)
    except KeyboardInterrupt:
        _end("interrupted; the same command resumes", 130)
    except BrokenPipeError:  # an OSError that is not bad input
        raise
    except BAD_INPUT as error:
        _end(describe(error), 1)


def _flags_first(words: list[str]) -> list[str]:
    """Return the words with Hydra's flags first.

    Hydra accepts no flag between two words of the form KEY=VALUE.
    """
    flags, others, left = list[str](), list[str](), iter(words)
    for word in left:
        if word in _VALUED:
            flags += [word, *([value] if (value := next(left, None)) is not None else [])]
        elif word in _FLAGS or word.partition("=")[0] in _VALUED:
            flags.append(word)
        else:
            others.append(word)
    return [*flags, *others]


def _at_home(word: str) -> str:
    """Return a word with the home directory at the start of its value expanded."""
    key, equals, value = word.partition("=")
    quote = value[:1] if value[:1] in ("'", '"') else ""
    bare = value.strip(quote) if quote else value
    path = os.path.expanduser(bare)
    if not equals or path == bare:
        return word
    plain = re.fullmatch(_PLAIN, f"{key}={path}", re.ASCII)
    return f"{key}={path}" if plain and not quote else f'{key}="{path}"'


def _end(line: str, status: int) -> NoReturn:
    print(f"run.py: {line}", file=sys.stderr)
    sys.exit(status)


def refuse_several_presets(arguments: list[str]) -> None:
    """Refuse a sweep over presets: Hydra 1.3 silently drops the presets' own axes.

    Args:
        arguments: The words of the command line.

    Raises:
        UserError: If there are several; the message shows a loop to use instead.
    """
    pairs = [argument.partition("=") for argument in arguments]
    values = [value for key, _, value in pairs if key.lstrip("+~") == "experiment"]
    if len(values) > 1 or not all(re.fullmatch(r"[\w.-]*", value) for value in values):
        plain = not any("(" in value for value in values)
        names = re.findall(r"[\w.-]+", " ".join(values)) if plain else ["table2", "table8"]
        raise UserError(
            "one preset at a time (a sweep over presets would drop their own axes); use: "
            f"for e in {' '.join(names)}; do python run.py experiment=$e; done"
        )


def _refuse_idle_launcher() -> None:
    """Refuse a launcher for a single run: Hydra would ignore it and run here.

    Raises:
        UserError: If there is one; the message names the word that makes it a sweep.
    """
    chosen = HydraConfig.get()
    words = [word for word in chosen.overrides.hydra if word.startswith("hydra/launcher=")]
    if words and chosen.mode == RunMode.RUN:
        raise UserError(f"{words[-1]} is for sweeps, and would be ignored: add -m")


def _refuse_other_words(arguments: list[str]) -> None:
    """Refuse words that are not KEY=VALUE, such as flags of other programs.

    Raises:
        UserError: If there is one; the message shows the words to write.
    """
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    keys = groups | {"seed", "stage", "device", "threads", "results"}
    for place, word in enumerate(arguments):
        bare, equals, value = word.partition("=")
        key = bare.strip().lstrip("-")
        before, after = arguments[place - 1] if place else "", arguments[place + 1 :]
        if before in (*_VALUED, *_RARE):
            continue
        spaced = _SPACED.match(" ".join([word, *after[:2]]))
        if spaced and not (value.strip() and bare.strip() == bare):
            raise UserError(f"{spaced[0]}: write {spaced[1]}={spaced[2]}, without spaces")
        if key in ("help", "?") and not bare.startswith("--"):
            raise UserError("write python run.py --help")
        if key in keys and (bare.startswith("-") or not equals):
            given = value if equals else "".join(after[:1])
            raise UserError(f"{word}: write {key}={given or 'VALUE'}")
        if key in groups and not value.isascii():
            raise unknown(key, value, _own(key, choices_of(key)))
        if bare.startswith("-") and bare not in (*_FLAGS, *_VALUED, *_RARE, *_ALONE):
            raise UserError(f"{word}: no such flag; {_LISTS}")
        if not equals and not bare.startswith(("-", "~")):
            raise _of_bare_word(word, sorted(groups))


#: How words are written, and where the names are listed.
_LISTS = "write KEY=VALUE; --help lists the keys, and KEY=list its values, as in experiment=list"


def _of_bare_word(word: str, groups: Iterable[str]) -> UserError:
    """Return the error for a word without a key: it names the keys of options of such a name."""
    known = dict[str, list[str]]()
    for group in groups:
        for name in choices_of(group) if re.fullmatch("[a-z]+", group) and group != "hydra" else ():
            known.setdefault(name.lower(), []).append(f"{group}={name}")
    given = word.lower()
    near = [given] if given in known else difflib.get_close_matches(given, known, cutoff=0.8)
    keyed = " or ".join(pair for name in near for pair in known[name])
    return UserError(f"{word}: {f'write {keyed}' if near else _LISTS}")


def _refuse_paths(arguments: list[str]) -> None:
    """Refuse a path as an option: Hydra would read a file of another group or preset.

    Raises:
        UserError: Naming the options of the group.
    """
    for key, _, value in (argument.partition("=") for argument in arguments):
        group = key.lstrip("+~")
        if group and "/" in value and (choices := choices_of(group)):
            folders = {name.partition("/")[0] for name in choices if "/" in name}
            for part in value.split(","):
                folder, _, name = part.rpartition("/")
                if folder and not (folder in folders and re.fullmatch(r"\w[\w.-]*", name)):
                    raise unknown(group, part, _own(group, choices))


def _own(group: str, choices: Sequence[str]) -> Sequence[str]:
    """Return the options of a group for the command line's task; all options if it names none.

    Options of a task's own stand in a folder of its name; others are the same for all tasks.
    """
    task = _task()
    if task not in TASKS:
        return choices
    if group in ("model", "dataset"):
        return options(group, task) or choices
    if group == "group":
        return groups_of(task) or choices
    return [name for name in choices if name.startswith(f"{task}/")] or choices


def _task() -> str:
    """Return the task that the command line names, itself or by a preset; empty for none."""
    words = dict(word.partition("=")[::2] for word in sys.argv[1:])
    if "task" in words:
        return words["task"]
    preset = f"experiment/{words.get('experiment')}"
    for entry in read(preset).get("defaults", []):
        if OmegaConf.is_dict(entry) and "override /task" in entry:
            return str(entry["override /task"])
    return ""


def _undecodable(content: bytes) -> Path | None:
    """Return the file in the --config-dir folder that is not UTF-8; Hydra does not name it."""
    words = " ".join(sys.argv[1:]).replace("=", " ").split()
    for flag, folder in itertools.pairwise(words):
        for path in sorted(Path(folder).rglob("*.yaml")) if flag in _FOLDERS else ():
            if content in path.read_bytes():
                return path
    return None


def _quoted(word: str) -> str:
    """Return a word quoted for Hydra and for a shell.

    Only those values of a sweep that need quotes get them.
    """
    key, _, value = word.partition("=")
    several = re.findall(_VALUE, value) if {"-m", "--multirun"} & set(sys.argv[1:]) else []
    values = [part if _is_readable(f"{key}={part}") else _as_text(part) for part in several]
    return shlex.quote(f"{key}={','.join(values) if len(values) > 1 else _as_text(value)}")


def _is_readable(word: str) -> bool:
    """Whether Hydra can read a word."""
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


def _as_text(value: str) -> str:
    """Return a value in quotes, so that Hydra reads it as text."""
    if value[:1] == value[-1:] and value[:1] in ("'", '"'):
        value = value[1:-1]
    inner = value.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{inner}"'


def describe(error: Exception) -> str:
    """Return one line for an error: the fault and, for a closed set, the valid values."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        path = str(error.missing_cfg_file)
        # Groups of Hydra's own have a folder in their name, options of a task's own in theirs.
        group, _, name = path.rpartition("/") if path.startswith("hydra/") else path.partition("/")
        known = [*dict.fromkeys([*choices_of(group), *error.options])]
        return str(unknown(group, name, _own(group, known)))
    cause: Any = error.__cause__
    if isinstance(error, UserError) and isinstance(cause, InterpolationKeyError):
        word = next((word for word in sys.argv[1:] if "${" in word.partition("=")[2]), "")
        return f"{error}; where ${{ is meant as it stands, write {_quoted(word)}"
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        return str(explain(cause))
    if isinstance(error, OmegaConfBaseException):
        return str(explain(error))
    if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        place = f"{mark.name}:{mark.line + 1}:{mark.column + 1}".replace("\t", " ")
        return f"{place}: no YAML: {error.problem or error.context}"
    if isinstance(error, UnicodeDecodeError):
        return f"{_undecodable(error.object) or 'a file'}: {error}; save it as UTF-8"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "override_grammar" in str(error) or "LexerNoViableAltException" in str(error):
        words = (word for word in sys.argv[1:] if "=" in word and not word.startswith("-"))
        word = next((word for word in words if not _is_readable(word)), "")
        if not word:
            return lines[0]
        return f"{word}: has a character that means something to Hydra; write {_quoted(word)}"
    if lines and lines[0].startswith("Ambiguous value"):
        several = next((w for w in sys.argv[1:] if "," in w.partition("=")[2]), "")
        one = f"; or, if it is one value, write {_quoted(several)}" if several else ""
        return f"{lines[0]}; several values are a sweep: add -m{one}"
    return " ".join(lines[:2]) if lines else type(error).__name__
