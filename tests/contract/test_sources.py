"""What every kind of raw data must keep to: found by file name, tried on an example.

A new source needs a line in EXAMPLES that opens it on something small and real.
"""

import importlib
import inspect
import itertools
import json
import pickle
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.core.records import Record, Ref, Source
from toolkit.packing.dataset import pack
from toolkit.sources import open_source, source_kinds
from toolkit.store.check import check_shard
from toolkit.store.images import picture_extension
from toolkit.store.keys import make_key
from toolkit.store.layout import Layout
from toolkit.store.manifest import to_json


def all_pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if picture_extension(path.name))


def with_coco_annotations(pictures: Path) -> Path:
    """Renames the pictures as COCO does and annotates all but the last."""
    for number, path in enumerate(all_pictures(pictures)):
        path.rename(path.with_name(f"{number:012d}{path.suffix}"))
    files = all_pictures(pictures)[:-1]
    images = [{"id": i, "file_name": p.name, "license": 1} for i, p in enumerate(files)]
    captions = [{"id": 2 * i + j, "image_id": i, "caption": f"text {j}"} for i in range(len(files))
                for j in range(2)]  # fmt: skip
    boxes = [{"id": i, "image_id": i, "category_id": 7} for i in range(0, len(files), 2)]
    licences = [{"id": 1, "name": "CC BY", "url": "http://example.org"}]
    (pictures / "annotations").mkdir(exist_ok=True)
    for name, entries in (("captions_x", captions), ("instances_x", boxes)):
        tree = {"licenses": licences, "images": images, "annotations": entries,
                "categories": [{"id": 7, "name": "cat"}]}  # fmt: skip
        (pictures / "annotations" / f"{name}.json").write_text(json.dumps(tree), "utf-8")
    return pictures


def as_fill50k(pictures: Path) -> Path:
    """Adds a prompt.json that pairs each picture with itself; the file's stem becomes the key."""
    for path in all_pictures(pictures):
        path.rename(pictures / "_".join(path.relative_to(pictures).parts))
    lines = [{"source": path.name, "target": path.name, "prompt": f"picture of {path.stem}"}
             for path in all_pictures(pictures)]  # fmt: skip
    (pictures / "prompt.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return pictures


def with_tags(pictures: Path) -> Path:
    """Adds a metadata file of tags for all pictures."""
    paths = sorted(p.relative_to(pictures).as_posix() for p in pictures.rglob("*.jpg"))
    entries = {
        path: {"tags": "a, b, best quality, general", "image_size": [1, 1]} for path in paths
    }
    for leftover in pictures.rglob("*.json"):
        leftover.unlink()
    (pictures / "meta.json").write_text(json.dumps(entries))
    return pictures


def as_teacher(pictures: Path) -> Path:
    """Renames the pictures as a teacher's outputs are named."""
    for number, path in enumerate(all_pictures(pictures)):
        path.rename(path.with_name(f"c{number}_s{number}_seed0{path.suffix}"))
    return pictures


def named_as_wikiart(pictures: Path) -> Path:
    """Names the pictures artist_title; those of the last class keep a name that tells neither."""
    for path in sorted(pictures.glob("[cs]*/p?.*")):
        path.rename(path.with_name(f"jan-{path.parent.name}_{path.name}"))
    return pictures


def as_tars(pictures: Path) -> Path:
    """Puts the pictures into two tars, the second one compressed."""
    for number, mode in enumerate(("w:", "w:gz")):
        path = pictures / f"{number}.tar"
        if not path.exists():
            with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
                for picture in all_pictures(pictures)[6 * number :][:6]:
                    tar.add(picture, picture.relative_to(pictures))
    return pictures


EXAMPLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "coco": lambda pictures: {"src": with_coco_annotations(pictures)},
    "fewshot": lambda pictures: {"src": pictures},
    "fill50k": lambda pictures: {"src": as_fill50k(pictures)},
    "folder": lambda pictures: {"src": pictures},
    "pretraining": lambda pictures: {"count": 9},
    "sample": lambda pictures: {"part": "fill50k"},
    "tagged": lambda pictures: {"src": with_tags(pictures)},
    "teacher": lambda pictures: {"src": as_teacher(pictures)},
    "webdataset": lambda pictures: {"src": as_tars(pictures), "repack": True},
    "wikiart": lambda pictures: {"src": named_as_wikiart(pictures)},
}
UNUSABLE: dict[str, list[dict[str, Any]]] = {
    "pretraining": [{"count": 0}], "sample": [{"part": "nothing"}, {"part": ""}],
}  # fmt: skip
"""Options that must be refused, for kinds without --src."""

