"""COCO's files: captions and categories reach their pictures, what does not fit is counted."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.packing.dataset import pack
from toolkit.sources import open_source as open_any
from toolkit.sources.coco import Coco, open_source
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest


@pytest.fixture
def pictures(tmp_path: Path, encode: Any, make_picture: Any) -> Path:
    """train2017/ with three pictures of COCO's names."""
    folder = tmp_path / "coco" / "train2017"
    folder.mkdir(parents=True)
    for number in (9, 25, 30):
        (folder / f"{number:012d}.jpg").write_bytes(encode(make_picture(number)))
    return folder


def annotate(path: Path, entries: list[dict[str, Any]], images: list[int], **more: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    listed = [{"id": i, "file_name": f"{i:012d}.jpg", "license": 3} for i in images]
    tree = {"info": {"year": 2017}, "images": listed, "annotations": entries, **more}
    path.write_text(json.dumps(tree), "utf-8")
    return path


def caption(number: int, image: int, text: str) -> dict[str, Any]:
    return {"id": number, "image_id": image, "caption": text}


def facts(source: Coco) -> tuple[dict[str, Any], Counter[str]]:
    """Per source id the record without its bytes, and the notes."""
    notes: Counter[str] = Counter()
    refs = list(source.index(notes))
    return {ref.source_id: source.read(ref) for ref in refs}, notes


def test_the_first_annotation_is_the_caption(pictures: Path) -> None:
    entries = [caption(7, 25, "second id, first in the file "), caption(3, 25, "another"),
               caption(8, 9, "of nine"), caption(9, 77, "no such picture")]  # fmt: skip
    annotate(
        pictures.parent / "annotations" / "captions_train2017.json", entries, [9, 25, 77],
        licenses=[{"id": 3, "name": "CC BY", "url": "http://x.org"}],
    )  # fmt: skip
    found, notes = facts(open_source(pictures))
    assert found["000000000025.jpg"].captions == ("second id, first in the file", "another")
    assert found["000000000009.jpg"].captions == ("of nine",)
    assert found["000000000030.jpg"].captions == ()
    assert found["000000000009.jpg"].licence == "CC BY http://x.org"
    assert found["000000000009.jpg"].split == "train"
    assert found["000000000009.jpg"].extra == {"coco_id": 9}
    assert notes == {
        "pictures without a caption": 1, "images with a caption but without a picture": 1,
    }  # fmt: skip


def test_the_split_is_that_of_the_folder(pictures: Path) -> None:
    found, _ = facts(open_source(pictures.parent))
    assert {record.split for record in found.values()} == {"train"}
    found, _ = facts(open_source(pictures.parent, split="test"))
    assert {record.split for record in found.values()} == {"test"}


def test_pictures_without_any_captions_say_so(pictures: Path) -> None:
    found, notes = facts(open_source(pictures))
    assert len(found) == 3
    assert notes["no captions_*.json was found: name it with --captions=FILE"] == 1


def test_categories_of_several_files_are_merged(pictures: Path) -> None:
    folder = pictures.parent / "annotations"
    boxes = [{"id": i, "image_id": 9, "category_id": c} for i, c in enumerate((5, 5, 2))]
    kinds = [{"id": 5, "name": "zebra"}, {"id": 2, "name": "apple"}]
    annotate(folder / "instances_x.json", boxes, [9], categories=kinds)
    stuff = [{"id": 1, "image_id": 9, "category_id": 5}]
    annotate(folder / "stuff_x.json", stuff, [9], categories=[{"id": 5, "name": "grass"}])
    found, _ = facts(open_source(pictures))
    assert found["000000000009.jpg"].categories == ("apple", "grass", "zebra")
    assert found["000000000025.jpg"].categories == ()


def test_files_that_count_from_one_each_do_not_clash(pictures: Path, encode: Any) -> None:
    (pictures / "a.jpg").write_bytes((pictures / "000000000009.jpg").read_bytes())
    (pictures / "b.jpg").write_bytes((pictures / "000000000009.jpg").read_bytes())
    files = []
    for name in ("a", "b"):
        path = pictures.parent / f"captions_{name}.json"
        tree = {"images": [{"id": 1, "file_name": f"{name}.jpg"}],
                "annotations": [caption(1, 1, f"of {name}")]}  # fmt: skip
        path.write_text(json.dumps(tree))
        files.append(path)
    found, _ = facts(open_source(pictures, captions=tuple(files)))
    assert [found[f"{name}.jpg"].captions for name in "ab"] == [("of a",), ("of b",)]
    # and an annotation that stands in two files counts once
    found, _ = facts(open_source(pictures, captions=(files[0], files[0], files[1])))
    assert found["a.jpg"].captions == ("of a",)


def test_a_picture_under_another_name_is_found_by_its_number(pictures: Path) -> None:
    (pictures / "000000000009.jpg").rename(pictures / "COCO_train2014_000000000009.jpg")
    path = annotate(pictures.parent / "captions.json", [caption(1, 9, "nine")], [9])
    found, _ = facts(open_source(pictures, captions=(path,)))
    assert found["COCO_train2014_000000000009.jpg"].captions == ("nine",)


def test_malformed_entries_are_counted(pictures: Path) -> None:
    path = annotate(
        pictures.parent / "captions.json",
        [caption(1, 9, "nine"), {"id": 2, "image_id": 9}, {"caption": 5, "image_id": 9}],
        [9],
    )
    tree = json.loads(path.read_text())
    tree["images"] += [{"file_name": "no id.jpg"}, 17]
    path.write_text(json.dumps(tree))
    _, notes = facts(open_source(pictures, captions=(path,)))
    assert notes["malformed annotations"] == 2
    assert notes["malformed image entries"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "is not valid JSON"),
        ("[1, 2]", "holds no JSON object"),
        ('{"images": [{"id": 1}], "annotations": [{"id": 1,', "is not valid JSON"),
        ('{"a": 1}', "is no COCO annotation file"),
        ("", "is not valid JSON"),
    ],
)
def test_a_file_of_another_kind_is_one_line(pictures: Path, text: str, message: str) -> None:
    path = pictures.parent / "captions.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        facts(open_source(pictures, captions=(path,)))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_wrong_split_are_one_line(pictures: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*none\.json"):
        open_source(pictures, captions=(Path("none.json"),))
    with pytest.raises(UserError, match="--split='dev': choose one of train, val, test"):
        open_any("coco", {"src": pictures, "split": "dev"})


