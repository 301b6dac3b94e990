"""What it takes to run a figure or table again: its preset's comments, and what its runs took."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from report.artefacts.catalogue import ARTEFACTS
from report.artefacts.entry import Entry
from report.presets import artefact
from report.rows import committed_records

_MINUTE = 60
#: How names of the paper's figures and tables begin; they come first.
_PAPERS = ("figure", "table")


def rerun_page(root: Path) -> str:
    """A section of Markdown for each preset of a checkout, in the order of the artefacts."""
    paths = {path.stem: path for path in (root / "conf" / "experiment").glob("*.yaml")}
    names = sorted(
        paths, key=lambda name: (not name.startswith(_PAPERS), [*ARTEFACTS, name].index(name))
    )
    measured = root / "results" / "measured"
    sections = (_section(name, _comments(paths[name]), measured) for name in names)
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


def _section(name: str, comments: list[str], measured: Path) -> Iterator[str]:
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
    if shows == name:
        yield f"\n{_took(ARTEFACTS[name], measured)} {command} draws them."
    else:
        yield f"\n{command} shows its rows, beside others."


def _took(entry: Entry, measured: Path) -> str:
    """What the runs behind the committed rows took, as far as their records say."""
    records: dict[str, dict[str, Any]] = {}
    for task in entry.tasks:
        paths = (measured / task / f"{source}.json" for source in entry.sources)
        for path in filter(Path.is_file, paths):
            records |= committed_records(path)
    if not records:
        return "No rows are committed yet; when there are some,"
    seconds = sum(float(record.get("cpu_seconds", 0)) for record in records.values())
    memory = max(float(record.get("peak_memory_mib", 0)) for record in records.values())
    processors = sorted(
        {record["processor"] for record in records.values() if "processor" in record}
    )
    on = f" ({', '.join(processors)})" if processors else ""
    files = ", ".join(f"`{source}`" for source in entry.sources)
    return (
        f"The {len(records)} committed runs of {files} took {seconds / _MINUTE:.0f} CPU-minutes"
        f"{on} and at most {memory:.0f} MiB each;"
    )