pytestmark = pytest.mark.parametrize("kind", source_kinds())


@pytest.fixture
def source(kind: str, tiny_pictures: Path) -> Source:
    assert kind in EXAMPLES, f"add an example of the source {kind} to {Path(__file__).name}"
    return open_source(kind, EXAMPLES[kind](tiny_pictures))


def some(source: Source, count: int = 6) -> list[Ref]:
    return list(itertools.islice(source.index(), count))


def test_the_index_is_lazy_and_the_same_each_time(kind: str, source: Source) -> None:
    index = source.index()
    assert isinstance(index, Iterator)
    first = list(index)
    assert first
    assert list(source.index()) == first
    assert len({ref.source_id for ref in first}) == len(first)
    # Two walks at once do not disturb each other.
    one, other = source.index(), source.index()
    assert [next(one), next(other), next(one), next(other)] == [
        first[0], first[0], first[1], first[1],
    ]  # fmt: skip


def test_another_opening_finds_the_same(kind: str, source: Source, tiny_pictures: Path) -> None:
    again = open_source(kind, EXAMPLES[kind](tiny_pictures))
    assert list(again.index()) == list(source.index())
    assert again.describe() == source.describe()


def test_source_and_refs_cross_process_borders(kind: str, source: Source) -> None:
    copied = pickle.loads(pickle.dumps(source))
    refs = some(source)
    copied_refs = pickle.loads(pickle.dumps(refs))
    assert copied_refs == refs
    assert len(pickle.dumps(refs[0])) < 2000
    assert [copied.read(ref) for ref in copied_refs] == [source.read(ref) for ref in refs]


def test_reading_is_pure(kind: str, source: Source, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    refs = some(source)
    forwards = {ref.source_id: source.read(ref) for ref in refs}
    backwards = {ref.source_id: source.read(ref) for ref in reversed(refs)}
    assert forwards == backwards
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_records_hold_what_the_packer_needs(kind: str, source: Source) -> None:
    extensions = set()
    for ref in some(source):
        record = source.read(ref)
        assert isinstance(record, Record)
        assert any(picture_extension(ext) for ext in record.members)
        assert all(isinstance(data, bytes) and data for data in record.members.values())
        assert not {"txt", "json"} & set(record.members)  # the packer writes these
        assert isinstance(record.captions, tuple)
        for text in (*record.captions, *record.categories, record.style, record.artist,
                     record.genre, record.title, record.licence, record.split):  # fmt: skip
            assert text is None or isinstance(text, str)
        assert record.split in (None, "train", "val", "test")
        to_json(record.extra)
        assert make_key(ref.source_id)
        extensions.add(tuple(record.members))
    assert len(extensions) == 1  # the same ones throughout a dataset


def test_the_description_is_json_without_machine_paths(
    kind: str, source: Source, tmp_path: Path
) -> None:
    description = source.describe()
    assert description["kind"] == kind
    assert str(tmp_path.parent) not in to_json(description)
    assert str(Path.home()) not in to_json(description)


def test_it_packs(kind: str, source: Source, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "packed" / "s", tmp_path / "packed" / "m")
    result = pack(source, "example", layout, 4, limit=6)
    assert (result.num_ok, result.num_failed, result.num_shards) == (6, 0, 2)
    for path in layout.manifests_of("example"):
        assert check_shard(layout, "example", path)[1] == []


def test_an_unusable_place_is_one_line(kind: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"toolkit.sources.{kind}")
    cases = UNUSABLE.get(kind, [])
    if "src" in inspect.signature(module.open_source).parameters:
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("text")
        cases = [*cases, *({"src": tmp_path / name} for name in ("empty", "file", "missing"))]
    assert cases, f"say in {Path(__file__).name} what the source {kind} must refuse"
    for options in cases:
        with pytest.raises(UserError) as caught:
            open_source(kind, options)
        assert "\n" not in str(caught.value)


def test_it_is_documented(kind: str) -> None:
    module = importlib.import_module(f"toolkit.sources.{kind}")
    assert module.__doc__
    assert module.open_source.__doc__
    opened = inspect.signature(module.open_source).return_annotation
    described = getattr(module, str(opened).strip("'\""), opened)
    for part in (described, described.index, described.read, described.describe):
        assert part.__doc__
