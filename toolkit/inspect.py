"""Looks into packed data: what is there, one sample with its pictures, statistics.

python -m toolkit.inspect ls
python -m toolkit.inspect show wikiart/impressionism-003 --out=/tmp/look
python -m toolkit.inspect stats --datasets=wikiart
python -m toolkit.inspect diff wikiart --first_manifests=/old/manifests
"""

import hashlib
from pathlib import Path
from typing import Any, Literal

from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.log import warn
from toolkit.core.show import show as show_rows
from toolkit.store.catalog import Catalog, no_dataset, print_gaps
from toolkit.store.layout import Layout
from toolkit.store.mirror import open_layout

Format = Literal["table", "json", "csv"]
_SHOWN = 20  # differences in a table


def ls(
    dataset: str | None = None,
    *,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    format: Format = "table",
) -> None:
    """Lists the packed datasets, or the shards of one.

    Args:
        dataset: list this dataset's shards.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
        format: table, json or csv.
    """
    layout = open_layout(shards, manifests)
    catalog = Catalog(layout, [dataset] if dataset else None)
    print_gaps(catalog)
    unit = "shard" if dataset else "dataset"
    found = catalog.rows(
        f"SELECT {unit}, dataset, count(*) FILTER (status = 'ok'), "
        "count(*) FILTER (status <> 'ok'), count(DISTINCT shard), "
        f"count(DISTINCT style) FROM samples GROUP BY {unit}, dataset ORDER BY 1"
    )
    rows = []
    for name, of, num_ok, num_failed, num_shards, num_styles in found:
        size = _tar_bytes(layout, of, name if dataset else None)
        rows.append((name, num_ok, num_failed, num_shards, num_styles, size))
    show_rows([unit, "samples", "failed", "shards", "styles", "megabytes"], rows, format)


