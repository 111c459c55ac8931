"""Counts, sizes and shapes of the samples of a query, as tables."""

from dataclasses import dataclass
from typing import Any, Literal

from toolkit.store.catalog import Catalog

Part = Literal["datasets", "styles", "sizes", "aspects", "causes"]
_DATASETS = {
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
_SPLITS = {
    "train": "count(*) FILTER (split = 'train' OR split IS NULL)",
    "val": "count(*) FILTER (split = 'val')",
    "test": "count(*) FILTER (split = 'test')",
    "samples": "count(*)",
}
# Pixels of the shorter side, and width by height: bins that people and buckets think in.
_SIZES = (64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 4096)
_ASPECTS = (0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95, 1.05, 1.25, 1.4, 1.7, 2.0, 2.5, 4.0)


@dataclass(frozen=True)
class Table:
    """A table with its title. is_histogram: whether its rows are bins (`from`, `below`) with a
    count, the last column."""

    title: str
    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    is_histogram: bool = False


def statistics(catalog: Catalog, condition: str, part: Part) -> Table:
    """One of the tables about the rows for which a checked condition holds."""
    if part == "datasets":
        return _grouped(catalog, condition, "datasets", ("dataset",), _DATASETS)
    usable = f"({condition}\n) AND status = 'ok'"
    if part == "styles":
        return _grouped(catalog, usable, "styles and splits", ("dataset", "style"), _SPLITS)
    if part == "causes":
        failed = f"({condition}\n) AND status <> 'ok'"
        return _grouped(catalog, failed, "what could not be used", ("dataset", "cause"),
                        {"rows": "count(*)"})  # fmt: skip
    if part == "sizes":
        return _histogram(catalog, usable, "pixels of the shorter side", "least(width, height)",
                          _SIZES)  # fmt: skip
    return _histogram(catalog, usable, "width by height", "width / height", _ASPECTS)


def _grouped(
    catalog: Catalog, condition: str, title: str, by: tuple[str, ...], shown: dict[str, str]
) -> Table:
    rows = catalog.rows(
        f"SELECT {', '.join((*by, *shown.values()))} FROM samples WHERE ({condition}\n) "
        f"GROUP BY {', '.join(by)} ORDER BY {', '.join(by)}"
    )
    return Table(title, (*by, *shown), rows)


def _histogram(
    catalog: Catalog, condition: str, title: str, value: str, edges: tuple[float, ...]
) -> Table:
    """Counts between the edges; bins before the first and behind the last that hold something are
    left out."""
    found = dict(catalog.rows(
        f"SELECT len(list_filter({list(edges)}, lambda e: e <= {value})) AS bin, count(*) "
        f"FROM samples WHERE ({condition}\n) AND width > 0 AND height > 0 GROUP BY bin"
    ))  # fmt: skip
    starts, ends = (None, *edges), (*edges, None)
    rows = [(start, end, found.get(number, 0))
            for number, (start, end) in enumerate(zip(starts, ends, strict=True))]  # fmt: skip
    first, last = min(found, default=0), max(found, default=-1)
    return Table(title, ("from", "below", "samples"), rows[first : last + 1], is_histogram=True)
