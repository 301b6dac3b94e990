"""Report: pictures inside the page, as small as they can be without losing their lines."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple
from urllib.parse import quote

from report.figures import Figure

_WIDTH = re.compile(r'<svg [^>]*?width="([0-9.]+)pt"', re.DOTALL)
# Of the screen to a point of print: the widest figures then fill the page.
_PIXELS = 1.25
# Each text names its font in full: one rule for all is shorter.
_FONT = re.compile(r" font-family: [^;\"]*;?")
_STYLE = '<style type="text/css">', "text{font-family: DejaVu Sans, Verdana, sans-serif}"
_OWN = re.compile(r' style="([^"]*)"')
_UPRIGHT = re.compile(r' transform="rotate\(-?0 [^"]*\)"')
_TAG = re.compile(r"<[^>]+>")
_NUMBER = re.compile(r"-?\d+\.\d+")
_UNSEEN = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL)


class Picture(NamedTuple):
    """A picture in the page.

    Attributes:
        address: The whole drawing, as a `data:` address.
        width: In pixels.
    """

    address: str
    width: int


def embedded(figure: Figure) -> Picture:
    """The drawing of a figure; its text is text, in a font of the reader's machine."""
    drawn = figure.pictures("svg", **{"svg.fonttype": "none"})["svg"].decode()
    found = _WIDTH.search(drawn)
    assert found
    # Its own width: where there are fewer panels they are not larger.
    width = round(float(found[1]) * _PIXELS)
    small = quote(shortened(drawn), safe=" <>=:/;,'()+-.{}*")
    return Picture(f"data:image/svg+xml,{small}", width)


def shortened(drawing: str) -> str:
    """An SVG without what is not seen: comments, names of nothing, digits below a hundredth.

    A style that several marks have is written once.
    """
    text = _UPRIGHT.sub("", drawing)
    text = _FONT.sub("", _UNSEEN.sub("", text)).replace(_STYLE[0], "".join(_STYLE), 1)
    used = sorted(set(re.findall(r'(?:url\(#|href="#)([^")]+)', text)))
    short = {name: f"i{place}" for place, name in enumerate(used)}
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{short[m[1]]}"' if m[1] in short else "", text)
    text = re.sub(r'(url\(#|href="#)([^")]+)', lambda m: m[1] + short[m[2]], text)
    text = re.sub(r">\s+<", "><", text.strip()).replace("<g/>", "")
    styles = [style for style, count in Counter(_OWN.findall(text)).items() if count > 1]
    classes = {style: f"s{place}" for place, style in enumerate(styles)}
    rules = "".join(f".{name}{{{style.replace(': ', ':')}}}" for style, name in classes.items())
    text = _OWN.sub(lambda m: f' class="{classes[m[1]]}"' if m[1] in classes else m[0], text)
    text = text.replace(_STYLE[0], _STYLE[0] + rules, 1)
    return _TAG.sub(lambda m: _short_tag(m[0]), text)


def _short_tag(tag: str) -> str:
    """A tag with single quotes, as its address stands in double ones."""
    tag = _NUMBER.sub(lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), tag)
    return re.sub(r"\s+", " ", tag.replace("'", "&#39;").replace('"', "'"))
