"""The samples of a tar in the WebDataset convention, whoever made it, by their headers alone."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.spool import SeenKeys
from toolkit.store.images import picture_extension
from toolkit.store.keys import readable
from toolkit.store.tar_walk import TarRefused, files

MAX_PARTS = 10_000
NO_SAMPLE = "members without a sample's name"
_MAX_KINDS = 1000
_MAX_KINDS_NAMED = 4


@dataclass(frozen=True)
class Part:
    """One member of a sample. ext: in lower case; offset: of its bytes in the tar."""

    ext: str
    offset: int
    size: int


@dataclass(frozen=True)
class TarSample:
    """A sample by the name that its tar gives it, folder part included."""

    name: str
    parts: tuple[Part, ...]


def split_name(name: str) -> tuple[str, str] | None:
    """A member's sample and extension: `dir/a.b.jpg` is `b.jpg` of `dir/a`.

    None for what belongs to no sample: names without an extension, hidden files, `__meta__`.
    """
    folder, slash, base = name.rpartition("/")
    stem, _, ext = base.partition(".")
    if not stem or not ext or re.match(r"__[^/]*__($|/)", name):
        return None
    return folder + slash + stem, ext.lower()


def samples(path: Path, notes: Counter[str] | None = None) -> Iterator[TarSample]:
    """Yields the samples of a plain tar in their order.

    Args:
        path: the tar.
        notes: counts what is odd but harmless.

    Raises:
        TarRefused: as `tar_walk.files` does; a sample in two places, a member that stands twice.
    """
    notes = Counter() if notes is None else notes
    current, parts = "", dict[str, Part]()
    with SeenKeys() as seen:
        for file in files(path, notes):
            found = split_name(file.name)
            if found is None:
                notes[NO_SAMPLE] += 1
                continue
            name, ext = found
            if name != current:
                if parts:
                    yield TarSample(current, tuple(parts.values()))
                if not seen.add(name):
                    raise TarRefused(
                        f"{file.name} stands apart from the other members of its sample {name}"
                    )
                current, parts = name, {}
            if ext in parts:
                raise TarRefused(f"{file.name} stands twice")
            if len(parts) == MAX_PARTS:
                raise TarRefused(f"the sample {name} has more than {MAX_PARTS} members")
            parts[ext] = Part(ext, file.offset, file.size)
    if parts:
        yield TarSample(current, tuple(parts.values()))


def examine(path: Path, notes: Counter[str]) -> None:
    """Walks a whole tar. Raises TarRefused when it cannot be read or holds no picture at all."""
    kinds: Counter[str] = Counter()
    pictures, found = 0, Counter[str]()
    for sample in samples(path, found):
        for part in sample.parts:
            pictures += picture_extension(part.ext) is not None
            if part.ext in kinds or len(kinds) < _MAX_KINDS:
                kinds[part.ext] += 1
    if not pictures:
        raise TarRefused(f"holds no pictures: {_described(kinds, found[NO_SAMPLE])}")
    notes.update(found)


def _described(kinds: Counter[str], nameless: int) -> str:
    texts = [f"{count} {readable(f'.{kind}')}" for kind, count in kinds.most_common()]
    more = len(texts) - _MAX_KINDS_NAMED
    texts = [*texts[:_MAX_KINDS_NAMED], *([f"{more} other kinds"] if more > 0 else [])]
    if nameless:
        texts.append(f"{nameless} {NO_SAMPLE}")
    return ", ".join(texts) or "no files"
