"""Makes one shard and its manifest rows from a slice of a source's inputs.

A shard is the unit of work, of resuming and of retry: it holds exactly the inputs it was given, in
their order, whichever process made it, and a failed input costs a row with its cause, not the pack.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from toolkit.core.errors import one_line
from toolkit.core.files import atomic_path
from toolkit.core.records import Reader, Record, Split
from toolkit.measures.hashes import perceptual_hash
from toolkit.packing.plan import Input
from toolkit.store.images import PictureError, picture_extension
from toolkit.store.ingest import Picture, Policy, ingest
from toolkit.store.keys import readable, shard_stem
from toolkit.store.layout import Layout
from toolkit.store.manifest import SCHEMA_VERSION, to_json, write_manifest
from toolkit.store.tar import ShardWriter


@dataclass(frozen=True)
class ShardSummary:
    """What came of one shard. causes: how often each failure cause occurred."""

    index: int
    num_ok: int
    num_failed: int
    causes: dict[str, int]


def fingerprint(dataset: str, description: dict[str, Any], inputs: Sequence[Input]) -> str:
    """Identifies what a shard was made from; a shard with another one is packed again."""
    named = [[x.ref.source_id, x.key, x.clash] for x in inputs]
    parts = [SCHEMA_VERSION, dataset, description, named]
    return hashlib.sha256(to_json(parts).encode()).hexdigest()


def make_shard(
    source: Reader,
    dataset: str,
    index: int,
    inputs: Sequence[Input],
    layout: Layout,
    identity: str,
    policy: Policy,
) -> ShardSummary:
    """Reads the inputs and writes tar, then manifest, each whole or not at all.

    Args:
        source: where the inputs come from.
        dataset: the dataset's name.
        index: the shard's number.
        inputs: those of this shard, in order.
        layout: the data folders; the dataset's folders must exist.
        identity: `fingerprint` of this shard, stored in the manifest.
        policy: how pictures are taken in.
    """
    stem = shard_stem(dataset, index)
    tar_path = layout.tar(dataset, index)
    rows: list[dict[str, Any]] = []
    with atomic_path(tar_path) as temporary, ShardWriter(temporary) as shard:
        for item in inputs:
            row = _pack_one(source, dataset, item, shard, policy)
            source_id = readable(item.ref.source_id)
            rows.append({**row, "dataset": dataset, "shard": stem, "source_id": source_id})
    write_manifest(layout.manifest(dataset, index), rows, identity, shard.sha256)
    return summary_of(index, rows)


def summary_of(index: int, rows: list[dict[str, Any]]) -> ShardSummary:
    """Counts the rows of one shard."""
    causes: dict[str, int] = {}
    for row in rows:
        if row["status"] != "ok":
            causes[row["cause"]] = causes.get(row["cause"], 0) + 1
    failed = sum(causes.values())
    return ShardSummary(index, len(rows) - failed, failed, causes)


def _pack_one(
    source: Reader, dataset: str, item: Input, shard: ShardWriter, policy: Policy
) -> dict[str, Any]:
    key = item.key
    try:
        if item.clash:
            raise PictureError("duplicate_key", f"the key {key} is taken by an earlier input")
        record = source.read(item.ref)
        for split in (record.split, record.split_artist_disjoint):
            if split not in (None, *get_args(Split)):
                raise PictureError("bad_metadata", f"the split {split!r} is not train, val or test")
        if record.refused is not None:
            cause, error = record.refused
            facts = {**columns_of(record, None), "weight": record.weight}
            return {**facts, "key": key, "status": "failed", "cause": cause, "error": error}
        members, primary = _members(record, policy)
    except PictureError as error:
        return {"key": key, "status": "failed", "cause": error.cause, "error": readable(str(error))}
    except OSError as error:
        reason = one_line(error.strerror or error)
        return {"key": key, "status": "failed", "cause": "unreadable", "error": reason}
    facts = columns_of(record, primary)
    members["txt"] = (facts["caption"] or "").encode()
    told = {"key": key, "dataset": dataset, **_plain(facts)}
    if record.attempt is not None:  # how it was made stays with it
        told |= {"weight": record.weight, "extra": facts["extra"]}
    members["json"] = to_json(told).encode()
    written = shard.write(key, members)
    return {
        **facts,
        "key": key,
        "status": "ok",
        "sha256": next(m.sha256 for m in written if picture_extension(m.ext)),
        "phash": None if primary.grey is None else perceptual_hash(primary.grey),
        "members": [dict(vars(member)) for member in written],
        "weight": record.weight,
    }


def _members(record: Record, policy: Policy) -> tuple[dict[str, bytes], Picture]:
    """The members to store, pictures checked and normalised, and the primary picture."""
    members: dict[str, bytes] = {}
    primary: Picture | None = None
    for ext, data in record.members.items():
        if picture_extension(ext) is None:
            members[ext] = data
            continue
        picture = ingest(data, policy)
        members[ext] = picture.data
        primary = primary or picture
    if primary is None:
        raise PictureError("no_picture", "the sample has no picture")
    return members, primary


def columns_of(record: Record, primary: Picture | None) -> dict[str, Any]:
    """The manifest columns that say what is known of a sample; without a picture those of its
    picture are left away."""
    extra = dict(record.extra)
    if primary is not None and primary.changes:
        extra["changes"] = list(primary.changes)
    captions = [readable(caption) for caption in record.captions]
    facts = {
        "split": record.split,
        "split_artist_disjoint": record.split_artist_disjoint,
        "width": None if primary is None else primary.width,
        "height": None if primary is None else primary.height,
        "format": None if primary is None else primary.format,
        "style": record.style,
        "artist": record.artist,
        "genre": record.genre,
        "title": record.title,
        "caption": captions[0] if captions else None,
        "captions": captions,
        "categories": [readable(category) for category in record.categories],
        "licence": record.licence,
        "links": [asdict(link) for link in record.links],
        "protocol": record.protocol,
        "protocol_exact": record.protocol_exact,
        "attempt": record.attempt,
        "parent": record.parent,
        "grade": record.grade,
        "extra": to_json(extra) if extra else None,
    }
    return {k: readable(v) if isinstance(v, str) else v for k, v in facts.items()}


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that the sample's own JSON member repeats for readers without the manifest."""
    return {k: v for k, v in facts.items() if v not in (None, [], "") and k != "extra"}
