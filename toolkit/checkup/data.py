"""Packed data: finished or not, sidecars that are stale."""

from collections.abc import Iterator

from toolkit.checkup.finding import Finding
from toolkit.core.errors import UserError
from toolkit.store.layout import Layout


def look_at_data(layout: Layout) -> Iterator[Finding]:
    """Every dataset: its samples, what is missing of it, sidecars of shards that were packed anew.

    Tars are not read: `toolkit.verify` does that.
    """
    from toolkit.store.catalog import Catalog

    try:
        catalog = Catalog(layout)
    except UserError as error:
        yield Finding("data", "packed data", "missing", str(error), "python -m toolkit.pack")
        return
    counts = dict(catalog.rows(
        "SELECT dataset, count(*) FILTER (status = 'ok') FROM samples GROUP BY dataset"
    ))  # fmt: skip
    gaps = catalog.gaps()
    for name in catalog.datasets:
        found = f"{counts.get(name, 0)} samples in {len(layout.manifests_of(name))} shards"
        own = [gap for gap in gaps if gap.startswith(f"{name} ")]
        lost = [p.stem for p in layout.manifests_of(name) if not layout.tar_named(name, p.stem)
                .exists()]  # fmt: skip
        if own:
            verify = f"python -m toolkit.verify --repair_manifest {name}"
            mend = verify if verify in own[0] else "the command that packed it, to its end"
            yield Finding("data", name, "warning", f"{found}; {own[0]}", mend)
        elif lost:
            told = f"{found}; without their tars: {', '.join(lost[:3])}"
            mend = f"python -m toolkit.verify {name}"
            yield Finding("data", name, "warning", told, mend)
        else:
            yield Finding("data", name, "ok", f"{found}, finished")
        yield from _stale(layout, name)
    yield from _selections(layout)


def _stale(layout: Layout, dataset: str) -> Iterator[Finding]:
    """Sidecars whose shard was packed anew, by the hash that both keep."""
    import pyarrow.parquet as pq

    from toolkit.store.manifest import SHARD_SHA256, manifest_metadata

    current = {
        path.stem: manifest_metadata(path)[SHARD_SHA256] for path in layout.manifests_of(dataset)
    }
    for folder in layout.sidecars(dataset):
        stale = [
            path.stem for path in sorted(folder.glob(f"{dataset}-??????.parquet"))
            if (pq.read_schema(path).metadata or {}).get(SHARD_SHA256) != current.get(path.stem)
        ]  # fmt: skip
        if stale:
            told = f"stale in {len(stale)} shards, which were packed anew: {', '.join(stale[:3])}"
            mend = f"make it again; python -m toolkit.verify {dataset} tells more"
            what = f"{dataset}/sidecars/{folder.name}"
            yield Finding("data", what, "warning", told, mend)


def _selections(layout: Layout) -> Iterator[Finding]:
    """Compiled selections are made again whenever anything changes, and old ones stay."""
    folder = layout.manifests / ".selections"
    files = [path for path in folder.glob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    if size > 1e9:
        yield Finding("data", "compiled selections", "warning", f"{size / 1e9:.1f} GB in {folder}",
                      f"rm -r {folder}")  # fmt: skip
