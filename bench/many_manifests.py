"""Synthetic datasets of any size, in minutes: manifests of many rows over the pictures of one tar.

Each shard's manifest is the first one's table with other keys, captions, styles and links, so all
columns are there, and every row has a picture that can be read.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STYLES, ARTISTS = 27, 1000


def write_dataset(
    layout: Any, name: str, rows: int, per_shard: int, links: Mapping[str, int] | None = None
) -> None:
    """A dataset of so many rows. links: by role, which is the linked dataset's name too, how many
    rows that has."""
    from toolkit.core.files import sha256_of
    from toolkit.store.manifest import write_manifest

    tar, members = _tar(layout, name)
    digest, first = sha256_of(tar), layout.manifest(name, 0)
    first.parent.mkdir(parents=True, exist_ok=True)
    template = [
        {"key": f"{n:09d}", "dataset": name, "shard": first.stem, "status": "ok", "width": 32,
         "height": 32, "format": "jpeg", "style": "", "artist": "", "split": "train",
         "caption": "", "captions": [], "source_id": "", "licence": "CC0", "phash": n,
         "sha256": members[n % len(members)]["sha256"], "weight": 1.0,
         "members": [members[n % len(members)]], "links": []}
        for n in range(per_shard)
    ]  # fmt: skip
    write_manifest(first, template, "f", digest)
    table = pq.read_table(first)
    numbers = np.arange(per_shard, dtype=np.int64)
    for index in range(-(-rows // per_shard)):
        here = numbers[: min(per_shard, rows - index * per_shard)] + index * per_shard
        path = layout.manifest(name, index)
        if index:
            layout.tar(name, index).hardlink_to(tar)
        pq.write_table(_changed(table, here, path.stem, links or {}), path, compression="zstd")
    layout.card(name).write_text(
        json.dumps({"root_sha256": f"{name} {rows}", "parents": list(links or {}),
                    "shards": [None] * -(-rows // per_shard)})
    )  # fmt: skip


def _changed(table: pa.Table, numbers: np.ndarray, stem: str, links: Mapping[str, int]) -> pa.Table:
    table = table.slice(0, len(numbers))
    texts = np.char.zfill(numbers.astype("U9"), 9)
    named = {
        "key": pa.array(texts), "source_id": pa.array(texts),
        "caption": pa.array(np.char.add("a picture, number ", texts)),
        "style": _named("style", numbers % STYLES), "artist": _named("artist", numbers % ARTISTS),
        "shard": pa.array([stem] * len(numbers)), "links": _links(numbers, links),
    }  # fmt: skip
    for name, values in named.items():
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, values.cast(field.type))
    return table


def _named(what: str, numbers: np.ndarray) -> pa.Array:
    return pa.array(np.char.add(f"{what} ", numbers.astype("U9")))


def _links(numbers: np.ndarray, links: Mapping[str, int]) -> pa.Array:
    roles = list(links)
    keys = np.empty((len(numbers), max(len(roles), 1)), "U9")
    for place, role in enumerate(roles):
        keys[:, place] = np.char.zfill((numbers * 7919 % links[role]).astype("U9"), 9)
    flat = keys[:, : len(roles)].reshape(-1)
    names = np.tile(np.array(roles, "U16"), len(numbers))
    parts = [pa.array(names), pa.array(names), pa.array(flat)]
    structs = pa.StructArray.from_arrays(parts, ["role", "dataset", "key"])
    offsets = pa.array(np.arange(len(numbers) + 1, dtype=np.int32) * len(roles))
    return pa.ListArray.from_arrays(offsets, structs)


def _tar(layout: Any, name: str) -> tuple[Path, list[dict[str, Any]]]:
    from toolkit.store.images import encode_jpeg
    from toolkit.store.tar import ShardWriter

    tar = layout.tar(name, 0)
    shutil.rmtree(tar.parent, ignore_errors=True)
    tar.parent.mkdir(parents=True)
    rng = np.random.Generator(np.random.Philox(1))
    members = []
    with ShardWriter(tar) as shard:
        for number in range(1000):
            coarse = rng.integers(0, 255, (4, 4, 3), np.uint8)
            data = encode_jpeg(np.kron(coarse, np.ones((8, 8, 1), np.uint8)))
            (member,) = shard.write(f"{number:09d}", {"jpg": data})
            members.append({"ext": "jpg", "offset": member.offset, "size": member.size,
                            "sha256": member.sha256})  # fmt: skip
    return tar, members
