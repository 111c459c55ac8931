"""Rebuilds lost or damaged manifests from the tars that Tessera wrote.

Each sample's `.json` member repeats what was known of it. What no tar tells is lost: failed inputs,
`extra`, and the inputs' own names, in whose place the keys stand.
"""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.core.errors import UserError, one_line
from toolkit.core.files import held, make_folders, sha256_of, without_temporary
from toolkit.core.records import Link
from toolkit.measures.hashes import perceptual_hash
from toolkit.packing.card import write_card
from toolkit.sources.webdataset import read_part
from toolkit.store.card import read_card
from toolkit.store.check import check_shard
from toolkit.store.images import PictureError, picture_extension
from toolkit.store.ingest import Picture, ingest
from toolkit.store.keys import check_dataset_name, readable
from toolkit.store.layout import PACK_FIRST, Layout
from toolkit.store.manifest import (
    SHARD_SHA256,
    manifest_metadata,
    read_manifest,
    write_manifest,
)
from toolkit.store.tar import Member
from toolkit.store.tar_samples import TarSample, samples
from toolkit.store.tar_walk import TarRefused

_TEXTS = (
    "split", "split_artist_disjoint", "style", "artist", "genre", "title", "caption", "licence",
    "protocol", "parent", "grade", "extra",
)  # fmt: skip
_NUMBERS = {"attempt": int, "protocol_exact": bool, "weight": float}
_LISTS = ("captions", "categories")
_CHANGED = (
    "its manifest is sound, the tar is not the one it was written for: run the command that packed "
    "it again, or delete the manifest to believe the tar"
)


@dataclass(frozen=True)
class Repair:
    """What came of one dataset. rebuilt: names of shards whose manifests were written; hopeless:
    names of shards whose tar cannot tell it, and why."""

    rebuilt: tuple[str, ...]
    hopeless: tuple[tuple[str, str], ...]


class _NotOurs(Exception):
    """Why the content of a tar cannot become manifest rows."""


def packed_names(layout: Layout) -> list[str]:
    """Datasets that have a tar, with or without manifests. Raises UserError when there is none."""
    folders = sorted(p for p in layout.shards.glob("*") if p.is_dir())
    names = [folder.name for folder in folders if _tars(layout, folder.name)]
    if not names:
        raise UserError(f"no tars in {layout.shards}: {PACK_FIRST}")
    return names


def repair(layout: Layout, dataset: str) -> Repair:
    """Rebuilds the manifests of one dataset that are missing, unreadable, or do not fit their tar.

    A tar must scan and decode cleanly to be believed. Sound manifests stay byte for byte, and so
    does one that can be read and says that its tar is another: the tar may be what changed. When
    all are there again, dataset.json is written anew, by the same source as before or `repaired`.

    Raises:
        UserError: no such dataset, a folder that cannot be written, or somebody packing it.
    """
    check_dataset_name(dataset)
    tars = _tars(layout, dataset)
    if not tars:
        raise UserError(f"no tars of {dataset} in {layout.shards}: pack it again")
    folder = layout.manifests / dataset
    rebuilt: list[str] = []
    hopeless: list[tuple[str, str]] = []
    listed = {tar: layout.manifest_named(dataset, tar.stem) for tar in tars}
    wrong = [tar for tar in tars if not _is_sound(layout, dataset, listed[tar])]
    if not wrong:
        return Repair((), ())
    make_folders([folder])
    busy = f"another process is packing {dataset}: wait for it"
    with held(folder, busy), without_temporary([folder]):
        made_by = _made_by(layout, dataset)
        for tar in wrong:
            if _is_of_another_tar(listed[tar], tar):
                hopeless.append((tar.stem, _CHANGED))
                continue
            try:
                rows = _rows(tar, dataset)
                digest = sha256_of(tar)
            except (TarRefused, _NotOurs) as error:
                hopeless.append((tar.stem, str(error)))
                continue
            except OSError as error:
                hopeless.append((tar.stem, f"the tar cannot be read: {error.strerror or error}"))
                continue
            layout.card(dataset).unlink(missing_ok=True)  # written last, as when packing
            identity = hashlib.sha256(f"repaired {dataset} {digest}".encode()).hexdigest()
            write_manifest(listed[tar], rows, identity, digest)
            rebuilt.append(tar.stem)
        if rebuilt and not hopeless:
            write_card(layout, dataset, made_by, {})
    return Repair(tuple(rebuilt), tuple(hopeless))


