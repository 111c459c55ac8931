"""Indexes tars that somebody else made where they lie: a manifest and a link each, no copied byte.

The unit of work and of resuming is the tar. Keys are given out in one process, by the headers
alone, so they do not depend on the number of processes.
"""

import hashlib
import itertools
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.core.errors import UserError
from toolkit.core.files import link_atomic, sha256_of
from toolkit.core.spool import SeenKeys
from toolkit.core.tree import stamp_of
from toolkit.measures.hashes import perceptual_hash
from toolkit.packing.shard import ShardSummary, columns_of, summary_of
from toolkit.packing.workers import Pool, workers
from toolkit.packing.write import PackResult, Task, write_dataset
from toolkit.sources.webdataset import WebDataset, read_facts, read_part
from toolkit.store.images import (
    PictureError,
    decode_rgb,
    open_picture,
    picture_extension,
    reduced_grey,
)
from toolkit.store.ingest import Picture, Policy, ingest
from toolkit.store.keys import check_dataset_name, make_key, readable, shard_stem
from toolkit.store.layout import Layout
from toolkit.store.manifest import SCHEMA_VERSION, to_json, write_manifest
from toolkit.store.tar_samples import Part, TarSample, samples
from toolkit.store.tar_walk import TarRefused

REPEATED_NAMES = "names that an earlier tar has, too: their keys tell the tar"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ForeignTar:
    """One tar to index. keys: sample names to keys where these are not `make_key` of the name; an
    empty key is taken by an earlier sample. identity: changes with the tar's names and keys."""

    index: int
    path: Path
    keys: Mapping[str, str]
    identity: str


def index_in_place(
    source: WebDataset, dataset: str, layout: Layout, jobs: int = 1, policy: Policy = Policy(),  # noqa: B008 - frozen
    overwrite: bool = False, pool: Pool = workers,
) -> PackResult:  # fmt: skip
    """Writes a manifest for every tar of `source`, a link beside it, and the dataset's card.

    A manifest whose tar is unchanged is kept.

    Args:
        source: the tars.
        dataset: the name; folders of this name are made in both data folders.
        layout: the data folders.
        jobs: processes, at least 1.
        policy: how pictures are checked; a size to shrink them to is refused.
        overwrite: replace other data of this name.
        pool: opens what looks at the tars.

    Raises:
        UserError: an unusable name, a folder that cannot be written, no tar that can be used, or
            another process packing the same dataset.
    """
    check_dataset_name(dataset)
    if jobs < 1:
        raise UserError(f"--jobs={jobs}: takes 1 or more")
    if policy.size is not None:
        raise UserError("--reencode changes pictures, an index leaves them as they are: --repack")
    description = source.describe()
    if policy != Policy():
        description["policy"] = policy.describe()
    notes: Counter[str] = Counter()
    tars = _plan(source, description, notes)
    first = next(tars)  # a source without a usable tar is refused before anything is touched
    _refuse_own_tars(source, layout.shards / dataset)

    def tasks() -> Iterator[Task]:
        for tar in itertools.chain([first], tars):
            make = partial(index_tar, tar, dataset, layout, policy)
            link = partial(link_atomic, layout.tar(dataset, tar.index), tar.path)
            yield Task(tar.index, tar.identity, (), make, link)

    origin = str(source.src.resolve())
    return write_dataset(
        layout, dataset, description, tasks(), jobs, notes, origin, overwrite, pool
    )


def _refuse_own_tars(source: WebDataset, folder: Path) -> None:
    """A dataset's own tars would be replaced by links to themselves."""
    src, place = source.src.resolve(), folder.resolve()
    if src.parent == place or (src.is_dir() and place.is_relative_to(src)):
        raise UserError(
            f"the links of this dataset would lie among the tars of {source.src}: "
            "give --shards=… another folder"
        )


def _plan(
    source: WebDataset, description: dict[str, Any], notes: Counter[str]
) -> Iterator[ForeignTar]:
    with SeenKeys() as seen:
        for index, (name, path) in enumerate(source.tars(notes)):
            keys: dict[str, str] = {}
            parts = [SCHEMA_VERSION, "in place", description, readable(name)]
            digest = hashlib.sha256(to_json(parts).encode())
            for sample in _samples(path):
                key = make_key(sample.name)
                if not seen.add(key):
                    key = make_key(f"{name}/{sample.name}")
                    keys[sample.name] = key if seen.add(key) else ""
                    notes[REPEATED_NAMES] += 1
                digest.update(to_json([readable(sample.name), key]).encode())
            yield ForeignTar(index, path, keys, digest.hexdigest())


