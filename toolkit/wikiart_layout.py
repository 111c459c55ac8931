"""Lays WikiArt out as loose files: raw/, images/, meta.csv and splits/.

A command beside `toolkit.pack`, since it packs nothing.
"""

from collections import Counter
from pathlib import Path
from typing import Literal

from toolkit.core.command import run


def main(
    *,
    output_dir: Path,
    src: Path | None = None,
    hub_id: str | None = None,
    cache_dir: Path | None = None,
    lists: Path | None = None,
    table: Path | None = None,
    keep_splits: Path | None = None,
    mode: Literal["symlink", "copy"] = "symlink",
) -> None:
    """Writes WikiArt as raw/, images/, meta.csv (id,path,artist,style,genre,title) and
    splits/{train,val,test}.txt.

    An id is the key that the painting has when packed with python -m toolkit.pack wikiart.

    Args:
        output_dir: the folder to write to.
        src: the paintings, as Parquet files or as folders style/artist_title.jpg.
        hub_id: instead of --src: download this dataset, for example huggan/wikiart.
        cache_dir: where to keep the download; raw in --output_dir otherwise.
        lists: the folder with ArtGAN's Style, Genre and Artist.
        table: a CSV file with id and path of each painting, and what else is known of it.
        keep_splits: a Parquet file, or the folder of a dataset's manifests, whose splits stay.
        mode: symlink links to pictures that are files; copy copies them.
    """
    from toolkit.sources.wikiart import open_source
    from toolkit.wikiart.prepare import prepare

    if hub_id is not None and cache_dir is None:
        cache_dir = output_dir / "raw"
    source = open_source(src, hub_id, cache_dir, lists, table, keep_splits)
    notes: Counter[str] = Counter()
    count = prepare(source, output_dir, mode, notes)
    print(f"{count} paintings in {output_dir}")
    for note, number in sorted(notes.items()):
        print(f"  {note}: {number}")


if __name__ == "__main__":
    run(main, "python -m toolkit.wikiart_layout")
