"""Looks into packed data: what is there, one sample with its pictures, statistics, galleries.

python -m toolkit.inspect ls
python -m toolkit.inspect show wikiart/impressionism-003 --out=/tmp/look
python -m toolkit.inspect stats --datasets=wikiart
python -m toolkit.inspect gallery "style='Cubism'" --order_by=artist
python -m toolkit.inspect gallery --serve
python -m toolkit.inspect diff wikiart --first_manifests=/old/manifests
"""

import os
import shutil
import warnings
from pathlib import Path
from typing import Literal, get_args

from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.log import warn
from toolkit.core.show import show as show_rows
from toolkit.inspection.gallery import Written
from toolkit.inspection.statistics import Part
from toolkit.store.catalog import Catalog, print_gaps, without_rehearsals
from toolkit.store.layout import Layout
from toolkit.store.mirror import open_layout

Format = Literal["table", "json", "csv"]
_SHOWN = 20  # differences in a table
_IN_A_FILE = 500  # samples of a gallery


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
    png: Path | None = None,
    draw: bool = False,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Shows one sample: its manifest row; its pictures beside those it was made from, drawn in the
    terminal or as one PNG; its members saved as files.

    Args:
        sample: DATASET/KEY, as `toolkit.query --format=keys` prints it.
        out: folder to write the sample's members to.
        png: write the pictures side by side to this file.
        draw: draw the pictures as coloured characters.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
    """
    from toolkit.inspection.sample import (
        facts,
        pictures_of,
        row_of,
        save_members,
        side_by_side,
        write_png,
    )

    layout = open_layout(shards, manifests)
    row = row_of(layout, sample)
    for name, value in facts(row):
        print(f"{name:<16} {value}")
    if out is not None:
        for path in save_members(layout, row, out):
            print(f"written          {path}")
    if png is not None:
        write_png(side_by_side(pictures_of(layout, row)), png)
        print(f"written          {png}")
    if draw:
        from toolkit.inspection.terminal import colours_of, drawn

        size = shutil.get_terminal_size((80, 24))
        strip = side_by_side(pictures_of(layout, row))
        print(drawn(strip, size.columns, max(8, size.lines - 4), colours_of(os.environ)))


def stats(
    where: str = "true",
    *,
    of: Part | None = None,
    out: Path | None = None,
    datasets: tuple[str, ...] | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    format: Format = "table",
) -> None:
    """Counts, sizes and gaps per dataset, styles by split, histograms of sizes and shapes; rows
    without a split count as train.

    Args:
        where: an SQL expression; only rows for which it holds are counted.
        of: one table alone: datasets, styles, sizes (pixels of the shorter side), aspects (width by
            height), or causes (of what could not be used); as json and csv the datasets if not
            given.
        out: write all tables and plots to this HTML file.
        datasets: only these datasets.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
        format: table, json or csv.
    """
    from toolkit.inspection.plots import page, with_bars
    from toolkit.inspection.statistics import statistics

    if out is not None and (out.suffix != ".html" or format != "table"):
        raise UserError(f"--out={out} writes HTML: name it NAME.html and leave --format away")
    catalog = Catalog(open_layout(shards, manifests), list(datasets) if datasets else None)
    print_gaps(catalog)
    condition = catalog.expression(where.strip() or "true", "where")
    every = get_args(Part) if format == "table" and of is None else (of or "datasets",)
    tables = [statistics(catalog, condition, part) for part in every]
    if not any(table.rows for table in tables):
        for hint in catalog.misspelt(condition):
            warn(hint)
    if out is not None:
        from toolkit.core.files import make_folder, write_atomic

        make_folder(out.parent)
        write_atomic(out, page(where if where != "true" else "samples", tables).encode())
        print(f"written to {out}: open it in a browser")
        return
    for table in tables:
        names, rows = list(table.names), list(map(list, table.rows))
        if format == "table":
            if not rows and of is None:
                continue
            if table is not tables[0]:
                print(f"\n{table.title}:")
            if table.is_histogram:
                names, rows = with_bars(table)
        show_rows(names, rows, format)


def gallery(
    where: str = "true",
    *,
    out: Path | None = None,
    serve: bool = False,
    port: int = 8765,
    order_by: str | None = None,
    limit: int | None = None,
    width: int = 256,
    columns: tuple[str, ...] | None = None,
    datasets: tuple[str, ...] | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Pictures in a browser: searched, filtered, sorted by any column or score; each sample beside
    the content, style and target that it was made from. As one HTML file that needs nothing else,
    or with --serve for any number of samples, read from the shards as they are looked at.

    Args:
        where: an SQL expression, as `toolkit.query` takes it.
        out: the HTML file; gallery.html otherwise.
        serve: serve on this machine alone (127.0.0.1) in place of writing a file, until Ctrl-C.
        port: of the server; 0 takes any that is free.
        order_by: the column to begin with, with or without ` desc`.
        limit: at most so many samples in the file, in that order; 500 otherwise.
        width: pixels of the longer side of a picture in the file.
        columns: of the sidecars' columns only these; all otherwise.
        datasets: only these datasets; all but rehearsals otherwise.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
    """
    import tempfile

    from toolkit.inspection.columns import gallery_columns
    from toolkit.inspection.gallery import about, check_out, write_gallery
    from toolkit.inspection.pictures import Pictures
    from toolkit.inspection.table import Table
    from toolkit.inspection.views import View, order_sql

    if (limit is not None and limit < 1) or width < 16:
        raise UserError("--limit takes a number from 1, --width one from 16")
    if serve and (out or limit):
        raise UserError("--serve shows all and writes no file: leave --out and --limit away")
    out = out or Path("gallery.html")
    if not serve:
        check_out(out)
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a picture is told by name
    layout = open_layout(shards, manifests)
    catalog = Catalog(layout, list(datasets) if datasets else without_rehearsals(layout))
    print_gaps(catalog)
    condition, _ = catalog.usable(where)
    shown = gallery_columns(catalog, list(columns) if columns else None)
    column, _, direction = (order_by or "").strip().partition(" ")
    if direction.strip().lower() not in ("", "asc", "desc"):
        raise UserError(f"--order_by={order_by}: write a column, or a column and desc")
    view = View(order=column, descending=direction.strip().lower() == "desc")
    order_sql(view, {one.name: one for one in shown})  # refused before rows are read
    with tempfile.TemporaryDirectory(prefix="tessera-gallery-") as folder:
        table = Table(Path(folder) / "rows.duckdb", catalog, condition, shown)
        if not table.count:
            hints = catalog.misspelt(condition)
            raise UserError("; ".join(["no sample for a gallery", *hints]))
        title, pictures = "all samples" if where == "true" else where, Pictures(layout)
        if serve:
            from toolkit.inspection.server import Viewer
            from toolkit.inspection.server import serve as serve_viewer

            facts = about(table, title, view.order, view.descending, takes_sql=True)
            serve_viewer(Viewer(table, pictures, facts), port, lambda address: print(
                f"{table.count} samples at {address} (Ctrl-C ends it)", flush=True
            ))  # fmt: skip
        else:
            written = write_gallery(table, pictures, out, title, view, limit or _IN_A_FILE, width)
            _told(written, out)


def _told(written: Written, out: Path) -> None:
    causes: dict[str, list[str]] = {}
    for name, problem in written.broken:
        causes.setdefault(problem, []).append(name)
    for problem, names in list(causes.items())[:_SHOWN]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        warn(f"not shown: {names[0]}{more}: {problem}")
    if len(causes) > _SHOWN:
        warn(f"not shown: {sum(map(len, list(causes.values())[_SHOWN:]))} more")
    print(f"{written.samples} samples, {written.pictures} pictures, {written.size / 1e6:.1f} MB: "
          f"open {out} in a browser")  # fmt: skip
    if written.left_out:
        print(f"{written.left_out} samples are left out: --limit takes more, --serve all")


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


if __name__ == "__main__":
    run(
        {"ls": ls, "show": show, "stats": stats, "gallery": gallery, "diff": diff},
        "python -m toolkit.inspect",
    )
