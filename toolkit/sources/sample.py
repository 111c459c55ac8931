"""The built-in sample data: real photographs, paintings rendered from them, circles, targets.

Four parts, each packed as one dataset:

* `content`: crops of the photographs in scikit-image's wheel, with captions;
* `wikiart`: paintings rendered from such crops by non-photorealistic algorithms, labelled with
  WikiArt's style names and an artist's name that says they are rendered;
* `fill50k`: circles in Fill50K's layout, source, target and prompt;
* `teacher`: targets for content × style pairs, made by a teacher that needs no weights from the
  packed `content` and `wikiart`, named `{content}_{style}_seed{seed}`.

Every picture is a pure function of its id, in integer arithmetic, so all bytes are reproducible.
Crops of the held-out photographs, and some paintings of each style, form the split `val`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.records import Link, Record, Ref
from toolkit.painting import circles, styles
from toolkit.painting.photographs import PHOTOGRAPHS, Photograph, crop
from toolkit.store.images import decode_rgb, encode_jpeg, encode_two_colour_png
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader
from toolkit.teachers import statistics

PARTS = ("content", "wikiart", "fill50k", "teacher")
VERSION = 1
SIZE_PX = 256
SEED = 2026
CROPS_PER_PHOTOGRAPH = 10
PAINTINGS_PER_STYLE = 28
HELD_OUT_PER_STYLE = 4
NUM_CIRCLES = 200
STYLES_PER_CONTENT = 6
LICENCE = "derived from the sample photographs of scikit-image; see its documentation of them"


def open_source(part: str, layout: Layout | None = None) -> "Sample":
    """Opens one part. Raises UserError for an unknown part."""
    if part not in PARTS:
        raise UserError(f"the sample data has no part {part!r}: choose one of {', '.join(PARTS)}")
    return Sample(part, layout or Layout())


@dataclass(frozen=True)
class Sample:
    """One part of the sample data. layout: where `teacher` finds content and wikiart packed."""

    part: str
    layout: Layout = field(default_factory=Layout)

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """The part's samples in a fixed order."""
        match self.part:
            case "content":
                for photograph in PHOTOGRAPHS:
                    for number in range(CROPS_PER_PHOTOGRAPH):
                        yield Ref(f"{photograph.name}-{number:02d}", (photograph, number))
            case "wikiart":
                for style in styles.names():
                    for number in range(PAINTINGS_PER_STYLE):
                        yield Ref(f"{style.lower()}-{number:03d}", (style, number))
            case "fill50k":
                for number in range(NUM_CIRCLES):
                    yield Ref(f"{number:06d}", number)
            case "teacher":
                yield from _pairs()

    def read(self, ref: Ref) -> Record:
        """Draws one sample."""
        match self.part:
            case "content":
                return _content(*ref.locator)
            case "wikiart":
                return _painting(*ref.locator)
            case "fill50k":
                return _circle(ref.locator)
        return self._target(*ref.locator)

    def describe(self) -> dict[str, Any]:
        """Everything that decides the part's bytes."""
        return {
            "kind": "sample",
            "part": self.part,
            "version": VERSION,
            "seed": SEED,
            "size_px": SIZE_PX,
            "teacher": {"protocol": statistics.PROTOCOL, **asdict(statistics.Settings())},
        }

    def _target(self, content: str, style: str, seed: int, split: str) -> Record:
        contents = SampleReader(self.layout, "content")
        paintings = SampleReader(self.layout, "wikiart")
        photo, painting = contents.row(content), paintings.row(style)
        settings = statistics.Settings()
        pixels = statistics.transfer(
            decode_rgb(contents.picture(content)),
            decode_rgb(paintings.picture(style)),
            key64("teacher", content, style, seed) >> 1,
            settings,
        )
        return Record(
            members={"jpg": encode_jpeg(pixels)},
            captions=tuple(photo["captions"]),
            style=painting["style"],
            artist=painting["artist"],
            genre=photo["genre"],
            licence=LICENCE,
            split=split,
            links=(Link("content", "content", content), Link("style", "wikiart", style)),
            protocol=statistics.PROTOCOL,
            extra={"teacher": {"seed": seed, **asdict(settings)}},
        )


def _rng(*parts: int | str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key64("sample", SEED, *parts)))


def _content(photograph: Photograph, number: int) -> Record:
    pixels = crop(photograph.name, _rng("content", photograph.name, number), SIZE_PX)
    return Record(
        members={"jpg": encode_jpeg(pixels)},
        captions=(f"a photograph of {photograph.caption}", photograph.caption),
        genre=photograph.genre,
        title=photograph.name,
        licence=LICENCE,
        split="val" if photograph.held_out else "train",
    )


def _painting(style: str, number: int) -> Record:
    photograph, palette = _subject(style, number)
    rng = _rng("wikiart", style, number)
    painter = styles.style(style)
    pixels = painter.paint(crop(photograph.name, rng, SIZE_PX), rng, palette)
    return Record(
        members={"jpg": encode_jpeg(pixels)},
        captions=(f"a painting of {photograph.caption}",),
        style=style,
        artist=painter.artist,
        genre=photograph.genre,
        title=f"{photograph.name}, {painter.palettes[palette]}",
        licence=LICENCE,
        split="train" if number < PAINTINGS_PER_STYLE - HELD_OUT_PER_STYLE else "val",
        extra={"palette": painter.palettes[palette]},
    )


def _subject(style: str, number: int) -> tuple[Photograph, int]:
    """What a painting shows and its palette: in the training split every subject in every palette
    once, in the validation split other crops, again one of each palette."""
    sitters = [p for p in PHOTOGRAPHS if p.paintable and not p.held_out]
    palette, sitter = divmod(number, len(sitters))
    first_held_out = PAINTINGS_PER_STYLE - HELD_OUT_PER_STYLE
    if number >= first_held_out:
        palette = number - first_held_out
        sitter = (number + styles.names().index(style)) % len(sitters)
    return sitters[sitter], palette % len(styles.style(style).palettes)


def _circle(number: int) -> Record:
    circle = circles.draw(_rng("fill50k", number))
    black, white = (0, 0, 0), (255, 255, 255)
    return Record(
        members={
            "target.png": encode_two_colour_png(circle.disc, circle.ground, circle.colour),
            "source.png": encode_two_colour_png(circle.outline, black, white),
        },
        captions=(circle.prompt,),
        licence="generated",
        split="val" if number % 10 == 9 else "train",
        extra={
            "source": f"source/{number}.png",
            "target": f"target/{number}.png",
            "prompt": circle.prompt,
        },
    )


def _pairs() -> Iterator[Ref]:
    """Pairs within a split: each content with one painting of every style, and one more."""
    names = styles.names()
    first_held_out = PAINTINGS_PER_STYLE - HELD_OUT_PER_STYLE
    for photograph in PHOTOGRAPHS:
        split = "val" if photograph.held_out else "train"
        low, high = (first_held_out, PAINTINGS_PER_STYLE) if split == "val" else (0, first_held_out)
        for number in range(CROPS_PER_PHOTOGRAPH):
            content = f"{photograph.name}-{number:02d}"
            rng = _rng("teacher", content)
            order = rng.permutation(len(names))
            chosen = set()
            for turn in range(STYLES_PER_CONTENT):
                style = names[order[turn % len(names)]]
                painting = int(rng.integers(low, high))
                while (style, painting) in chosen:
                    painting = low + (painting - low + 1) % (high - low)
                chosen.add((style, painting))
                style_id = f"{style.lower()}-{painting:03d}"
                yield Ref(f"{content}_{style_id}_seed0", (content, style_id, 0, split))