def test_new_captions_make_the_shard_anew(pictures: Path, tmp_path: Path) -> None:
    path = annotate(pictures.parent / "captions.json", [caption(1, 9, "old")], [9])
    layout = Layout(tmp_path / "s", tmp_path / "m")
    assert pack(open_source(pictures, captions=(path,)), "c", layout, 10).num_reused == 0
    assert pack(open_source(pictures, captions=(path,)), "c", layout, 10).num_reused == 1
    annotate(path, [caption(1, 9, "new")], [9])
    assert pack(open_source(pictures, captions=(path,)), "c", layout, 10).num_reused == 0
    (row, *_) = read_manifest(layout.manifest("c", 0))
    assert (row["key"], row["caption"]) == ("000000000009", "new")


def test_real_coco(shared_data: Path, tmp_path: Path) -> None:
    """Captions of 83 real pictures against the list that was made of them independently."""
    photos = shared_data / "photos"
    every = (photos / "captions_coco.json", photos / "upstream_annotations" /
             "captions_val2017_full.json")  # fmt: skip
    layout = Layout(tmp_path / "s", tmp_path / "m")
    result = pack(open_source(photos / "coco", captions=every), "coco", layout, 50, jobs=1)
    assert result.num_failed == 0
    rows = {r["source_id"]: r for p in layout.manifests_of("coco") for r in read_manifest(p)}
    with (photos / "metadata.csv").open(encoding="utf-8") as file:
        listed = {Path(r["path"]).name: json.loads(r["captions_json"])
                  for r in csv.DictReader(file) if r["path"].startswith("coco/")}  # fmt: skip
    assert len(rows) == len(listed) > 70
    clean = {name: [" ".join(t.split()) for t in texts] for name, texts in listed.items()}
    for name, row in rows.items():
        found = [" ".join(text.split()) for text in row["captions"]]
        assert set(clean[name]) <= set(found), name
        assert row["caption"] == row["captions"][0]
    assert result.notes["images with a caption but without a picture"] > 4900
