"""Tars in the WebDataset convention, made by anybody: indexed where they lie, or packed anew.

A sample's `.txt` is its caption; its `.json` may hold caption, captions, style, artist, genre,
title, licence (or license), categories and split, and the rest of it is kept in the manifest's
`extra`, as is `.cls`. What Tessera wrote, it reads whole: links, protocols and grades come back.
Plain tars are indexed without copying a byte; `--repack` copies the samples into standard shards
and takes tars compressed with gzip, bzip2 or xz too, of which a few at a time have a plain copy in
the folder for temporary files (TMPDIR).
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.core.errors import UserError, one_line
from toolkit.core.records import Record, Ref
from toolkit.core.spool import SeenKeys
from toolkit.core.tree import stamp_of, walk_files
from toolkit.store.images import PictureError, picture_extension
from toolkit.store.keys import make_key, readable
from toolkit.store.tar_samples import Part, TarSample, examine, samples
from toolkit.store.tar_walk import TarRefused, compression
from toolkit.store.told import told_by_us
from toolkit.store.untar import PlainCopies

MAX_TEXT_BYTES = 1 << 20
MAX_MEMBER_BYTES = 1 << 30
FACTS = ("txt", "json", "cls")
_TEXT_FIELDS = ("style", "artist", "genre", "title", "licence", "split")
_MAX_NAMED = 20
_TAR = r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz|zst))$"


def open_source(src: Path, repack: bool = False) -> "WebDataset":
    """Opens a tar or a folder of tars. Raises UserError when there is none with a picture.

    Args:
        src: the tar, or the folder that holds them at any depth.
        repack: copy the samples into standard shards instead of indexing the tars in place.
    """
    if not src.is_dir() and not src.is_file():
        raise UserError(f"there is no tar or folder {src}: give an existing one with --src=…")
    opened = WebDataset(src, repack, PlainCopies() if repack else None)
    _, path = next(opened.tars())
    first = next(found for s in samples(path) if (found := _pictures(s.parts)))
    kind = picture_extension(first[0].ext) or "jpg"
    # of several pictures each has a name of its own: target.png, source.png
    named = first[0].ext.rpartition(".")[0] if len(first) > 1 else ""
    return replace(opened, ext=f"{named}.{kind}" if named else kind)


def _pictures(parts: Iterable[Part]) -> list[Part]:
    return [part for part in parts if picture_extension(part.ext)]


@dataclass(frozen=True)
class WebDataset:
    """Tars of samples. repack: whether samples are copied. ext: the one extension that primary
    pictures get when they are copied."""

    src: Path
    repack: bool = False
    copies: PlainCopies | None = None
    ext: str = "jpg"

    def tars(self, notes: Counter[str] | None = None) -> Iterator[tuple[str, Path]]:
        """Yields (name, plain tar) of the tars that can be used; `notes` names the others.

        Raises UserError when no tar can be used.
        """
        notes = Counter() if notes is None else notes
        refused: list[str] = []
        usable = 0
        for name in self._names():
            try:
                path = self._plain(name)
                examine(path, notes)
            except TarRefused as error:
                notes["refused tars"] += 1
                if self.src.is_file():
                    raise UserError(f"{self.src}: {error}") from None
                if len(refused) < _MAX_NAMED:
                    refused.append(f"{one_line(readable(name), 120)}: {error}")
                    notes[f"refused: {refused[-1]}"] = 1
                continue
            usable += 1
            yield name, path
        if usable:
            return
        if not notes["refused tars"]:
            raise UserError(f"no tars in {self.src}: expected files ending in .tar")
        raise UserError(
            f"none of the {notes['refused tars']} tars in {self.src} can be used: "
            + "; ".join(refused[:2])
        )

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """Samples tar by tar, each in the order of its tar."""
        with SeenKeys() as seen:
            for name, path in self.tars(notes):
                stamp = stamp_of(self._path(name))
                for sample in _again(path, name):
                    # the same name in two tars: the second one's key tells the tar, too
                    key = sample.name if seen.add(make_key(sample.name)) else ""
                    parts = tuple((p.ext, p.offset, p.size) for p in sample.parts)
                    source_id = readable(f"{name}/{sample.name}")
                    yield Ref(source_id, (name, parts), stamp, readable(key))

    def read(self, ref: Ref) -> Record:
        """The sample's pictures, its facts, and its other members under their own extensions."""
        name, places = ref.locator
        parts = [Part(*place) for place in places]
        pictures = _pictures(parts)
        own = [part for part in pictures if part.ext == self.ext]
        first = (own or pictures)[:1]
        others = [p for p in parts if p not in first and p.ext not in FACTS]
        kept = [p for p in others if re.fullmatch(r"[a-z0-9_.-]{1,16}", p.ext)]
        try:
            with self._open(name) as file:
                named = [*((self.ext, part) for part in first), *((p.ext, p) for p in kept)]
                members = {ext: read_part(file, part) for ext, part in named}
                record = read_facts(file, parts)
        except TarRefused as error:
            raise PictureError("unreadable", f"{name}: {error}") from None
        left = [readable(part.ext) for part in others if part not in kept]
        extra = {**record.extra, **({"left_out": left} if left else {})}
        return replace(record, members=members, extra=extra)

    def describe(self) -> dict[str, Any]:
        """Kind and name of the tar or folder, and whether its samples are copied."""
        copied = {"repack": True, "ext": self.ext} if self.repack else {}
        return {"kind": "webdataset", "src": self.src.resolve().name, **copied}

    def _names(self) -> Iterator[str]:
        if self.src.is_file():
            return iter([self.src.name])
        return walk_files(self.src, lambda name: bool(re.search(_TAR, name.lower())))

    def _path(self, name: str) -> Path:
        return self.src if self.src.is_file() else self.src / name

    def _plain(self, name: str) -> Path:
        path = self._path(name)
        kind = compression(path)
        if kind is None:
            return path
        if self.copies is None:
            raise TarRefused(
                f"is compressed ({kind}), so it has no byte ranges: uncompress it, or add --repack"
            )
        return self.copies.plain(path, kind)

    def _open(self, name: str) -> BinaryIO:
        path = self._path(name)
        kind = compression(path)
        if kind is None or self.copies is None:
            return open(path, "rb")
        return self.copies.open(path, kind)


