"""A figure: a drawing, the numbers that it shows, and a small table of them for the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from report.faces import csv_text, render
from report.tables import Table, write_faces

if TYPE_CHECKING:
    from matplotlib import figure

    Drawing = figure.Figure
else:
    #: The library is imported only to draw.
    Drawing = Any

_DPI = 200
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    # Room for the last tick label, in inches.
    "figure.constrained_layout.w_pad": 0.1,
    # Text stays text in a PDF. In an SVG it is drawn: not every machine has the font.
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "equitune",
}
# Neither the time nor the program's version belongs to the content: the same rows, the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


@dataclass(frozen=True)
class Figure:
    """A figure, independent of the library that draws it: an artefact, with `show` and `write`.

    Attributes:
        digest: Its name, title, notes and commands, and a few of its numbers as a table.
        rows: All numbers that are drawn, as text.
        draw: Draws them; called only where there are rows. It imports matplotlib itself, so that
            tables stay fast, and makes a `matplotlib.figure.Figure` without pyplot.
    """

    digest: Table
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    draw: Callable[[], Drawing]

    @property
    def name(self) -> str:
        """File name without ending, and LaTeX label."""
        return self.digest.name

    @property
    def numbers(self) -> tuple[object, ...]:
        """All that is shown of rows."""
        return self.rows

    @property
    def commands(self) -> tuple[str, ...]:
        """Shell commands that produce the missing numbers."""
        return self.digest.commands

    def noted(self, note: str) -> Figure:
        """The same with one note more."""
        return replace(self, digest=self.digest.noted(note))

    def show(self, console: Console) -> None:
        """Print the digest."""
        self.digest.show(console)

    def write(self, folder: Path) -> list[Path]:
        """Write numbers as CSV, the caption as Markdown and LaTeX, the drawing as pictures.

        Without rows there is nothing to draw: pictures that an earlier call left are removed.
        """
        faces = {
            ".csv": csv_text([self.headers, *self.rows]),
            ".md": render("figure.md", figure=self),
            ".tex": render("figure.tex", figure=self),
        }
        paths = write_faces(folder, self.name, faces)
        pictures = {kind: folder / f"{self.name}.{kind}" for kind in _METADATA}
        if not self.rows:
            for path in pictures.values():
                path.unlink(missing_ok=True)
            return paths
        for kind, picture in self.pictures(*pictures).items():
            pictures[kind].write_bytes(picture)
        return [*paths, *pictures.values()]

    def pictures(self, *kinds: str, **settings: str) -> dict[str, bytes]:
        """The drawing as files of the types `png`, `pdf`, `svg`, by type."""
        return pictures(self.draw, *kinds, **settings)


def pictures(draw: Callable[[], Drawing], *kinds: str, **settings: str) -> dict[str, bytes]:
    """A drawing as files of the types `png`, `pdf`, `svg`, by type.

    `settings` of matplotlib go before those of the house.
    """
    files = {kind: io.BytesIO() for kind in kinds}
    with house_style(settings):
        from matplotlib.backend_bases import get_registered_canvas_class

        drawing = draw()
        for kind, file in files.items():
            # `savefig` makes the same bytes, but draws twice where the layout is constrained.
            drawing.dpi = _DPI
            canvas = get_registered_canvas_class(kind)(drawing)
            getattr(canvas, f"print_{kind}")(file, metadata=_METADATA[kind])
    return {kind: file.getvalue() for kind, file in files.items()}


@contextmanager
def house_style(settings: Mapping[Any, Any] = MappingProxyType({})) -> Iterator[None]:
    """Draw as all figures here are drawn; the user's own settings of matplotlib do not count."""
    # Here and not above: importing it takes longer than building all tables.
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, **settings})
        yield
