"""Foreign tars indexed in place: no byte copied, every command works, damage costs its own tar."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.files import held
from toolkit.pack import main as pack_command
from toolkit.packing.dataset import pack
from toolkit.packing.foreign import REPEATED_NAMES, index_in_place
from toolkit.packing.write import PackResult
from toolkit.sources.webdataset import open_source
from toolkit.store.check import check_card, check_shard, find_orphans
from toolkit.store.images import PICTURE_EXTENSIONS, decode_rgb
from toolkit.store.ingest import Policy
from toolkit.store.layout import Layout
from toolkit.store.manifest import (
    MEMBER_NAMES,
    SHARD_SHA256,
    manifest_metadata,
    read_manifest,
    write_manifest,
)
from toolkit.store.samples import SampleReader
from toolkit.store.selection import select
from toolkit.stream.decode import decode_cut

Jpeg = Callable[[int], bytes]


def write_tar(path: Path, members: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.25 if form == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def jpeg(encode: Any, make_picture: Any) -> Jpeg:
    return lambda seed: encode(make_picture(seed))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "shards", tmp_path / "manifests")


@pytest.fixture
def tars(jpeg: Jpeg, encode: Any, make_picture: Any, tmp_path: Path) -> Path:
    """Two tars as somebody else might make them; one picture is broken, one sample has none."""
    first = {
        "0001.jpg": jpeg(1), "0001.txt": b"a cat", "0001.json": b'{"license": "CC0", "url": "u"}',
        "README": b"no sample", "sub.dir/0002.cls": b"3", "sub.dir/0002.PNG":
        encode(make_picture(2), "PNG"), "0003.jpg": jpeg(3)[:400], "0004.txt": b"alone",
    }  # fmt: skip
    second = {"0001.jpg": jpeg(4), "x" * 150 + "/ü.jpeg": jpeg(5), "0005.depth.npy": b"1" * 3000}
    write_tar(tmp_path / "raw" / "a.tar", first)
    write_tar(tmp_path / "raw" / "b.tar", second, tarfile.GNU_FORMAT)
    return tmp_path / "raw"


def index(src: Path, layout: Layout, jobs: int = 1) -> PackResult:
    return index_in_place(open_source(src), "x", layout, jobs)


def rows_of(layout: Layout) -> list[dict[str, Any]]:
    return [row for path in layout.manifests_of("x") for row in read_manifest(path)]


def problems(layout: Layout) -> list[str]:
    found = [p for m in layout.manifests_of("x") for p in check_shard(layout, "x", m)[1]]
    return [f"{p.where}: {p.what}" for p in (*found, *find_orphans(layout, "x"),
                                             *check_card(layout, "x"))]  # fmt: skip


def by_webdataset(path: Path) -> dict[str, dict[str, bytes]]:
    return {
        sample["__key__"]: {k: v for k, v in sample.items() if not k.startswith("__")}
        for sample in webdataset.WebDataset(str(path), shardshuffle=False)
    }


def by_manifest(layout: Layout, index: int) -> dict[str, dict[str, bytes]]:
    """Members by their samples' own names, read as the manifest says from the link."""
    data = layout.tar("x", index).read_bytes()
    return {
        row["source_id"]: {
            m["ext"]: data[m["offset"] : m["offset"] + m["size"]] for m in row["members"]
        }
        for row in read_manifest(layout.manifest("x", index))
        if row["status"] == "ok"
    }


def test_rows_tell_what_lies_in_the_tars(tars: Path, layout: Layout, jpeg: Jpeg) -> None:
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tars.iterdir()}
    result = index(tars, layout)
    assert (result.num_ok, result.num_failed, result.num_shards) == (4, 3, 2)
    assert result.causes == {"no_picture": 2, "truncated": 1}
    assert result.notes == {"members without a sample's name": 1, REPEATED_NAMES: 1}
    rows = rows_of(layout)
    assert [(r["key"], r["source_id"], r["status"]) for r in rows[:4]] == [
        ("0001", "0001", "ok"),
        (rows[1]["key"], "sub.dir/0002", "ok"),
        ("0003", "0003", "failed"),
        ("0004", "0004", "failed"),
    ]
    assert rows[1]["key"].startswith("sub_dir_0002-")
    assert rows[4]["key"].startswith("b_tar_0001-")
    assert (rows[0]["caption"], rows[0]["licence"]) == ("a cat", "CC0")
    assert json.loads(rows[0]["extra"]) == {"url": "u"}
    assert json.loads(rows[1]["extra"]) == {"cls": 3}
    assert rows[0]["sha256"] == hashlib.sha256(jpeg(1)).hexdigest()
    assert (rows[1]["format"], rows[1]["width"], rows[1]["phash"] is None) == ("png", 48, False)
    for number, name in enumerate(("a.tar", "b.tar")):
        link = layout.tar("x", number)
        assert link.is_symlink()
        assert os.readlink(link) == f"../../raw/{name}"
        read, ours = by_webdataset(tars / name), by_manifest(layout, number)
        assert ours == {key: read[key] for key in ours}
        with tarfile.open(tars / name) as tar:
            places = {m.name.lower(): (m.offset_data, m.size) for m in tar if m.isreg()}
        for row in read_manifest(layout.manifest("x", number)):
            for m in row["members"] or ():
                name_in_tar = f"{row['source_id']}.{m['ext']}".lower()
                assert places[name_in_tar] == (m["offset"], m["size"])
    assert problems(layout) == []
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tars.iterdir()} == before


