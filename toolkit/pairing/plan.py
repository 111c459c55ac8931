"""The plan of what a teacher makes: a row a picture, as Parquet, and as JSON Lines for scripts.

All pairs come with the first seed before any comes with the second, so that the first rows are a
set by themselves, and a plan of more pairs goes on where the smaller one ended.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.core.errors import UserError, one_line
from toolkit.core.files import atomic_path
from toolkit.pairing.candidates import Picture
from toolkit.store.keys import make_key
from toolkit.store.manifest import to_json
from toolkit.store.records_io import lines

HOW = b"tessera.pairs"
_CHUNK = 10_000  # rows
_TEXTS = ("key", "content_dataset", "content_key", "style_dataset", "style_key", "prompt", "split",
          "style", "artist", "genre")  # fmt: skip
SCHEMA = pa.schema([*((name, pa.string()) for name in _TEXTS), ("seed", pa.int64())])


@dataclass(frozen=True)
class Target:
    """One picture that a teacher is to make. key: of the sample, CONTENT_STYLE_seedN; prompt: the
    content's caption; style, artist: the painting's; genre: the content's."""

    key: str
    content_dataset: str
    content_key: str
    style_dataset: str
    style_key: str
    prompt: str | None
    split: str
    style: str | None
    artist: str | None
    genre: str | None
    seed: int


def targets(
    pairs: Sequence[tuple[Picture, Picture]], seeds: Sequence[int], split: str
) -> Iterator[Target]:
    """The targets of all pairs with the first seed, then with the next."""
    for seed in seeds:
        for content, style in pairs:
            yield Target(
                make_key(f"{content.key}_{style.key}_seed{seed}"),
                content.dataset, content.key, style.dataset, style.key,
                content.caption, split, style.style, style.artist, content.genre, seed,
            )  # fmt: skip


def write_plan(path: Path, how: dict[str, Any], planned: Iterable[Target]) -> int:
    """Writes a plan, whole or not at all; returns its number of pictures. how: what decided it."""
    schema = SCHEMA.with_metadata({HOW: to_json(how).encode()})
    count = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        rows: list[dict[str, Any]] = []
        for target in planned:
            rows.append(asdict(target))
            count += 1
            if len(rows) == _CHUNK:
                writer.write_table(_table(rows, schema))
                rows = []
        if rows:
            writer.write_table(_table(rows, schema))
    return count


def write_lines(path: Path, planned: Iterable[Target]) -> None:
    """The same as JSON Lines, with names as CONTENT_STYLE_seedN.png files have them."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for target in planned:
            facts = asdict(target)
            facts["content_id"], facts["style_id"] = target.content_key, target.style_key
            file.write(json.dumps(facts, ensure_ascii=False) + "\n")


def read_plans(paths: Sequence[Path]) -> Iterator[Target]:
    """The targets of several plans, one plan after the other."""
    for path in paths:
        yield from read_plan(path)


def read_plan(path: Path) -> Iterator[Target]:
    """The targets of a plan, .parquet or .jsonl, in its order, some thousand at a time in memory.

    A line of a .jsonl names content_id, style_id and seed; content_dataset and style_dataset are
    content and wikiart where it says nothing, and the prompt none. Raises UserError for a file that
    is no plan.
    """
    if path.suffix == ".jsonl":
        for number, value in lines(path):
            yield _of_line(path, number, value)
        return
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise ValueError("its columns are not those of a plan")
            for batch in file.iter_batches(_CHUNK):
                for row in batch.to_pylist():
                    yield Target(**row)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise UserError(
            f"{path} is no plan ({one_line(error, 100)}): python -m toolkit.pairs makes one"
        ) from None


def plan_length(path: Path) -> int:
    """The number of pictures of a plan. Raises UserError for a file that is no plan."""
    if path.suffix == ".jsonl":
        return sum(1 for _ in lines(path))
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path} is no plan ({one_line(error, 100)}): python -m toolkit.pairs makes one"
        ) from None


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pydict(
        {name: [row[name] for row in rows] for name in schema.names}, schema
    )


def _of_line(path: Path, number: int, value: Any) -> Target:
    """Raises UserError for a line that names no target."""
    place = f"line {number} of {path}"
    if not isinstance(value, dict):
        raise UserError(f"{place} is no JSON object")
    content = value.get("content_key") or value.get("content_id")
    style = value.get("style_key") or value.get("style_id")
    seed = value.get("seed", 0)
    if not content or not style or isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"{place} must name content_id, style_id and seed, a whole number from 0")

    def text(name: str, default: str | None = None) -> str | None:
        found = value.get(name)
        return default if found is None else str(found)

    content, style = make_key(str(content)), make_key(str(style))
    return Target(
        key=text("key") or make_key(f"{content}_{style}_seed{seed}"),
        content_dataset=text("content_dataset") or "content",
        content_key=content,
        style_dataset=text("style_dataset") or "wikiart",
        style_key=style,
        prompt=text("prompt") or text("caption"),
        split=text("split") or "train",
        style=text("style"),
        artist=text("artist"),
        genre=text("genre"),
        seed=seed,
    )
