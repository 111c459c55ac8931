"""The manifest: one Parquet row per input, those that failed included.

`SCHEMA` is version 1; manifests/README.md explains each column and a test holds the two together.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as json_reader
import pyarrow.parquet as pq

from toolkit.core.errors import UserError, one_line
from toolkit.core.files import atomic_path

SCHEMA_VERSION = 1
MEND = "delete it and pack again"
FINGERPRINT = b"tessera.fingerprint"
SHARD_SHA256 = b"tessera.shard_sha256"
MEMBER_NAMES = b"tessera.member_names"  # the column that members are named after, `key` if unset

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_MEMBER = pa.struct(
    [("ext", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("sha256", pa.string())]
)
_LINK = pa.struct([("role", pa.string()), ("dataset", pa.string()), ("key", pa.string())])

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        ("split", pa.string()),
        ("split_artist_disjoint", pa.string()),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        ("cause", pa.string()),
        ("error", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("style", pa.string()),
        ("artist", pa.string()),
        ("genre", pa.string()),
        ("title", pa.string()),
        ("caption", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("categories", pa.list_(pa.string())),
        ("source_id", pa.string()),
        ("licence", pa.string()),
        ("phash", pa.int64()),
        ("sha256", pa.string()),
        ("members", pa.list_(_MEMBER)),
        ("links", pa.list_(_LINK)),
        ("protocol", pa.string()),
        ("protocol_exact", pa.bool_()),
        ("attempt", pa.int32()),
        ("parent", pa.string()),
        ("grade", pa.string()),
        ("weight", pa.float32()),
        ("extra", pa.string()),
    ]
)

# What repeats from row to row is coded by a dictionary, names and places by their differences:
# a fifth smaller than Parquet's defaults.
_REPEATED = (
    "dataset", "split", "split_artist_disjoint", "shard", "status", "cause", "error", "width",
    "height", "format", "style", "artist", "genre", "licence", "protocol", "grade",
    "categories.list.element", "members.list.element.ext", "links.list.element.role",
    "links.list.element.dataset", "links.list.element.key",
)  # fmt: skip
_ENCODINGS = {
    "key": "DELTA_BYTE_ARRAY",
    "source_id": "DELTA_BYTE_ARRAY",
    "members.list.element.offset": "DELTA_BINARY_PACKED",
    "members.list.element.size": "DELTA_BINARY_PACKED",
}


def write_manifest(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    fingerprint: str,
    shard_sha256: str,
    in_place: bool = False,
) -> None:
    """Writes the rows of one shard, whole or not at all; the same rows give the same bytes.

    Args:
        path: the Parquet file.
        rows: one mapping per input, in shard order; absent columns become null.
        fingerprint: of everything that decided the shard's content; checked when packing resumes.
        shard_sha256: hex sha256 of the tar.
        in_place: whether the tar is somebody else's, with members named after source ids.
    """
    metadata = {
        b"tessera.schema_version": str(SCHEMA_VERSION).encode(),
        FINGERPRINT: fingerprint.encode(),
        SHARD_SHA256: shard_sha256.encode(),
        **({MEMBER_NAMES: b"source_id"} if in_place else {}),
    }
    table = _to_table(rows).replace_schema_metadata(metadata)
    with atomic_path(path) as temporary:
        pq.write_table(
            table, temporary, compression="zstd", compression_level=3,
            use_dictionary=list(_REPEATED), column_encoding=_ENCODINGS,
        )  # fmt: skip


def _to_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """By way of JSON: `Table.from_pylist` imports pandas where that is installed, which takes every
    packing process longer than all its other imports."""
    if not rows:
        return SCHEMA.empty_table()
    text = "\n".join(json.dumps(dict(row)) for row in rows).encode()
    return json_reader.read_json(
        io.BytesIO(text),
        json_reader.ReadOptions(use_threads=False, block_size=len(text) + 1),
        json_reader.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="error"),
    ).cast(SCHEMA)


def manifest_metadata(path: Path) -> dict[bytes, bytes]:
    """The fingerprint and the shard's sha256. Raises UserError for a damaged file."""
    try:
        return dict(pq.read_schema(path).metadata or {})
    except Exception as error:  # the reader raises anything on damaged bytes
        raise UserError(f"{path} is damaged ({one_line(error, 80)}): {MEND}") from None


def read_manifest(path: Path, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """All rows of one shard, whole or `columns` only. Raises UserError for a damaged file."""
    try:
        # not read_table: it imports pandas
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise ValueError("its columns are not those of a manifest")
            return file.read(columns).to_pylist()
    except Exception as error:  # the reader raises anything on damaged bytes
        raise UserError(f"{path} is damaged ({one_line(error, 80)}): {MEND}") from None


def to_json(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, so that equal values give equal bytes."""
    return _CANONICAL.encode(value)