def test_any_number_of_processes_gives_the_same_bytes(
    tars: Path, layout: Layout, tmp_path: Path, digests: Callable[[Layout], dict[str, str]]
) -> None:
    other = Layout(tmp_path / "other" / "s", tmp_path / "other" / "m")
    index(tars, layout)
    index(tars, other, jobs=2)
    assert digests(layout) == digests(other)


def test_an_unchanged_tar_is_kept_and_a_changed_one_read_anew(
    tars: Path, layout: Layout, jpeg: Jpeg, tmp_path: Path
) -> None:
    index(tars, layout)
    written = {p: p.stat().st_mtime_ns for p in layout.manifests_of("x")}
    assert index(tars, layout).num_reused == 2
    assert {p: p.stat().st_mtime_ns for p in layout.manifests_of("x")} == written
    layout.card("x").unlink()  # an interrupted run, of which one manifest was left
    layout.manifest("x", 1).unlink()
    assert index(tars, layout).num_reused == 1
    (tmp_path / "elsewhere").mkdir()
    moved = tars.rename(tmp_path / "elsewhere" / "raw")  # the same name: the same data
    assert [p for p in problems(layout) if p.endswith("is missing")]
    assert index(moved, layout).num_reused == 2
    write_tar(moved / "a.tar", {"0001.jpg": jpeg(8), "0002.jpg": jpeg(9)})
    assert any("sha256" in p for p in problems(layout))
    assert index(moved, layout).num_reused == 1
    assert rows_of(layout)[0]["sha256"] == hashlib.sha256(jpeg(8)).hexdigest()
    (moved / "a.tar").unlink()
    assert index(moved, layout).num_shards == 1
    assert sorted(p.name for p in (layout.shards / "x").iterdir()) == ["x-000000.tar"]
    assert problems(layout) == []


def test_index_and_copies_may_take_turns(tars: Path, layout: Layout) -> None:
    index(tars, layout)
    raw = {p.name: p.read_bytes() for p in tars.iterdir()}
    pack(open_source(tars, repack=True), "x", layout, 3)
    assert not any(layout.tar("x", i).is_symlink() for i in range(2))
    assert {p.name: p.read_bytes() for p in tars.iterdir()} == raw
    assert problems(layout) == []
    index(tars, layout)
    assert all(layout.tar("x", i).is_symlink() for i in range(2))
    assert problems(layout) == []
    assert index(tars, layout).num_reused == 2  # the notes on the copies' inputs are gone


def test_pictures_that_packing_would_change_stay_and_say_so(
    layout: Layout, shared_data: Path, tmp_path: Path
) -> None:
    """Every odd picture of the collection: `ok` means that training and verify can decode it."""
    folder = shared_data / "awkward"
    members = {
        f"{number:03d}-{path.stem}.{path.suffix[1:]}": path.read_bytes()
        for number, path in enumerate(sorted(folder.iterdir()))
        if path.suffix[1:].lower() in PICTURE_EXTENSIONS and path.stat().st_size < 20e6
    }
    src = write_tar(tmp_path / "raw" / "awkward.tar", members)
    result = index(src, layout)
    assert result.num_ok > 30
    assert result.num_failed > 3
    reader, needs = SampleReader(layout, "x"), set()
    for row in rows_of(layout):
        if row["status"] == "ok":
            data = reader.picture(row["key"])
            assert decode_rgb(data).shape[:2] == (row["height"], row["width"])
            decode_cut(data, np.zeros((32, 32, 3), np.uint8))
            assert "changes" not in (row["extra"] or "")
            needs |= set(json.loads(row["extra"] or "{}").get("needs", ()))
        else:
            assert row["cause"]
            assert row["members"] is None
    assert {"orientation", "icc", "mode CMYK", "mode RGBA"} <= needs
    assert problems(layout) == []


