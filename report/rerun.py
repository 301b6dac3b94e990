"""What it takes to run a figure or table again: its preset's comments, and what its runs took."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from report.artefacts.catalogue import ARTEFACTS
from report.artefacts.entry import Entry
from report.options import Options
from report.presets import artefact, is_job
from report.results import Results, select
from report.rows import all_bases
from report.runs.earlier import Earlier, committed_runs

_MINUTE = 60
#: The runs of a task that have committed rows, and all records by name.
Committed = tuple[list[Earlier], dict[str, dict[str, Any]]]
#: How names of the paper's figures and tables begin; they come first.
_PAPERS = ("figure", "table")


def rerun_page(root: Path, results: Results) -> str:
    """A section of Markdown for each preset of a checkout, in the order of the artefacts.

    `results` are its rows at the scale `paper`; the committed ones count.
    """
    paths = {path.stem: path for path in (root / "conf" / "experiment").glob("*.yaml")}
    names = sorted(
        paths, key=lambda name: (not name.startswith(_PAPERS), [*ARTEFACTS, name].index(name))
    )
    committed = cache(lambda task: committed_runs(root / "results" / "measured" / task))
    kept = replace(results, ours=select(results.ours, origin="measured"))
    drawn = cache(lambda name: _is_drawn(ARTEFACTS[name], kept))
    sections = (_section(name, _comments(paths[name]), committed, drawn) for name in names)
    # Blank lines of two kinds meet.
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join("\n".join(lines) for lines in sections))


def _comments(path: Path) -> list[str]:
    """The comments at the head of a preset, the first line of Hydra's left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        if not line.startswith("# "):
            break
        found.append(line.removeprefix("# "))
    return found


def _section(
    name: str,
    comments: list[str],
    committed: Callable[[str], Committed],
    drawn: Callable[[str], bool],
) -> Iterator[str]:
    yield f"## {name}\n"
    for line in comments:
        words, is_command, command = line.partition("python run.py ")
        if words:
            yield f"\n{words.strip()}" if words.startswith("Trial") else words.strip()
        if is_command:
            # A remark stands behind the command, after some spaces.
            yield f"\n    python run.py {command.partition('   ')[0]}\n"
    shows = artefact(name)
    command = f"`python scripts/paper_figures.py {shows}`"
    took = _took(name, *committed(ARTEFACTS[shows].task))
    others = "" if shows == name else ", beside others"
    if took:
        yield f"\n{took} {command} shows their rows{others}."
    elif drawn(shows):
        yield f"\nNone of its runs is committed. {command} shows committed rows of other runs."
    else:
        yield f"\nNone of its runs is committed; when some are, {command} shows their rows{others}."


def _took(preset: str, runs: list[Earlier], records: Mapping[str, dict[str, Any]]) -> str:
    """What the committed runs of a preset took, as far as their records say; empty for none."""
    own = {run.name: run.record for run in runs if is_own(preset, run)}
    if not own:
        return ""
    bases: dict[str, dict[str, Any]] = {}
    for record in own.values():
        bases |= all_bases(record, records.get)
    every = [*(own | bases).values()]
    seconds = sum(float(record.get("cpu_seconds", 0)) for record in every)
    memory = max(float(record.get("peak_memory_mib", 0)) for record in every)
    processors = sorted({record["processor"] for record in every if "processor" in record})
    on = f" ({', '.join(processors)})" if processors else ""
    further = f", with the {len(bases)} that they build on," if bases else ""
    return (
        f"{len(own)} committed runs are its own. They took{further} {seconds / _MINUTE:.0f} "
        f"CPU-minutes{on} and at most {memory:.0f} MiB each."
    )


def is_own(preset: str, run: Earlier) -> bool:
    """Whether a run is one of a preset's jobs."""
    told = run.record.get("departures") or {}
    departures = {name: str(value) for pairs in told.values() for name, value in pairs}
    return is_job(preset, run.cells, run.steps, departures)


def _is_drawn(entry: Entry, results: Results) -> bool:
    """Whether an artefact has numbers of our rows."""
    blank = replace(results, ours=results.ours.head(0))
    with_rows, without = (entry.build(each, Options()).numbers for each in (results, blank))
    return with_rows != without
