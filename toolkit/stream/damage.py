"""Tells bytes that were packed undecodable from bytes that were damaged afterwards."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.core.errors import UserError
from toolkit.store.layout import Layout
from toolkit.stream.coalesce import Piece


def refuse_damage(layout: Layout, piece: Piece, data: bytes) -> None:
    """Raises UserError where the manifest has another sha256 for these bytes: to replace them would
    let one machine train on other data than the next."""
    tar = Path(piece.path)
    dataset = tar.parent.name
    try:
        table = pq.ParquetFile(layout.manifest_named(dataset, tar.stem)).read(["members"])
    except (OSError, pa.ArrowException):
        return  # nothing to compare with; `verify` reports that
    members = (m for row in table.column("members").to_pylist() for m in row or ())
    expected = {m["sha256"] for m in members if m["offset"] == piece.offset}
    if expected - {None} and hashlib.sha256(data).hexdigest() not in expected:
        raise UserError(
            f"the shard {tar} is damaged at {piece.key}, its bytes are not those that were packed: "
            f"python -m toolkit.verify {dataset} tells what is wrong"
        )