def test_verify_finds_what_changed_behind_the_link(tars: Path, layout: Layout) -> None:
    index(tars, layout)
    member = rows_of(layout)[0]["members"][0]
    data = bytearray((tars / "a.tar").read_bytes())
    data[member["offset"] + 100] ^= 1
    (tars / "a.tar").write_bytes(data)
    assert problems(layout) == [
        "x/x-000000: the tar's sha256 is not the one in the manifest",
        "x/0001: jpg has another sha256",
    ]


def test_verify_finds_a_sample_that_the_manifest_lacks(
    tars: Path, layout: Layout, jpeg: Jpeg
) -> None:
    index(tars, layout)
    with tarfile.open(tars / "b.tar", "a") as tar:
        tar.addfile(tarfile.TarInfo("d.ir/new.jpg"))
    assert "x/d.ir/new: jpg is in the tar, not in the manifest" in problems(layout)


def test_ordinary_datasets_are_held_to_their_keys(tiny_layout: Layout) -> None:
    """Members named after source ids pass only where the manifest says so."""
    path = tiny_layout.manifest("tiny", 0)
    metadata, rows = manifest_metadata(path), read_manifest(path)
    assert MEMBER_NAMES not in metadata
    row = rows[0]
    row["source_id"], row["key"] = row["key"], "another"
    rest = [{**r, "source_id": r["key"]} for r in rows[1:]]
    for in_place in (False, True):
        digest = metadata[SHARD_SHA256].decode()
        write_manifest(path, [row, *rest], "f", digest, in_place=in_place)
        found = [p.what for p in check_shard(tiny_layout, "tiny", path)[1]]
        assert ("jpg is not at the offset of the manifest" in found) == (not in_place)
        assert bool(found) == (not in_place)


def test_what_an_index_cannot_do_is_refused(tars: Path, layout: Layout, tmp_path: Path) -> None:
    source = open_source(tars)
    with pytest.raises(UserError, match="--repack"):
        index_in_place(source, "x", layout, policy=Policy(size=64))
    with pytest.raises(UserError, match="takes 1 or more"):
        index_in_place(source, "x", layout, jobs=0)
    with pytest.raises(UserError, match="cannot name a dataset"):
        index_in_place(source, "X.tar", layout)
    with pytest.raises(UserError, match="would lie among the tars"):
        index_in_place(source, "x", Layout(tars, tmp_path / "m"))
    assert not (tars / "x").exists()
    (layout.shards / "y").mkdir(parents=True)
    os.link(tars / "a.tar", layout.shards / "y" / "a.tar")
    with pytest.raises(UserError, match="would lie among the tars"):
        index_in_place(open_source(layout.shards / "y" / "a.tar"), "y", layout)


def test_two_at_once_are_refused(tars: Path, layout: Layout) -> None:
    (layout.manifests / "x").mkdir(parents=True)
    with (
        held(layout.manifests / "x", "busy"),
        pytest.raises(UserError, match="another process is packing x"),
    ):
        index(tars, layout)
    assert not layout.manifests_of("x")


def test_other_data_under_a_finished_name_is_refused(
    tars: Path, layout: Layout, jpeg: Jpeg, tmp_path: Path
) -> None:
    index(tars, layout)
    other = write_tar(tmp_path / "other.tar", {"a.jpg": jpeg(1)})
    with pytest.raises(UserError, match=r"the dataset x holds other data \(webdataset raw\)"):
        index(other, layout)


def test_the_headers_check_leaves_pixels_alone(tars: Path, layout: Layout) -> None:
    index_in_place(open_source(tars), "x", layout, policy=Policy(check="headers"))
    rows = rows_of(layout)
    assert rows[0]["phash"] is None
    assert (rows[0]["width"], rows[0]["height"]) == (48, 48)


