"""Tensors that belong to packed samples: latents, tokens, embeddings, written beside their shard.

shards/<dataset>/sidecars/<name>/<stem>.tar           <key>.<what>.npy, a plain tar as any shard
manifests/<dataset>/sidecars/<name>/<stem>.parquet    where each lies, a row for each sample
manifests/<dataset>/sidecars/<name>/sidecar.json      how they were made (recipe.py)

Rows stand in the manifest's order. Each file of rows carries the sha256 of the shard that it was
made from and the hash of how: a row file with others is stale.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.core.errors import UserError
from toolkit.core.files import atomic_path, make_folder, write_atomic
from toolkit.store.layout import Layout
from toolkit.store.manifest import SHARD_SHA256, manifest_metadata
from toolkit.store.recipe import COMMAND, how_to_make, read_recipe, recipe_path
from toolkit.store.sidecar import sidecar_path
from toolkit.store.tar import ShardWriter

RECIPE, TENSORS_SHA256 = b"tessera.recipe", b"tessera.tensors_sha256"
_TENSOR = pa.struct(
    [
        ("output", pa.string()), ("picture", pa.int64()), ("offset", pa.int64()),
        ("size", pa.int64()), ("array", pa.string()),
    ]
)  # fmt: skip
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("pictures", pa.list_(pa.int64())),
        ("cause", pa.string()),
        ("error", pa.string()),
        ("tensors", pa.list_(_TENSOR)),
    ]
)


@dataclass(frozen=True)
class Tensor:
    """One tensor of a sample. output: the encoder's name for it; picture: offset in the shard of
    the picture that it belongs to; ext: of its file; values: any numpy array."""

    output: str
    picture: int
    ext: str
    values: np.ndarray


@dataclass(frozen=True)
class Encoded:
    """What came of one sample. pictures: offsets in the shard of those that were asked for, none
    where the sample was not; tensors: of all of them; or else cause, error: why there are none."""

    key: str
    pictures: tuple[int, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    cause: str | None = None
    error: str | None = None


def tensors_path(layout: Layout, dataset: str, stem: str, name: str) -> Path:
    """Where the tensors of one shard lie."""
    return layout.shards / dataset / "sidecars" / name / f"{stem}.tar"


def write_tensors(
    layout: Layout, dataset: str, stem: str, name: str, recipe: str, samples: Iterable[Encoded]
) -> None:
    """Writes the sidecar of one shard, whole or not at all: tensors first, rows second.

    Args:
        layout, dataset, stem: the shard.
        name: the sidecar's.
        recipe: hash of how it is made.
        samples: one for each row of the manifest, in its order; consumed one by one.
    """
    tar, rows = tensors_path(layout, dataset, stem, name), []
    make_folder(tar.parent)
    with atomic_path(tar) as temporary:
        with ShardWriter(temporary) as writer:
            for sample in samples:
                files = {f"{t.ext}.npy": npy(t.values) for t in sample.tensors}
                members = writer.write(sample.key, files)
                rows.append(_row(sample, members))
        digest = writer.sha256
    shard = manifest_metadata(layout.manifest_named(dataset, stem))[SHARD_SHA256]
    table = pa.Table.from_pydict({n: [row[n] for row in rows] for n in SCHEMA.names}, SCHEMA)
    table = table.replace_schema_metadata(
        {SHARD_SHA256: shard, RECIPE: recipe.encode(), TENSORS_SHA256: digest.encode()}
    )
    path = sidecar_path(layout, dataset, stem, name)
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_rows(layout: Layout, dataset: str, stem: str, name: str, recipe: str) -> pa.Table:
    """The rows of one shard's sidecar. Raises UserError when they are missing or stale."""
    with open_rows(layout, dataset, stem, name, recipe) as file:
        return file.read()


@contextmanager
def open_rows(
    layout: Layout, dataset: str, stem: str, name: str, recipe: str
) -> Iterator[pq.ParquetFile]:
    """The file of one shard's rows, checked. Raises UserError when it is missing or stale, or
    damaged, now or when it is read."""
    path = sidecar_path(layout, dataset, stem, name)
    again = partial(_again, layout, dataset, name)  # reads a file: asked for where it is needed
    try:
        with pq.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.schema_arrow.metadata or {}
            if not schema.equals(SCHEMA):
                raise UserError(f"{path} holds no tensors: {name} is another kind of sidecar")
            shard = manifest_metadata(layout.manifest_named(dataset, stem))[SHARD_SHA256]
            if metadata.get(SHARD_SHA256) != shard:
                raise UserError(
                    f"the sidecar {path} is stale, its shard was packed anew: {again()}"
                )
            if metadata.get(RECIPE) != recipe.encode():
                raise UserError(
                    f"the sidecar {path} is stale, it was made in another way: {again()}"
                )
            yield file
    except FileNotFoundError:
        raise UserError(f"the sidecar {path} is missing: {again()}") from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"the sidecar {path} is damaged ({error}): {again()}") from None


def _again(layout: Layout, dataset: str, name: str) -> str:
    try:
        command = read_recipe(layout, dataset, name).encoder.get(COMMAND, "")
    except UserError:
        command = ""
    return f"make it again with {how_to_make([dataset], name, command)}"


def write_empty(layout: Layout, dataset: str, name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Keeps what the empty caption is encoded as, by output."""
    for output, values in arrays.items():
        write_atomic(_empty_path(layout, dataset, name, output), npy(values))


def read_empty(layout: Layout, dataset: str, name: str, output: str) -> np.ndarray | None:
    """What the empty caption is encoded as; None for encoders of pictures."""
    path = _empty_path(layout, dataset, name, output)
    return np.load(path, allow_pickle=False) if path.is_file() else None


def _empty_path(layout: Layout, dataset: str, name: str, output: str) -> Path:
    return recipe_path(layout, dataset, name).with_name(f"empty-{output}.npy")


def npy(values: np.ndarray) -> bytes:
    """The array as a file in numpy's format."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(values), version=(1, 0))
    return buffer.getvalue()


def _row(sample: Encoded, members: Iterable[Any]) -> dict[str, Any]:
    found = [
        {
            "output": tensor.output, "picture": tensor.picture, "offset": member.offset,
            "size": member.size, "array": _described(tensor.values),
        }
        for tensor, member in zip(sample.tensors, members, strict=True)
    ]  # fmt: skip
    return {
        "key": sample.key, "pictures": list(sample.pictures) or None, "cause": sample.cause,
        "error": sample.error, "tensors": found or None,
    }  # fmt: skip


def _described(values: np.ndarray) -> str:
    return f"{values.dtype.name}[{','.join(map(str, values.shape))}]"