def _again(path: Path, name: str) -> Iterator[TarSample]:
    """The samples of a tar that has been examined."""
    try:
        yield from samples(path)
    except TarRefused as error:
        raise UserError(f"{name}: {error}: it changed while it was read, pack again") from None


def read_part(file: BinaryIO, part: Part) -> bytes:
    """The bytes of one member. Raises PictureError where they are gone or too many."""
    if part.size > MAX_MEMBER_BYTES:
        raise PictureError("too_large", f"{part.ext} has {part.size} bytes")
    file.seek(part.offset)
    data = file.read(part.size)
    if len(data) != part.size:
        raise PictureError("truncated", f"the tar ends inside {part.ext}")
    return data


def read_facts(file: BinaryIO, parts: list[Part]) -> Record:
    """What the texts of a sample say of it, as a record without members. Raises PictureError."""
    texts: dict[str, bytes] = {}
    for part in parts:
        if part.ext in FACTS:
            if part.size > MAX_TEXT_BYTES:
                raise PictureError("bad_metadata", f"{part.ext} has {part.size} bytes")
            texts[part.ext] = read_part(file, part)
    return _record(texts)


def _record(texts: Mapping[str, bytes]) -> Record:
    facts = _json(texts["json"]) if "json" in texts else {}
    ours = told_by_us(facts)
    if "license" in facts and "licence" not in facts:
        facts["licence"] = facts.pop("license")
    known: dict[str, Any] = {name: _text(facts.pop(name, None)) for name in _TEXT_FIELDS}
    captions = _texts(facts.pop("captions", None)) or _texts(facts.pop("caption", None))
    if not captions and "txt" in texts:
        captions = _texts(_decoded(texts["txt"]))
    if "cls" in texts:
        label = _decoded(texts["cls"])
        facts["cls"] = int(label) if re.fullmatch(r"-?\d{1,18}", label) else label
    categories = _texts(facts.pop("categories", None))
    if ours:
        facts.pop("caption", None)  # the first of the captions
    facts |= ours.pop("extra", {})
    return Record(
        members={}, captions=captions, categories=categories, extra=facts, **known, **ours
    )


def _decoded(data: bytes) -> str:
    return data.decode("utf-8-sig", errors="replace").strip()


def _json(data: bytes) -> dict[str, Any]:
    """The object of a `.json` member; what is no object is kept as the fact `json`."""
    try:
        # NaN and its kin are no JSON: what reads `extra` would stumble
        facts = json.loads(data.decode("utf-8-sig"), parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise PictureError("bad_metadata", f"json is not valid JSON: {error}") from None
    return facts if isinstance(facts, dict) else {"json": facts}


def _texts(value: Any) -> tuple[str, ...]:
    """One text, or a list of them, or nothing, as texts."""
    values = value if isinstance(value, list) else [value]
    return tuple(str(item) for item in values if item not in (None, ""))


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
