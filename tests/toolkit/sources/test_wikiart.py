"""WikiArt as a source: three layouts, names, notes, splits in the manifest, and real lists."""

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest

from toolkit.core.errors import UserError
from toolkit.core.records import Record
from toolkit.packing.dataset import pack
from toolkit.sources import open_source as open_kind
from toolkit.sources.wikiart import open_source
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

Encode = Callable[..., bytes]
MakePicture = Callable[..., np.ndarray]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty folder to fill."""
    return tmp_path / "tree"


def fill(tree: Path, *names: str, data: bytes | None = None) -> None:
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data or b"bytes of " + os.fsencode(name))


def records(src: Path, notes: Counter[str] | None = None, **options: Path) -> dict[str, Record]:
    source = open_source(src, **options)
    return {ref.source_id: source.read(ref) for ref in source.index(notes)}


def with_lists(folder: Path) -> Path:
    files = {
        "Style/style_class.txt": "0 Cubism\n1 Art_Nouveau\n",
        "Style/style_train.csv": "Cubism/juan-gris_guitar.jpg,0\r\n"
        "Art_Nouveau_Modern/alphonse-mucha_job.jpg,1\r\nCubism/nobody_absent.jpg,0\r\n",
        "Style/style_val.csv": "Cubism/andrã©-lhote_port.jpg,0\r\n",
        "Genre/genre_class": "0 still_life\n",
        "Genre/genre_train.csv": "Cubism/juan-gris_guitar.jpg,0\r\n",
    }
    for name, text in files.items():
        fill(folder, name, data=text.encode())
    return folder


def test_names_give_style_artist_and_title(tree: Path) -> None:
    fill(tree, "Cubism/juan-gris_Guitar_and-Glass.jpg", "Ukiyo_e/hokusai.jpg", "top_work.jpg",
         "Cubism/_x.jpg", "more/Pop_Art/allan-d'arcangelo_1969(1).jpg")  # fmt: skip
    found = {name: (r.style, r.artist, r.title, r.genre) for name, r in records(tree).items()}
    assert found == {
        "Cubism/juan-gris_Guitar_and-Glass.jpg": ("Cubism", "juan gris", "Guitar_and Glass", None),
        "Ukiyo_e/hokusai.jpg": ("Ukiyo_e", None, None, None),
        "top_work.jpg": (None, "top", "work", None),
        "Cubism/_x.jpg": ("Cubism", None, None, None),
        "more/Pop_Art/allan-d'arcangelo_1969(1).jpg": (
            "Pop_Art", "allan d'arcangelo", "1969(1)", None,
        ),
    }  # fmt: skip


def test_lists_decide_and_the_rest_is_noted(tree: Path, tmp_path: Path) -> None:
    fill(tree, "Cubism/juan-gris_guitar.jpg", "Art_Nouveau_Modern/alphonse-mucha_job.jpg",
         "Cubism/andré-lhote_port.jpg", "Fauvism/andre-derain_boats.jpg")  # fmt: skip
    notes: Counter[str] = Counter()
    found = records(tree, notes, lists=with_lists(tmp_path / "lists"))
    facts = {name: (r.style, r.genre, r.artist) for name, r in found.items()}
    assert facts == {
        "Cubism/juan-gris_guitar.jpg": ("Cubism", "still_life", "juan gris"),
        "Art_Nouveau_Modern/alphonse-mucha_job.jpg": ("Art_Nouveau", None, "alphonse mucha"),
        "Cubism/andré-lhote_port.jpg": ("Cubism", None, "andré lhote"),
        "Fauvism/andre-derain_boats.jpg": ("Fauvism", None, "andre derain"),
    }
    assert notes == {"pictures that no list names": 1, "listed pictures that are absent": 1}


def test_lists_are_found_beside_the_pictures(tree: Path) -> None:
    fill(tree, "Cubism/juan-gris_guitar.jpg")
    assert open_source(tree).lists is None
    with_lists(tree)
    for src in (tree, tree / "Cubism" / ".."):
        assert records(src)["Cubism/juan-gris_guitar.jpg"].genre == "still_life"
    (tree / "images").mkdir()
    (tree / "Cubism").rename(tree / "images" / "Cubism")
    assert records(tree / "images")["Cubism/juan-gris_guitar.jpg"].genre == "still_life"


def test_names_in_other_encodings_pack(
    tree: Path, tmp_path: Path, encode: Encode, make_picture: MakePicture
) -> None:
    picture = encode(make_picture(1))
    fill(tree, "Cubism/andré-lhote_port.jpg", os.fsdecode(b"Cubism/andr\xe9-lhote_caf\xe9.jpg"),
         data=picture)  # fmt: skip
    result = pack(open_source(tree), "x", Layout(tmp_path / "s", tmp_path / "m"), 5)
    assert (result.num_ok, result.num_failed) == (2, 0)


def artists(count: int = 20) -> list[str]:
    """Artists of 5, 6, … paintings; every third painting stands under two styles."""
    names = [f"a-{i}_w-{j}" for i in range(count) for j in range(5 + i)]
    both = [f"Fauvism/{name}.jpg" for name in names if name.endswith(("3", "6", "9"))]
    return [f"Cubism/{name}.jpg" for name in names] + both


def rows_of(layout: Layout) -> list[dict[str, str]]:
    columns = ["source_id", "artist", "split", "split_artist_disjoint"]
    return [row for path in layout.manifests_of("x") for row in read_manifest(path, columns)]


def test_splits_reach_the_manifest_and_stay(
    tree: Path, tmp_path: Path, encode: Encode, make_picture: MakePicture
) -> None:
    fill(tree, *artists(8), data=encode(make_picture(1)))
    layout = Layout(tmp_path / "s", tmp_path / "m")
    pack(open_source(tree), "x", layout, 50)
    before = rows_of(layout)
    assert len(before) == len(artists(8))
    sides = defaultdict(set)
    for row in before:
        sides[row["source_id"].partition("/")[2]].add(row["split"])
        sides[row["artist"]].add(row["split_artist_disjoint"])
    assert all(len(side) == 1 for side in sides.values())
    assert {"train", "val", "test"} == {row["split"] for row in before}
    assert {"train"} < {row["split_artist_disjoint"] for row in before} <= {"train", "val", "test"}
    # the same data packs to the same shards; more data moves nobody
    again = pack(open_source(tree, keep_splits=tmp_path / "m" / "x"), "x", layout, 50)
    assert again.num_reused == again.num_shards > 1
    fill(tree, *artists(12), "Cubism/a-0_new.jpg", data=encode(make_picture(1)))
    pack(open_source(tree, keep_splits=tmp_path / "m" / "x"), "x", layout, 50)
    after = rows_of(layout)
    assert len(after) == len(artists(12)) + 1
    assert [row for row in after if row["source_id"] in {r["source_id"] for r in before}] == before


def test_a_changed_split_changes_the_stamp(tree: Path, tmp_path: Path) -> None:
    fill(tree, *artists(4))
    before = {ref.source_id: ref for ref in open_source(tree).index()}
    fill(tree, *(f"Cubism/a-0_more-{i}.jpg" for i in range(40)))
    after = {ref.source_id: ref for ref in open_source(tree).index()}
    moved = [n for n in before if before[n].locator["splits"] != after[n].locator["splits"]]
    assert moved
    assert {n for n in before if before[n].stamp != after[n].stamp} == set(moved)


def hub_folder(folder: Path, pictures: list[bytes]) -> Path:
    """Files as in the Hub's repository: data/train-….parquet, written by its own library."""
    features = datasets.Features({
        "image": datasets.Image(), "artist": datasets.ClassLabel(names=["Unknown Artist", "rodin"]),
        "genre": datasets.ClassLabel(names=["portrait", "Unknown Genre"]),
        "style": datasets.ClassLabel(names=["Cubism", "Realism"]),
    })  # fmt: skip
    (folder / "data").mkdir(parents=True)
    for part in (0, 1):
        rows = [{"image": {"bytes": data, "path": None}, "artist": i % 2, "genre": i % 2,
                 "style": part} for i, data in enumerate(pictures)]  # fmt: skip
        table = datasets.Dataset.from_list(rows, features=features)
        table.to_parquet(folder / "data" / f"train-0000{part}-of-00002.parquet", batch_size=2)
    return folder


