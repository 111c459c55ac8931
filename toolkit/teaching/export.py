"""Targets as loose files: CONTENT_STYLE_seedN.png and one table of how each was made.

What is written can be packed again: python -m toolkit.pack teacher --src=DIR.
"""

import csv
import json
from pathlib import Path
from typing import Any, Literal

from toolkit.core.errors import UserError
from toolkit.core.files import atomic_path, make_folder, write_atomic
from toolkit.store.catalog import Catalog
from toolkit.store.images import decode_rgb, encode_png, picture_extension
from toolkit.store.layout import Layout
from toolkit.store.samples import read_member

_COLUMNS = (
    "key", "parent", "dataset", "shard", "members", "links", "caption", "style", "artist", "split",
    "protocol", "protocol_exact", "attempt", "grade", "weight", "extra",
)  # fmt: skip


def export_folder(
    layout: Layout, dataset: str, where: str, out: Path, meta: Literal["csv", "json"]
) -> tuple[int, int, int]:
    """Writes the pictures for which the condition holds, and meta.csv or meta.json.

    Pictures are PNG, as their names say, whatever they are packed as. Returns how many there are,
    how many were written now, for they were not there or were others, and how many pictures the
    folder has besides. Raises UserError.
    """
    catalog = Catalog(layout, [dataset])
    condition = catalog.condition(where)
    table = catalog.table(
        f"SELECT {', '.join(_COLUMNS)} FROM samples WHERE status = 'ok' AND ({condition}\n)"
    )
    if not table.num_rows:
        raise UserError(f"{dataset} has no picture where {where}")
    make_folder(out)
    facts, written = [], 0
    for batch in table.to_batches(1000):
        for row in batch.to_pylist():
            fact = _facts(row)
            facts.append(fact)
            path, data = out / fact["name"], _png(layout, row)
            if not path.exists() or path.read_bytes() != data:
                write_atomic(path, data)
                written += 1
    _write_meta(out / f"meta.{meta}", facts)
    names = {fact["name"] for fact in facts}
    others = sum(path.name not in names for path in out.glob("*.png"))
    return len(facts), written, others


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    """A picture's name, and everything that tells how it was made."""
    ids = {link["role"]: link["key"] for link in row["links"]}
    extra = json.loads(row["extra"] or "{}")
    teacher = dict(extra.get("teacher", {}))
    notes = teacher.pop("notes", [])
    seed = teacher.pop("seed", 0)
    if "content" not in ids or "style" not in ids:
        raise UserError(f"{row['dataset']}/{row['key']} does not say its content and style")
    return {
        "name": f"{ids['content']}_{ids['style']}_seed{seed}.png",
        "content_id": ids["content"], "style_id": ids["style"], "seed": seed,
        "prompt": row["caption"],
        **{name: row[name] for name in _COLUMNS[7:14]}, "weight": round(row["weight"], 4),
        **teacher, "notes": "; ".join(notes),
    }  # fmt: skip


def _png(layout: Layout, row: dict[str, Any]) -> bytes:
    first = next(m for m in row["members"] if picture_extension(m["ext"]))
    data = read_member(layout, row, first)
    return data if first["ext"] == "png" else encode_png(decode_rgb(data))


def _write_meta(path: Path, facts: list[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        if path.suffix == ".json":
            json.dump(facts, file, ensure_ascii=False, indent=1)
            return
        names = list(dict.fromkeys(name for fact in facts for name in fact))
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(facts)
