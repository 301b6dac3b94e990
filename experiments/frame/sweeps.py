"""Terminal output at the end of a sweep: the main numbers of its jobs, and those that failed."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus

from experiments.frame.errors import UserError
from experiments.frame.files import write_text
from experiments.frame.records import FinishedRun
from experiments.frame.show import Shown, shown

if TYPE_CHECKING:
    from experiments.frame.stages import Number

#: Axes that stand last, so that lines to compare are neighbours.
_LAST = ("method", "arm")
_SEED = "seed"


def summary(
    jobs: Sequence[Sequence[str]],
    ends: Sequence[JobReturn],
    describe: Callable[[Exception], str],
    command: str,
    file: Path | None = None,
) -> Iterator[str]:
    """Yield the lines that end a sweep: a table, failed and missing jobs, the next command.

    Args:
        jobs: The words of each job, in order.
        ends: The results of the jobs, in the same order; those at the end may be missing.
        describe: Makes one line of an error.
        command: What to do when all jobs are done; empty for nothing.
        file: Where the table goes too, as CSV, if it can be written.
    """
    done, bad = list[tuple[Sequence[str], FinishedRun]](), dict[str, list[str]]()
    common = set(jobs[0]).intersection(*jobs) if len(jobs) > 1 else set[str]()
    for words, end in zip_longest(jobs, ends):
        own = " ".join(word for word in words if word not in common)
        if end is None:
            bad.setdefault("missing", []).append(own)
        elif end.status == JobStatus.COMPLETED:
            done.append((words, end.return_value))
        else:
            bad.setdefault(f"failed: {describe(end._return_value)}", []).append(own)
    found = Table.of(jobs, done)
    if found.rows:
        yield from found.text()
        if file is not None and found.write(file):
            yield f"table: {file}"
    for reason, those in bad.items():
        if len(jobs) > 1:  # the reason of a single job is the program's own last line
            yield reason
            yield from (f"  {own}" for own in those)
    if bad:
        count = sum(map(len, bad.values()))
        yield f"{count} of {len(jobs)} jobs are not done; the same command tries them again"
    elif command:
        yield f"next: {command}"


def without_jobs(words: Iterable[Override]) -> UserError:
    """Return the error for a sweep in which a word has no value."""
    empty = [word for word in words if word.is_sweep_override() and not [*word.sweep_iterator()]]
    named = ", ".join(str(word.input_line) for word in empty)
    return UserError(f"{named or 'the sweep'} has no value, so there is no job")


class Table(NamedTuple):
    """Main numbers of a sweep, a row for each combination of what varies, besides the seed.

    Attributes:
        axes: The keys that vary.
        rows: Their values, and the numbers of the runs of all seeds.
    """

    axes: Sequence[str]
    rows: Mapping[tuple[str, ...], Sequence[Shown]]

    @classmethod
    def of(
        cls, jobs: Sequence[Sequence[str]], done: Sequence[tuple[Sequence[str], FinishedRun]]
    ) -> Table:
        """Collect the main numbers; there is no row if no run has one.

        Args:
            jobs: The words of each job.
            done: The words of each job that is done, and its run.
        """
        axes = _axes(jobs)
        # By folder: two jobs may share a run.
        cells = dict[tuple[str, ...], dict[str, Shown]]()
        for words, run in done:
            if numbers := shown(run):
                place = tuple(_values(words).get(name, "") for name in axes)
                cells.setdefault(place, {})[run.folder.name] = numbers[0]
        places = (place for place in product(*axes.values()) if place in cells)
        return cls([*axes], {place: [*cells[place].values()] for place in places})

    def text(self) -> Iterator[str]:
        """Yield the lines for a terminal: means and standard deviations (ddof = 1) over seeds."""
        main = dict.fromkeys(_title(one.number) for found in self.rows.values() for one in found)
        yield f"{' or '.join(main)}: mean (standard deviation) over n seeds"
        lines = [(*self.axes, "mean", "(sd)", "n")]
        lines += [(*place, *_cell(found)) for place, found in self.rows.items()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            texts = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
            texts[-3:] = [text.rjust(width) for text, width in zip(line, widths, strict=True)][-3:]
            yield f"  {'  '.join(texts)}"

    def write(self, path: Path) -> bool:
        """Write the table as CSV, with all digits; return whether that was possible."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*self.axes, "number", "mean", "sd", "n"])
        for place, found in self.rows.items():
            values = [one.value for one in found]
            spread = statistics.stdev(values) if len(values) > 1 else ""
            numbers = (statistics.mean(values), spread, len(values))
            writer.writerow([*place, _title(found[0].number), *numbers])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text.getvalue())
        except OSError:  # a results folder of others
            return False
        return True


def _axes(jobs: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Return the values of each key that varies among jobs, besides the seed."""
    values = [_values(words) for words in jobs]
    names = dict.fromkeys(name for own in values for name in own if name != _SEED)
    axes = {name: list(dict.fromkeys(own.get(name, "") for own in values)) for name in names}
    varying = [name for name in axes if len(axes[name]) > 1]
    return {name: axes[name] for name in sorted(varying, key=lambda name: name in _LAST)}


def _values(words: Sequence[str]) -> dict[str, str]:
    """Return the values of words by their keys."""
    return dict(word.partition("=")[::2] for word in words)


def _title(number: Number) -> str:
    unit = number.unit.strip()
    return f"{number.name} ({unit})" if unit else number.name


def _cell(found: Sequence[Shown]) -> tuple[str, str, str]:
    """Return mean, standard deviation and count of a number's values."""
    values, digits = [one.value for one in found], found[0].number.digits
    spread = f"({statistics.stdev(values):{digits.lstrip('+')}})" if len(values) > 1 else "-"
    return f"{statistics.mean(values):{digits}}", spread, str(len(values))