def _made_by(layout: Layout, dataset: str) -> dict[str, Any]:
    """Where the dataset came from, so that it can be packed again under its name."""
    try:
        return {**read_card(layout, dataset)["made_by"], "repaired": True}
    except (UserError, LookupError, TypeError):
        return {"kind": "repaired"}


def _is_of_another_tar(manifest: Path, tar: Path) -> bool:
    try:
        read_manifest(manifest)
        return manifest_metadata(manifest).get(SHARD_SHA256) != sha256_of(tar).encode()
    except (UserError, OSError):
        return False


def _tars(layout: Layout, dataset: str) -> list[Path]:
    return sorted((layout.shards / dataset).glob(f"{dataset}-??????.tar"))


def _is_sound(layout: Layout, dataset: str, manifest: Path) -> bool:
    if not manifest.exists():
        return False
    try:
        return not check_shard(layout, dataset, manifest)[1]
    except OSError:  # the tar is at fault, and the manifest all that is left of it
        return True


def _rows(tar: Path, dataset: str) -> list[dict[str, Any]]:
    """The manifest rows that a tar itself gives. Raises TarRefused, _NotOurs, OSError."""
    if tar.is_symlink():
        raise _NotOurs("the tar is somebody else's: run python -m toolkit.pack webdataset again")
    notes: Counter[str] = Counter()
    rows = []
    with open(tar, "rb") as file:
        for sample in samples(tar, notes):
            try:
                row = _row(file, sample, dataset)
            except (PictureError, _NotOurs) as error:
                raise _NotOurs(readable(f"the tar's sample {sample.name}: {error}")) from None
            rows.append({**row, "shard": tar.stem})
    if notes:
        raise _NotOurs(f"the tar is not as it was written: {', '.join(notes)}")
    return rows


def _row(file: BinaryIO, sample: TarSample, dataset: str) -> dict[str, Any]:
    members, texts = [], dict[str, bytes]()
    primary: tuple[str, Picture] | None = None
    for part in sample.parts:
        data = read_part(file, part)
        digest = hashlib.sha256(data).hexdigest()
        members.append(asdict(Member(part.ext, part.offset, part.size, digest)))
        if picture_extension(part.ext):
            primary = primary or (digest, ingest(data))
        elif part.ext in ("json", "txt"):
            texts[part.ext] = data
    if primary is None:
        raise _NotOurs("it has no picture")
    facts = _facts(texts.get("json", b""))
    if facts.get("key") != sample.name or facts.get("dataset") != dataset:
        raise _NotOurs(f"its .json does not say that it is {dataset}/{sample.name}")
    columns = _columns(facts)
    if texts.get("txt") != (columns["caption"] or "").encode():
        raise _NotOurs("its .txt is not the caption in its .json")
    digest, picture = primary
    return {
        **columns,
        "key": sample.name,
        "dataset": dataset,
        "source_id": sample.name,
        "status": "ok",
        "width": picture.width,
        "height": picture.height,
        "format": picture.format,
        "sha256": digest,
        "phash": None if picture.grey is None else perceptual_hash(picture.grey),
        "members": members,
    }


def _facts(data: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _NotOurs(f"its .json cannot be read: {one_line(error, 80)}") from None
    if not isinstance(facts, dict):
        raise _NotOurs("its .json holds no object")
    return facts


def _columns(facts: dict[str, Any]) -> dict[str, Any]:
    """The columns that a sample's `.json` repeats; what was empty is not in it."""
    columns: dict[str, Any] = {name: facts.get(name) for name in _TEXTS}
    columns |= {name: facts.get(name, []) for name in (*_LISTS, "links")}
    columns |= {"weight": 1.0, **{name: facts[name] for name in _NUMBERS if name in facts}}
    try:
        for name, kind in _NUMBERS.items():
            if not isinstance(columns.get(name), (kind, type(None))):
                raise TypeError(f"{name} is {columns[name]!r}")
        columns["links"] = [asdict(Link(**link)) for link in columns["links"]]
        texts = [columns[name] for name in _TEXTS if columns[name] is not None]
        texts += [text for name in _LISTS for text in columns[name]]
        texts += [text for link in columns["links"] for text in link.values()]
        "".join(texts).encode()
    except (TypeError, ValueError) as error:
        raise _NotOurs(f"its .json is of another shape: {one_line(error, 80)}") from None
    if columns["captions"]:
        columns["caption"] = columns["captions"][0]  # an empty one is left out of the .json
    return columns
