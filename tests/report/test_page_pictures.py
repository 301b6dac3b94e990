"""Pictures inside the page keep what is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from report.figures import Figure
from report.page.pictures import embedded
from report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
TITLE = 'the paper\'s "λ" < 1 & more'


@pytest.fixture
def figure() -> Figure:
    """A line under a title with every sign that XML or an address would take for its own."""

    def draw() -> Drawing:
        from matplotlib.figure import Figure as Drawing

        drawing = Drawing(figsize=(4, 2))
        axes = drawing.add_subplot()
        axes.plot([0, 1], [0.12345, 1])
        axes.set_title(TITLE)
        return drawing

    return Figure(Table("a", "A", (), (), ()), ("x",), (("0",),), draw)


def test_a_picture_is_whole_and_smaller(figure: Figure) -> None:
    picture = embedded(figure)
    assert picture.width == 360  # 4 inches of 72 points
    assert not set(picture.address) & set('"#&')
    drawing = unquote(picture.address.removeprefix("data:image/svg+xml,"))
    found = ElementTree.fromstring(drawing)
    texts = [each.text for each in found.iter(f"{SVG}text")]
    assert TITLE in texts and "0.0" in texts
    used = {each.attrib[LINK].removeprefix("#") for each in found.iter(f"{SVG}use")}
    assert used and used <= {each.get("id") for each in found.iter()}
    assert len(picture.address) < len(figure.pictures("svg")["svg"])
