"""Tables with pictures, as Parquet: rows of facts, and a struct of bytes and path for each picture,
which Hugging Face's datasets and its viewer show as pictures."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from toolkit.core.files import atomic_path
from toolkit.exporting.api import About, Sample

ROW_GROUP_BYTES = 50_000_000
ROW_GROUP_ROWS = 1000


def picture_type() -> Any:
    """The pyarrow type of a picture's cell."""
    import pyarrow as pa

    return pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def features_metadata(pictures: Sequence[str]) -> dict[bytes, bytes]:
    """What makes Hugging Face's datasets take columns for pictures; the others are as Arrow has
    them."""
    features = {name: {"_type": "Image"} for name in pictures}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def picture_cells(about: About, sample: Sample) -> dict[str, dict[str, Any] | None]:
    """A sample's pictures by column. Paths are names, not places: they tell the format."""
    cells: dict[str, dict[str, Any] | None] = dict.fromkeys(about.pictures)
    stem = about.file_stem(sample.row)
    for x in sample.pictures():
        end = "" if x.name == "image" else f".{x.name.removesuffix('_image')}"
        cells[x.name] = {"bytes": x.data, "path": f"{x.of or stem + end}.{x.ext}"}
    return cells


def write_table(path: Path, rows: Iterator[tuple[dict[str, Any], int]], schema: Any) -> None:
    """Writes rows, each with its size in bytes, in groups of at most 50 MB; only one of them is in
    memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # hashes and keys differ in every row, and pictures are compressed already
    plain = [f.name for f in schema if f.type == pa.string() and f.name not in ("key", "sha256")]
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression=_compression(schema),
            use_dictionary=plain,
            write_page_index=True,
        ) as file,
    ):
        for group in _groups(rows):
            file.write_table(pa.Table.from_pylist(group, schema), row_group_size=len(group))


def _compression(schema: Any) -> dict[str, str]:
    """Of each column that lies in the file; pictures have their own."""
    import pyarrow as pa

    found: dict[str, str] = {}
    for field in schema:
        if field.type == picture_type():
            found |= {f"{field.name}.bytes": "none", f"{field.name}.path": "snappy"}
        elif pa.types.is_list(field.type):
            inner = field.type.value_type
            parts = [x.name for x in inner] if pa.types.is_struct(inner) else []
            base = f"{field.name}.list.element"
            found |= {f"{base}.{part}": "snappy" for part in parts} or {base: "snappy"}
        else:
            found[field.name] = "snappy"
    return found


def _groups(rows: Iterator[tuple[dict[str, Any], int]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size = 0
    for row, num_bytes in rows:
        if group and (size + num_bytes > ROW_GROUP_BYTES or len(group) == ROW_GROUP_ROWS):
            yield group
            group, size = [], 0
        group.append(row)
        size += num_bytes
    if group:
        yield group