def test_rows_of_the_hub(tmp_path: Path, encode: Encode, make_picture: MakePicture) -> None:
    pictures = [encode(make_picture(i)) for i in range(5)]
    folder = hub_folder(tmp_path / "hub", pictures)
    fill(folder, "preview.jpg")  # a picture beside the files does not make it a tree
    found = records(folder)
    assert found == records(folder / "data")
    assert list(found) == [f"train-0000{p}-of-00002.parquet#{i}" for p in (0, 1) for i in range(5)]
    record = found["train-00001-of-00002.parquet#3"]
    assert record.members == {"jpg": pictures[3]}
    assert (record.style, record.artist, record.genre) == ("Realism", "rodin", None)
    record = found["train-00000-of-00002.parquet#2"]
    assert (record.style, record.artist, record.genre) == ("Cubism", None, "portrait")
    layout = Layout(tmp_path / "s", tmp_path / "m")
    assert pack(open_source(folder), "x", layout, 4, jobs=2).num_ok == 10


def test_the_extension_is_that_of_the_first_row(
    tmp_path: Path, encode: Encode, make_picture: MakePicture
) -> None:
    folder = hub_folder(tmp_path / "png", [encode(make_picture(1), "PNG")])
    assert {tuple(r.members) for r in records(folder).values()} == {("png",)}
    folder = hub_folder(tmp_path / "broken", [b"no picture"])
    assert {tuple(r.members) for r in records(folder).values()} == {("jpg",)}


