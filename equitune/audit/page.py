"""The result of an audit, and its faces: text, Markdown, JSON and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from equitune.audit.statistics import Gain, show_gain
from equitune.rules import Weighting

HEADER = ["method", "upright", "transformed", "over pretrained", "error", "passes", "ms", "needs"]


@dataclass(frozen=True)
class Row:
    """A method on samples that its choices did not see.

    Attributes:
        method: Its name, such as "equizero (entropy)".
        upright: Mean metric on the inputs as they came.
        transformed: Mean metric on gx, over all g of the group.
        gain: By how much `transformed` is above that of the pretrained model.
        upright_gain: By how much `upright` is.
        error: The equivariance error, the largest of the batches; see `equivariance_error`.
        passes: Passes of the model for one input.
        seconds: Time for one input, as measured here; the passes ran in batches of |G| * B.
        needs: What was used to make its choices.
        candidate: Whether it can be recommended. Of several losses only the one that was best
            where the weightings were chosen can.
        code: Its entry of `Audit.weightings`, as it is written with equitune.
    """

    method: str
    upright: float
    transformed: float
    gain: Gain
    upright_gain: Gain
    error: float
    passes: int
    seconds: float
    needs: str
    candidate: bool
    code: str


@dataclass(frozen=True)
class Audit:
    """The result of `equitune.audit`.

    Attributes:
        model: Name of the model.
        group: Name of the group.
        order: Its number of elements |G|.
        options: Options of `Equivariant` that the audit was given, as code: ", head=head".
        metric: What is measured, higher is better.
        percent: Whether the metric is a share, shown in percent.
        samples: Number of samples that choices were made on, at least, before they were measured
            on others; and of all that were measured.
        changed: Share of transformed inputs, e left out, whose predicted class is not that of the
            upright input; None where outputs are not classes.
        rows: The pretrained model, then the methods.
        recommended: A method, or None where the samples do not decide.
        reason: The evidence.
        at_most_behind: With probability 95 % no other candidate is better than the recommended
            method by more than this, in the unit of the metric. None where none is recommended.
        notes: What was left out, and why.
        passes: Number of inputs that went through the model in this audit.
        seconds: Duration of these passes.
        weightings: The weighting of each method, with its choices made and its networks trained:
            on `choose`, or else on all samples.
    """

    model: str
    group: str
    order: int
    options: str
    metric: str
    percent: bool
    samples: tuple[int, int]
    changed: float | None
    rows: tuple[Row, ...]
    recommended: str | None
    reason: str
    at_most_behind: float | None
    notes: tuple[str, ...]
    passes: int
    seconds: float
    weightings: Mapping[str, Weighting] = field(repr=False, compare=False)

    def text(self) -> str:
        """Return the page as plain text."""
        table = [HEADER, *self._cells()]
        widths = [max(len(row[i]) for row in table) for i in range(len(HEADER))]
        lines = [
            "  ".join(_padded(cell, widths[i], i) for i, cell in enumerate(row)).rstrip()
            for row in table
        ]
        return "\n".join([*self._head(), "", *lines, "", *self._tail(), ""])

    def markdown(self) -> str:
        """Return the page as Markdown."""
        rows = [HEADER, ["---", *["---:"] * 6, "---"], *self._cells()]
        table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        title, *head = self._head()
        return "\n\n".join([f"# {title}", *head, table, *self._tail()]) + "\n"

    def json(self) -> str:
        """Return all fields but the weightings as JSON; a number that is not finite is null."""
        found = asdict(replace(self, weightings={}))
        del found["weightings"]
        for row in found["rows"]:
            row |= {name: row[name]._asdict() for name in ("gain", "upright_gain")}
            if not math.isfinite(row["error"]):
                row["error"] = None
        return json.dumps(found, indent=2, allow_nan=False) + "\n"

    def picture(self, path: str | Path) -> None:
        """Write a picture; the suffix (.png, .svg, .pdf) is its format.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed.
        """
        from matplotlib.figure import Figure

        factor = 100 if self.percent else 1
        figure = Figure(figsize=(7, 1.6 + 0.4 * len(self.rows)), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(self.rows):
            # Larger, as the two are equal where a method is equivariant.
            axes.plot(factor * row.upright, place, "o", color="C0", fillstyle="none", ms=10)
            axes.plot(factor * row.transformed, place, "o", color="C1")
            if place > 0:
                ends = [self.rows[0].transformed + end for end in (row.gain.low, row.gain.high)]
                axes.plot([factor * end for end in ends], [place, place], color="C1")
        axes.plot([], [], "o", color="C0", fillstyle="none", ms=10, label="upright")
        axes.plot([], [], "o-", color="C1", label="transformed, with the interval of its gain")
        names = [row.method + " *" * (row.method == self.recommended) for row in self.rows]
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        if self.percent:
            low, high = axes.dataLim.intervalx
            axes.set_xlim(low - 2, high + 2)  # room for the marks
        axes.set_xlabel(self.metric + (", %" if self.percent else ""))
        verdict = f"* recommended: {self.recommended}" if self.recommended else "undecided"
        axes.set_title(f"{self.model}, {self.group}\n{verdict}", fontsize="medium")
        figure.legend(loc="outside lower center", ncols=2)
        figure.savefig(path)

    def _head(self) -> list[str]:
        chosen, seen = self.samples
        error = f"Equivariance error of the model: {self.rows[0].error:.2g}."
        if self.changed is not None:
            share = f"{100 * self.changed:.1f} %"
            error += f" Transforming the input changes {share} of its predictions."
        return [
            f"Audit of {self.model} for {self.group}, {self.order} elements",
            f"Metric: {self.metric}. The numbers are of {seen} samples. Each was measured "
            f"with choices made on at least {chosen} others. {self.passes} inputs went through the "
            f"model in {self.seconds:.1f} s.",
            error,
        ]

    def _cells(self) -> list[list[str]]:
        return [
            [
                row.method + ("" if row.candidate else " -"),
                show(row.upright, self.percent),
                show(row.transformed, self.percent),
                show_gain(row.gain, self.percent) if place else "",
                f"{row.error:.1e}",
                str(row.passes),
                f"{float(f'{1000 * row.seconds:.2g}'):g}",
                row.needs,
            ]
            for place, row in enumerate(self.rows)
        ]

    def _tail(self) -> list[str]:
        notes = [
            "The intervals of all candidates hold together with probability 95 %.",
            *self.notes,
        ]
        if not all(row.candidate for row in self.rows):
            notes.append(
                "Losses marked - were not the best where choices were made, and are no candidates."
            )
        if self.recommended is None:
            return [f"Undecided: {self.reason}. Give more samples.", *notes]
        row = next(row for row in self.rows if row.method == self.recommended)
        lines = [f"Recommended: {row.method}. Evidence: {self.reason}."]
        if row is not self.rows[0]:
            change = show_gain(row.upright_gain, self.percent)
            lines.append(f"On upright inputs it changes the metric by {change}.")
            code = f"{row.code}{self.options}"
            lines.append(f"Code: Equivariant(model, action_in, action_out, {code})")
        return lines + notes


def show(value: float, percent: bool) -> str:
    """Write a value of the metric."""
    return f"{100 * value:.1f} %" if percent else f"{value:.4g}"


def _padded(cell: str, width: int, column: int) -> str:
    is_text = column in (0, len(HEADER) - 1)
    return cell.ljust(width) if is_text else cell.rjust(width)