def test_the_real_tars_through_real_commands(
    shared_data: Path, run_command: Any, tmp_path: Path
) -> None:
    """All sixteen foreign tars are accounted for: indexed, or refused by name."""
    src = shared_data / "foreign_tars"
    names = {p.name for p in src.iterdir() if ".t" in p.name}
    assert len(names) == 16
    done = run_command("toolkit.pack", "webdataset", f"--src={src}", "--name=x", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    linked = {layout.tar("x", i).resolve().name for i in range(4)}
    refused = {n for n in names if f"refused: {n}: " in done.stdout}
    assert linked | refused == names
    assert len(linked) + len(refused) == len(names)
    assert linked == {
        "clip-retrieval__image1.tar", "clip-retrieval__image2.tar",
        "torchdata__256_ObjectCategories.tar", "torchdata__101_ObjectCategories.tar.gz",
    }  # fmt: skip
    for number in range(4):
        assert by_manifest(layout, number) == by_webdataset(layout.tar("x", number))
    assert run_command("toolkit.verify", cwd=tmp_path).stdout == (
        "23 samples in 4 shards checked, 0 problems\n"
    )
    query = ("source_id like '%257_0002'", "--format=keys")
    key = run_command("toolkit.query", *query, cwd=tmp_path).stdout.split()[-1]
    shown = run_command("toolkit.inspect", "show", key, "--out=o", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    (saved,) = (tmp_path / "o").iterdir()
    with tarfile.open(src / "torchdata__256_ObjectCategories.tar") as tar:
        member = tar.extractfile("256_ObjectCategories/257.clutter/257_0002.jpg")
        assert member is not None
        assert saved.read_bytes() == member.read()
    again = run_command("toolkit.pack", "webdataset", f"--src={src}", "--name=x", cwd=tmp_path)
    assert again.stdout.splitlines()[1].split() == ["x", "23", "0", "4", "4"]


def test_a_selection_streams_from_the_foreign_tar(shared_data: Path, layout: Layout) -> None:
    from toolkit.stream.loader import Loader

    path = (shared_data / "foreign_tars" / "clip-retrieval__image1.tar").resolve()
    index(path, layout)
    assert os.readlink(layout.tar("x", 0)) == os.path.relpath(path, layout.shards / "x") or (
        os.readlink(layout.tar("x", 0)) == str(path)
    )
    chosen = select("x", "x", "width > 200", layout)
    assert len(chosen) == 3
    loader = Loader([chosen], {"x": 1}, batch_size=3, size=64, seed=1)
    batch = next(iter(loader))
    loader.close()
    read = by_webdataset(path)
    assert set(batch.keys) == {"208_495", "321_421", "389_535"}
    for key, pixels in zip(batch.keys, batch.images["target"].pixels, strict=True):
        expected = np.zeros((64, 64, 3), np.uint8)
        decode_cut(read[key]["jpg"], expected)
        assert np.array_equal(pixels.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(
    ("flag", "text"),
    [("--limit=3", "go with --repack"), ("--samples_per_shard=3", "go with --repack"),
     ("--reencode=64", "leaves them as they are: --repack")],
)  # fmt: skip
def test_flags_that_need_copies_are_refused(
    flag: str, text: str, tars: Path, layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(layout, f"--src={tars}", flag) == 2
    assert text in capsys.readouterr().err
    assert command(layout, f"--src={tars}", flag, "--repack", "--jobs=1") == 0


def command(layout: Layout, *flags: str) -> int:
    places = (f"--shards={layout.shards}", f"--manifests={layout.manifests}")
    try:
        run(pack_command, "python -m toolkit.pack", ["webdataset", *flags, *places],
            lambda *_: ("", {"repack": ""}))  # fmt: skip
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


@pytest.mark.slow
def test_two_hundred_damaged_tars_cost_no_traceback(
    shared_data: Path, layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Flipped, zeroed and cut: each is indexed and then verifies, or is refused in one line."""
    folder = shared_data / "foreign_tars"
    origins = [
        (folder / name).read_bytes()
        for name in (
            "torchdata__256_ObjectCategories.tar",
            "torchdata__101_ObjectCategories.tar.gz",
        )
    ]
    rng = np.random.Generator(np.random.Philox(5))
    src = tmp_path / "raw.tar"
    outcomes = {0: 0, 2: 0}
    for turn in range(200):
        data = bytearray(origins[turn % 2])
        place = int(rng.integers(0, len(data) // 512)) * 512
        match turn % 5:
            case 0:
                del data[int(rng.integers(0, len(data))) :]
            case 1:
                for spot in rng.integers(0, len(data), size=8):
                    data[spot] ^= int(rng.integers(1, 256))
            case 2:  # in the fields of a header
                data[place + int(rng.integers(100, 160))] ^= int(rng.integers(1, 256))
            case 3:
                data[place : place + 512] = bytes(512)
            case 4:  # a header with another size or type, its sum made right again
                info = bytearray(data[place : place + 512])
                info[int(rng.choice([125, 130, 134, 156]))] = int(rng.integers(48, 123))
                total = sum(info[:148]) + 8 * 32 + sum(info[156:])
                info[148:156] = b"%06o\0 " % total
                data[place : place + 512] = info
        src.write_bytes(data)
        repack = ["--repack"] if turn % 3 == 0 else []
        code = command(layout, f"--src={src}", "--name=x", "--jobs=1", *repack)
        assert code in outcomes
        outcomes[code] += 1
        err = capsys.readouterr().err
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == (code == 2)
        if code == 0:
            assert problems(layout) == []
    assert min(outcomes.values()) > 20, outcomes