def show(
    sample: str,
    *,
    out: Path | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Shows one sample: its manifest row, and its members saved as files with --out.

    Args:
        sample: DATASET/KEY, as `toolkit.query --format=keys` prints it.
        out: folder to write the sample's members to.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
    """
    from toolkit.store.samples import SampleReader

    layout = open_layout(shards, manifests)
    dataset, slash, key = sample.partition("/")
    if not slash and sample in layout.datasets():
        raise UserError(
            f"{sample} is a dataset: write {sample}/KEY; its keys are listed by python -m "
            f"toolkit.query \"dataset='{sample}'\" --format=keys"
        )
    if not slash:
        raise UserError(
            f"{sample!r} is no sample: write DATASET/KEY, for example content/chelsea-00"
        )
    if dataset not in layout.datasets():
        raise UserError(no_dataset(dataset, layout.datasets()))
    row = SampleReader(layout, dataset).row(key)
    for name, value in row.items():
        if value not in (None, [], "") and name != "members":
            print(f"{name:<16} {_one_value(value)}")
    for member in row["members"] or ():
        print(f"member           {member['ext']}: {member['size']} bytes at {member['offset']}")
    if out is not None:
        _save(layout, row, out)


def _save(layout: Layout, row: dict[str, Any], out: Path) -> None:
    from toolkit.core.files import make_folder
    from toolkit.store.samples import read_member

    if not row["members"]:
        raise UserError(f"nothing to write: {row['source_id']} was not packed ({row['error']})")
    make_folder(out)
    for member in row["members"]:
        data = read_member(layout, row, member)
        if member["sha256"] not in (None, hashlib.sha256(data).hexdigest()):
            raise UserError(
                f"the {member['ext']} of {row['dataset']}/{row['key']} is not what the manifest "
                f"says: python -m toolkit.verify {row['dataset']} tells what is wrong"
            )
        path = out / f"{row['key']}.{member['ext']}"
        path.write_bytes(data)
        print(f"written          {path}")


def stats(
    where: str = "true",
    *,
    datasets: tuple[str, ...] | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    format: Format = "table",
) -> None:
    """Counts, sizes and gaps per dataset; rows without a split count as train.

    Args:
        where: an SQL expression; only rows for which it holds are counted.
        datasets: only these datasets.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
        format: table, json or csv.
    """
    catalog = Catalog(open_layout(shards, manifests), list(datasets) if datasets else None)
    print_gaps(catalog)
    condition = catalog.expression(where.strip() or "true", "where")
    columns = {
        "rows": "count(*)",
        "ok": "count(*) FILTER (status = 'ok')",
        "failed": "count(*) FILTER (status <> 'ok')",
        "train": "count(*) FILTER (split = 'train' OR split IS NULL)",
        "val": "count(*) FILTER (split = 'val')",
        "test": "count(*) FILTER (split = 'test')",
        "min_px": "min(least(width, height))",
        "median_px": "median(least(width, height))",
        "max_px": "max(greatest(width, height))",
        "kilobytes": "round(avg(list_sum(list_transform(members, lambda m: m.size))) / 1000, 1)",
        "styles": "count(DISTINCT style)",
        "artists": "count(DISTINCT artist)",
        "captioned": "count(caption)",
        "same_bytes": "count(sha256) - count(DISTINCT sha256)",
        "same_phash": "count(phash) - count(DISTINCT phash)",
    }
    chosen = ", ".join(columns.values())
    rows = catalog.rows(
        f"SELECT dataset, {chosen} FROM samples WHERE ({condition}\n) GROUP BY 1 ORDER BY 1"
    )
    show_rows(["dataset", *columns], rows, format)
    for hint in catalog.misspelt(condition) if not rows else ():
        warn(hint)
    causes = catalog.rows(
        f"SELECT dataset, cause, count(*) FROM samples WHERE ({condition}\n) AND status <> 'ok' "
        "GROUP BY 1, 2 ORDER BY 1, 2"
    )
    if causes and format == "table":
        print()
        show_rows(["dataset", "failed because", "rows"], causes)


def diff(
    first: str,
    second: str | None = None,
    *,
    first_manifests: Path | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    format: Format = "table",
) -> None:
    """Compares two versions of a dataset by the keys of their samples: what was added, removed, and
    changed, and in which columns. Pictures are compared by their sha256.

    Args:
        first: a dataset.
        second: another one; with --first_manifests the same name otherwise.
        first_manifests: folder or URL of the manifests that `first` is in, if others.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
        format: table (a summary), json or csv (every sample that differs).
    """
    from toolkit.inspection.differences import COMPARED, differences

    if second is None and first_manifests is None:
        raise UserError(f"compare {first} with what? write a second dataset, or the folder of an "
                        "earlier version's manifests as --first_manifests=DIR")  # fmt: skip
    sides = []
    for name, place in ((first, first_manifests or manifests), (second or first, manifests)):
        catalog = Catalog(open_layout(shards, place), [name])
        print_gaps(catalog)
        sides.append(catalog.table(
            f"SELECT key, {', '.join(COMPARED)} FROM samples QUALIFY row_number() OVER "
            "(PARTITION BY key ORDER BY status = 'ok' DESC, shard) = 1"
        ))  # fmt: skip
    found = differences(*sides)
    if format != "table":
        show_rows(["key", "what", "columns"], found.rows, format)
        return
    print(f"{found.same} samples are the same, {found.changed} changed, {found.added} added, "
          f"{found.removed} removed")  # fmt: skip
    if found.columns:
        print()
        show_rows(["column", "changed"], list(found.columns.items()))
    if found.rows:
        print()
        show_rows(["key", "what", "columns"], found.rows[:_SHOWN])
        if len(found.rows) > _SHOWN:
            print(f"… {len(found.rows) - _SHOWN} more: --format=csv lists all")


def _tar_bytes(layout: Layout, dataset: str, stem: str | None) -> float:
    pattern = f"{stem or dataset + '-??????'}.tar"
    return round(sum(p.stat().st_size for p in (layout.shards / dataset).glob(pattern)) / 1e6, 2)


def _one_value(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_one_value, value))
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    return str(value)


if __name__ == "__main__":
    run({"ls": ls, "show": show, "stats": stats, "diff": diff}, "python -m toolkit.inspect")