def _samples(path: Path) -> Iterator[TarSample]:
    """The samples of a tar that has been examined."""
    try:
        yield from samples(path)
    except TarRefused as error:
        raise _changed(path, error) from None


def _changed(path: Path, why: object) -> UserError:
    return UserError(f"{path} changed while it was read ({why}): wait for its end and pack again")


def index_tar(tar: ForeignTar, dataset: str, layout: Layout, policy: Policy) -> ShardSummary:
    """Reads every sample of one tar and writes its manifest."""
    facts = {"dataset": dataset, "shard": shard_stem(dataset, tar.index)}
    before = stamp_of(tar.path)
    try:
        with open(tar.path, "rb") as file:
            rows = [{**_row(file, s, tar.keys, policy), **facts} for s in _samples(tar.path)]
        digest = sha256_of(tar.path)
    except OSError as error:
        raise UserError(f"{tar.path} cannot be read: {error.strerror or error}") from None
    if stamp_of(tar.path) != before:
        raise _changed(tar.path, "its size or time is another")
    write_manifest(layout.manifest(dataset, tar.index), rows, tar.identity, digest, in_place=True)
    return summary_of(tar.index, rows)


def _row(
    file: BinaryIO, sample: TarSample, keys: Mapping[str, str], policy: Policy
) -> dict[str, Any]:
    name = readable(sample.name)
    key = keys.get(sample.name, make_key(sample.name))
    failed = {"key": key or make_key(sample.name), "source_id": name, "status": "failed"}
    try:
        if not key:
            raise PictureError("duplicate_key", "its key is taken by an earlier sample")
        first, picture = _check_pictures(file, sample, policy)
        record = read_facts(file, list(sample.parts))
        members = [_member(file, part) for part in sample.parts]
    except PictureError as error:
        return {**failed, "cause": error.cause, "error": readable(str(error))}
    needs = {"needs": list(picture.changes)} if picture.changes else {}
    record = replace(record, extra={**record.extra, **needs})
    return {
        **columns_of(record, replace(picture, changes=())),
        "key": key,
        "source_id": name,
        "status": "ok",
        "sha256": next(m["sha256"] for m in members if m["offset"] == first.offset),
        "phash": None if picture.grey is None else perceptual_hash(picture.grey),
        "members": members,
        "weight": 1.0,
    }


def _check_pictures(file: BinaryIO, sample: TarSample, policy: Policy) -> tuple[Part, Picture]:
    """The first picture of a sample, once all of them have been checked. Raises PictureError."""
    found: tuple[Part, Picture] | None = None
    for part in sample.parts:
        if picture_extension(part.ext):
            picture = _check(read_part(file, part), policy)
            found = found or (part, picture)
    if found is None:
        raise PictureError("no_picture", "the sample has no picture")
    return found


def _check(data: bytes, policy: Policy) -> Picture:
    """A picture as it lies there; `changes` says what packing would have done to it.

    Raises PictureError when it cannot be used as it is.
    """
    picture = ingest(data, policy)
    if not picture.changes:
        return picture
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as `ingest` does
        height, width = decode_rgb(data).shape[:2]
        kind = (open_picture(data).format or "").lower()
        grey = None if picture.grey is None else reduced_grey(data)
    kind = "jpeg" if kind == "mpo" else kind
    return replace(picture, data=data, width=width, height=height, format=kind, grey=grey)


def _member(file: BinaryIO, part: Part) -> dict[str, Any]:
    """Place and hash of one member, read piece by piece: it may be of any size."""
    digest, left, place = hashlib.sha256(), part.size, part.offset
    while left:
        chunk = os.pread(file.fileno(), min(left, _CHUNK_BYTES), place)
        if not chunk:
            raise PictureError("truncated", f"the tar ends inside {part.ext}")
        digest.update(chunk)
        left, place = left - len(chunk), place + len(chunk)
    return {
        "ext": readable(part.ext), "offset": part.offset, "size": part.size,
        "sha256": digest.hexdigest(),
    }  # fmt: skip