def test_unusable_options_are_one_line(tree: Path, tmp_path: Path) -> None:
    fill(tree, "Cubism/a_b.jpg")
    for options, message in (
        ({}, "give the paintings with --src=DIR"),
        ({"src": tree, "hub_id": "huggan/wikiart"}, "give the paintings with --src=DIR"),
        ({"src": tree / "x"}, "there is no folder"),
        ({"src": tree, "lists": tree}, "no lists in"),
        ({"src": tree, "keep_splits": tree}, "no recorded splits in"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            open_kind("wikiart", options)
        assert "\n" not in str(caught.value)
    hub = hub_folder(tmp_path / "hub", [b"x"])
    with pytest.raises(UserError, match="--lists goes with folders of pictures"):
        open_source(hub, lists=with_lists(tmp_path / "lists"))
    (hub / "data" / "train-00000-of-00002.parquet").write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"cannot read .*train-00000-of-00002\.parquet"):
        open_source(hub)


@pytest.mark.slow
def test_real_paintings_with_the_real_lists(shared_data: Path, tmp_path: Path) -> None:
    """Paintings under their WikiArt names, against what their table says of them."""
    with open(shared_data / "paintings" / "metadata.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["wikiart_key"]]
    assert len(rows) >= 20
    for row in rows:
        place = tmp_path / "tree" / row["wikiart_key"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(shared_data / "paintings" / row["path"])
    notes: Counter[str] = Counter()
    found = records(tmp_path / "tree", notes, lists=shared_data / "wikiart_meta")
    assert len(found) == len(rows)
    for row in rows:
        record = found[row["wikiart_key"]]
        assert record.style == row["style"]
        artist = row["artist"].lower().replace("-", " ")
        assert (record.artist or "").lower().replace("_", " ") == artist
        if row["genre"] and record.genre:
            assert record.genre == row["genre"]
    known = [row for row in rows if found[row["wikiart_key"]].genre]
    assert len(known) >= 15
    assert notes == {"listed pictures that are absent": 81446 - len(rows)}
    layout = Layout(tmp_path / "s", tmp_path / "m")
    source = open_source(tmp_path / "tree", lists=shared_data / "wikiart_meta")
    assert pack(source, "x", layout, 30).num_ok == len(rows)
