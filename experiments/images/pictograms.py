"""Synthetic images that need no download: letters or symbols that have an upright orientation.

The shapes come from the DejaVu fonts that matplotlib ships. No class is a rotation by 90, 180 or
270 degrees of itself or of another class, so that a turned image has one right answer:

- letters: capitals, small letters and digits, without those that a turn maps to themselves or
  nearly so (H I N O S X Z i l o s x z 0 1 8), without those that it maps to another one that is
  left (M W m w 3 to E, U n u to C, b d p q to P, V v to A, J j 7 to L, a to e, t to f, g 6 9 to
  each other), without 5, the mirror image of 2, and without small letters like their capitals.
- symbols: things that stand upright.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from experiments.frame.errors import UserError, unknown
from experiments.images.arrays import SPLITS, Arrays, Split, check_classes
from experiments.images.options import ALPHABETS, ImageDataset

#: Version of drawing, raised when the same parameters give other images.
GENERATION = 1

_SANS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique")
_SERIF = ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic")
_MONO = ("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique")


class Alphabet(NamedTuple):
    """Names of classes with their characters, and the fonts to draw them in."""

    glyphs: dict[str, str]
    fonts: tuple[str, ...]


ALPHABET = {
    "letters": Alphabet({c: c for c in "ABCDEFGKLPQRTYefhr24"}, (*_SANS, *_SERIF, *_MONO)),
    "symbols": Alphabet(
        {
            "umbrella": "\u2602",
            "anchor": "\u2693",
            "telephone": "\u260e",
            "chess knight": "\u265e",
            "hot springs": "\u2668",
            "skull and crossbones": "\u2620",
            "scales": "\u2696",
            "cup of coffee": "\u2615",
            "wheelchair": "\u267f",
            "flower": "\u2698",
            "music notes": "\u266b",
            "cat": "\U0001f638",
        },
        ("DejaVuSans",),
    ),
}

#: Factor by which an image is drawn larger before it is reduced.
OVERSAMPLING = 3
#: Smallest side of a stored glyph, and the margin around it, in pixels.
MIN_SIDE, MARGIN = 128, 2
MAX_ANGLE = 10.0
#: Least difference of brightness between glyph and ground, of 255.
MIN_CONTRAST = 80.0
BRIGHTNESS = np.array([0.299, 0.587, 0.114])
#: Images that are coloured together; affects memory use, not results.
CHUNK = 1000


class Drawn(NamedTuple):
    """The parameters of n drawn images.

    Attributes:
        labels: Indices of classes, [n].
        fonts: Indices of fonts, [n].
        extents: Longer side of the glyph as a share of the image, [n].
        centres: Centre of the glyph, as shares of the image from its centre, [n, 2].
        angles: Angle of the glyph in degrees, [n].
        blurs: Radius of Gaussian blur as a share of the image, 0 for none, [n].
        colours: Red, green, blue from 0 to 255 of ground and glyph, [n, 2, 3].
        noises: Standard deviation of the noise, of 255, [n].
    """

    labels: Int64[np.ndarray, " n"]
    fonts: Int64[np.ndarray, " n"]
    extents: Float64[np.ndarray, " n"]
    centres: Float64[np.ndarray, "n 2"]
    angles: Float64[np.ndarray, " n"]
    blurs: Float64[np.ndarray, " n"]
    colours: Float64[np.ndarray, "n 2 3"]
    noises: Float64[np.ndarray, " n"]


def read(config: ImageDataset, split: Split) -> Arrays:
    """Draw one split, in an order that mixes the classes.

    Args:
        config: The data set; its seed decides every pixel.
        split: The split; the two share no random numbers.

    Returns:
        The images; classes are equally frequent.

    Raises:
        UserError: If the configuration lacks a value or does not fit, or a font is missing.
    """
    alphabet, counts, seed = _check(config)
    rng = np.random.default_rng([seed, SPLITS.index(split), GENERATION])
    classes = tuple(alphabet.glyphs)
    drawn = _draw_parameters(rng, len(classes), counts[split], len(alphabet.fonts))
    pixels = np.empty((len(drawn.labels), 3, config.size, config.size), np.uint8)
    side = max(MIN_SIDE, OVERSAMPLING * config.size)
    glyph = functools.cache(functools.partial(_glyph, side=side))
    for start in range(0, len(pixels), CHUNK):
        rows = slice(start, start + CHUNK)
        part = Drawn(*(values[rows] for values in drawn))
        pixels[rows] = _colour(rng, part, _draw_shapes(alphabet, glyph, part, config.size))
    return Arrays(pixels, drawn.labels, classes)


def facts(config: ImageDataset, splits: tuple[Split, ...]) -> list[object]:
    """Return the options that decide the images of some splits, as plain data.

    The exact pixels also depend on the versions of Pillow and FreeType.

    Raises:
        UserError: As `read` does, for the configuration.
    """
    alphabet, counts, seed = _check(config)
    per_class = [counts[split] for split in splits]
    return [GENERATION, config.size, seed, per_class, alphabet.glyphs, alphabet.fonts]


def _check(config: ImageDataset) -> tuple[Alphabet, dict[Split, int], int]:
    """Return the alphabet, the images per class and split, and the seed."""
    if config.alphabet not in ALPHABET:
        raise unknown("dataset.alphabet", config.alphabet, ALPHABETS)
    alphabet = ALPHABET[config.alphabet]
    check_classes(Path(config.alphabet), tuple(alphabet.glyphs), config.classes)
    values = (config.per_class_train, config.per_class_test, config.seed)
    train, test, seed = values
    if train is None or test is None or seed is None:
        raise UserError(
            "pictograms need dataset.per_class_train, dataset.per_class_test and dataset.seed"
        )
    return alphabet, {"train": train, "test": test}, seed


def _draw_parameters(rng: np.random.Generator, classes: int, per_class: int, fonts: int) -> Drawn:
    count = classes * per_class
    extents = rng.uniform(0.55, 0.85, count)
    # Half of the free space beside a glyph at its largest angle.
    room = (1 - extents * (1 + math.sin(math.radians(MAX_ANGLE)))) / 2
    return Drawn(
        labels=rng.permutation(np.arange(count, dtype=np.int64) % classes),
        fonts=rng.integers(fonts, size=count),
        extents=extents,
        centres=rng.uniform(-1, 1, (count, 2)) * room[:, None],
        angles=rng.uniform(-MAX_ANGLE, MAX_ANGLE, count),
        blurs=np.where(rng.random(count) < 0.3, rng.uniform(0.01, 0.03, count), 0.0),
        colours=_draw_colours(rng, count),
        noises=rng.uniform(0, 12, count),
    )


def _draw_colours(rng: np.random.Generator, count: int) -> Float64[np.ndarray, "count 2 3"]:
    """Draw pairs of colours; redraw those with too similar brightness."""
    colours = rng.uniform(0, 255, (count, 2, 3))
    while True:
        ground, glyph = (colours @ BRIGHTNESS).T
        alike = np.flatnonzero(np.abs(ground - glyph) < MIN_CONTRAST)
        if not len(alike):
            return colours
        colours[alike] = rng.uniform(0, 255, (len(alike), 2, 3))


def _draw_shapes(
    alphabet: Alphabet, glyph: Callable[[str, str], Image.Image], drawn: Drawn, size: int
) -> UInt8[np.ndarray, "n size size"]:
    """Draw the glyphs, 255 on 0."""
    large = size * OVERSAMPLING
    characters = list(alphabet.glyphs.values())
    shapes = np.empty((len(drawn.labels), size, size), np.uint8)
    for i in range(len(shapes)):
        source = glyph(alphabet.fonts[drawn.fonts[i]], characters[drawn.labels[i]])
        zoom = (source.width - 2 * MARGIN) / (drawn.extents[i] * large)
        angle = math.radians(drawn.angles[i])
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        x, y = (0.5 + drawn.centres[i]) * large
        middle = source.width / 2
        # Maps coordinates of the image to coordinates of the glyph.
        inverse = (cos, -sin, middle - cos * x + sin * y, sin, cos, middle - sin * x - cos * y)
        shape = source.transform(
            (large, large), Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC
        )
        if drawn.blurs[i]:
            shape = shape.filter(ImageFilter.GaussianBlur(float(drawn.blurs[i]) * large))
        shapes[i] = np.asarray(shape.reduce(OVERSAMPLING))
    return shapes


def _colour(
    rng: np.random.Generator, drawn: Drawn, shapes: UInt8[np.ndarray, "n size size"]
) -> UInt8[np.ndarray, "n 3 size size"]:
    """Give glyph and ground their colours, and add the noise."""
    ground, glyph = drawn.colours.astype(np.float32).transpose(1, 0, 2)[..., None, None]
    images = ground + (glyph - ground) * (shapes[:, None].astype(np.float32) / 255)
    noise = rng.standard_normal(images.shape, np.float32)
    images += noise * drawn.noises.astype(np.float32)[:, None, None, None]
    pixels: UInt8[np.ndarray, "n 3 size size"] = np.clip(np.rint(images), 0, 255).astype(np.uint8)
    return pixels


def _glyph(font: str, character: str, side: int) -> Image.Image:
    """Return a character whose longer side is ``side`` pixels, centred in a square."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    if not path.is_file():  # PIL would search for another version of it elsewhere
        raise UserError(f"{path}: no such font; reinstall matplotlib, which ships it")
    first = ImageFont.truetype(path, side, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = first.getbbox(character)
    fitted = first.font_variant(size=side * side / max(right - left, bottom - top))
    left, top, right, bottom = fitted.getbbox(character)
    width = side + 2 * MARGIN
    canvas = Image.new("L", (width, width))
    place = ((width - left - right) / 2, (width - top - bottom) / 2)
    ImageDraw.Draw(canvas).text(place, character, fill=255, font=fitted)
    return canvas
