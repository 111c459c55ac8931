"""The verify command: every kind of damage is found and named, sound data pass."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.core.records import Record
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout
from toolkit.store.manifest import (
    FINGERPRINT,
    SHARD_SHA256,
    manifest_metadata,
    read_manifest,
    write_manifest,
)
from toolkit.verify import main

Verify = Callable[..., tuple[int, list[str]]]

ORPHAN = "a tar without a manifest: pack again, or rebuild it with --repair_manifest"
CARD_DIFFERS = "tiny: dataset.json does not match the manifests"


@pytest.fixture
def verify(call: Callable[..., Any]) -> Verify:
    """Runs the command: exit code and the lines that name problems."""

    def start(layout: Layout, *args: str) -> tuple[int, list[str]]:
        code, out, err = call(main, *args, layout)
        *problems, total = out.splitlines()
        assert total.endswith(f"{len(problems)} problem{'' if len(problems) == 1 else 's'}")
        assert (code == 2) == bool(problems)
        assert ("error: " in err) == bool(problems)
        return code, problems

    return start


def test_sound_data_pass(tiny_layout: Layout, triplets: Layout, verify: Verify) -> None:
    assert verify(tiny_layout) == (0, [])
    assert verify(triplets) == (0, [])
    assert verify(triplets, "targets") == (0, [])
    assert verify(triplets, "--sample=2") == (0, [])


def test_failed_inputs_are_no_problem(
    tiny_layout: Layout, toy_source: type, encode: Any, make_picture: Any, verify: Verify
) -> None:
    records = {"a": Record({"jpg": encode(make_picture(1))}), "b": Record({"jpg": b"bad"})}
    pack(toy_source("mixed", records), "mixed", tiny_layout, 5)
    assert verify(tiny_layout) == (0, [])


def first_row(layout: Layout, index: int) -> dict[str, Any]:
    return read_manifest(layout.manifest("tiny", index))[0]


@pytest.mark.parametrize("ext", ["jpg", "txt", "json"])
def test_a_flipped_byte_is_found_and_the_sample_named(
    ext: str, tiny_layout: Layout, verify: Verify
) -> None:
    row = first_row(tiny_layout, 1)
    member = next(m for m in row["members"] if m["ext"] == ext)
    path = tiny_layout.tar("tiny", 1)
    data = bytearray(path.read_bytes())
    data[member["offset"] + member["size"] // 2] ^= 1
    path.write_bytes(data)
    _, problems = verify(tiny_layout)
    assert problems == [
        "tiny/tiny-000001: the tar's sha256 is not the one in the manifest",
        f"tiny/{row['key']}: {ext} has another sha256",
    ]


def test_a_flipped_byte_in_a_header_is_found(tiny_layout: Layout, verify: Verify) -> None:
    path = tiny_layout.tar("tiny", 0)
    for place in (0, 124, 148, 5000):
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)
        code, problems = verify(tiny_layout)
        assert code == 2
        assert problems[0].startswith("tiny/tiny-000000: the tar's sha256")
        data[place] ^= 1
        path.write_bytes(data)
    assert verify(tiny_layout) == (0, [])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_tar_is_found(share: float, tiny_layout: Layout, verify: Verify) -> None:
    path = tiny_layout.tar("tiny", 2)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    _, problems = verify(tiny_layout)
    assert problems[0] == "tiny/tiny-000002: the tar's sha256 is not the one in the manifest"


def test_a_missing_tar_is_found(tiny_layout: Layout, verify: Verify) -> None:
    tiny_layout.tar("tiny", 1).unlink()
    _, problems = verify(tiny_layout)
    assert len(problems) == 1
    assert problems[0].startswith("tiny/tiny-000001: the shard ")
    assert problems[0].endswith("tiny-000001.tar is missing")


def test_swapped_tars_are_found(tiny_layout: Layout, verify: Verify) -> None:
    one, other = tiny_layout.tar("tiny", 0), tiny_layout.tar("tiny", 2)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    _, problems = verify(tiny_layout)
    assert problems == [
        f"tiny/tiny-00000{here}: its tar is that of tiny-00000{there}: swapped, or copied over it"
        for here, there in ((0, 2), (2, 0))
    ]


def test_a_shard_full_of_problems_is_shortened(
    toy_source: type, encode: Any, make_picture: Any, tmp_path: Path, call: Callable[..., Any]
) -> None:
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    pictures = {f"p{index}": Record({"jpg": encode(make_picture(index))}) for index in range(14)}
    pack(toy_source("many", pictures), "many", layout, 20)
    tar = layout.tar("many", 0)
    data = bytearray(tar.read_bytes())
    for row in read_manifest(layout.manifest("many", 0)):
        data[row["members"][0]["offset"] + 30] ^= 255
    tar.write_bytes(data)
    code, out, err = call(main, layout)
    *problems, total = out.splitlines()
    assert code == 2
    assert len(problems) == 11
    assert problems[-1] == "many/many-000000: 5 more problems of this shard"
    assert total == "14 samples in 1 shards checked, 15 problems"
    assert "error: 15 problems found" in err


def test_an_orphan_tar_is_found(tiny_layout: Layout, verify: Verify) -> None:
    shutil.copy(tiny_layout.tar("tiny", 0), tiny_layout.tar("tiny", 9))
    assert verify(tiny_layout)[1] == [f"tiny/tiny-000009: {ORPHAN}"]
    assert verify(tiny_layout, "tiny", "--sample=1")[0] == 2


def rewrite(
    layout: Layout,
    index: int,
    change: Callable[[list[dict[str, Any]]], None],
    dataset: str = "tiny",
) -> None:
    """Writes a manifest anew with changed rows, its hashes kept."""
    path = layout.manifest(dataset, index)
    rows, metadata = read_manifest(path), manifest_metadata(path)
    change(rows)
    write_manifest(path, rows, metadata[FINGERPRINT].decode(), metadata[SHARD_SHA256].decode())


@pytest.mark.parametrize(("field", "by"), [("offset", 512), ("offset", -1), ("size", 1)])
def test_a_wrong_offset_or_size_is_found(
    field: str, by: int, tiny_layout: Layout, verify: Verify
) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[2]["members"][1][field] += by

    rewrite(tiny_layout, 1, change)
    key = read_manifest(tiny_layout.manifest("tiny", 1))[2]["key"]
    first, card = verify(tiny_layout)[1]
    assert first == f"tiny/{key}: txt is not at the offset of the manifest"
    assert card == CARD_DIFFERS


def test_a_wrong_hash_in_the_manifest_is_found(tiny_layout: Layout, verify: Verify) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["members"][0]["sha256"] = "0" * 64

    rewrite(tiny_layout, 0, change)
    key = first_row(tiny_layout, 0)["key"]
    assert verify(tiny_layout)[1] == [f"tiny/{key}: jpg has another sha256", CARD_DIFFERS]


def test_a_sample_that_the_manifest_lacks_is_found(tiny_layout: Layout, verify: Verify) -> None:
    key = first_row(tiny_layout, 0)["key"]
    rewrite(tiny_layout, 0, lambda rows: rows.pop(0) and None)
    assert verify(tiny_layout)[1] == [
        *(
            f"tiny/{key}: {ext} is in the tar, not in the manifest"
            for ext in ("jpg", "json", "txt")
        ),
        CARD_DIFFERS,
    ]


def test_a_duplicate_key_is_found(tiny_layout: Layout, verify: Verify) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows.append(rows[0])

    rewrite(tiny_layout, 0, change)
    key = first_row(tiny_layout, 0)["key"]
    assert f"tiny/{key}: duplicate key" in verify(tiny_layout)[1]


def test_a_duplicate_key_in_another_shard_is_found(
    tiny_layout: Layout, toy_source: type, encode: Any, make_picture: Any, verify: Verify
) -> None:
    records = {name: Record({"jpg": encode(make_picture(1))}) for name in ("a", "b", "c")}
    pack(toy_source("twice", records), "twice", tiny_layout, 2)

    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["key"] = "a"

    rewrite(tiny_layout, 1, change, "twice")
    problem = "twice/a: duplicate key, in twice-000000 and twice-000001"
    assert problem in verify(tiny_layout, "twice")[1]


def test_a_picture_that_does_not_decode_is_found(tiny_layout: Layout, verify: Verify) -> None:
    """Bytes and hashes agree, so somebody wrote the shard with bad bytes."""
    path = tiny_layout.tar("tiny", 0)
    row = first_row(tiny_layout, 0)
    place = row["members"][0]
    data = bytearray(path.read_bytes())
    data[place["offset"] : place["offset"] + place["size"]] = b"x" * place["size"]
    path.write_bytes(data)
    digest = hashlib.sha256(b"x" * place["size"]).hexdigest()
    rows = read_manifest(tiny_layout.manifest("tiny", 0))
    rows[0]["members"][0]["sha256"] = digest
    tar_digest = hashlib.sha256(bytes(data)).hexdigest()
    write_manifest(tiny_layout.manifest("tiny", 0), rows, "f", tar_digest)
    problem, card = verify(tiny_layout)[1]
    assert card == CARD_DIFFERS
    assert problem.startswith(f"tiny/{row['key']}: jpg does not decode: no picture format begins")


def test_a_missing_card_is_found(tiny_layout: Layout, verify: Verify) -> None:
    tiny_layout.card("tiny").unlink()
    assert verify(tiny_layout)[1] == ["tiny: dataset.json is missing: the pack did not finish"]


def test_a_wrong_card_is_found(tiny_layout: Layout, verify: Verify) -> None:
    card = json.loads(tiny_layout.card("tiny").read_text())
    card["shards"].pop()
    tiny_layout.card("tiny").write_text(json.dumps(card))
    assert verify(tiny_layout)[1] == [CARD_DIFFERS]
    tiny_layout.card("tiny").write_text("no json")
    (problem,) = verify(tiny_layout)[1]
    assert problem.startswith("tiny: dataset.json cannot be read")


@pytest.mark.parametrize("text", ["[]", "{}", '{"shards": [{}]}', '{"shards": 3}'])
def test_a_card_of_another_shape_is_found(text: str, tiny_layout: Layout, verify: Verify) -> None:
    tiny_layout.card("tiny").write_text(text)
    assert verify(tiny_layout)[0] == 2


@pytest.mark.parametrize("damage", ["junk", "foreign"])
def test_a_damaged_manifest_is_found(damage: str, tiny_layout: Layout, verify: Verify) -> None:
    path = tiny_layout.manifest("tiny", 1)
    if damage == "junk":
        path.write_bytes(b"junk" * 100)
    else:
        pq.write_table(pa.table({"a": [1]}), path)
    tiny_layout.tar("tiny", 2).unlink()
    _, problems = verify(tiny_layout)
    assert any("tiny-000001: unreadable manifest" in problem for problem in problems)
    assert any("tiny-000002" in problem for problem in problems)


def test_lost_links_are_found_and_counted(
    triplets: Layout, toy_source: type, encode: Any, make_picture: Any, verify: Verify
) -> None:
    records = {"photo0": Record({"jpg": encode(make_picture(1))})}
    shutil.rmtree(triplets.manifests / "photos")
    shutil.rmtree(triplets.shards / "photos")
    pack(toy_source("photos", records), "photos", triplets, 5)
    shutil.rmtree(triplets.manifests / "paintings")
    shutil.rmtree(triplets.shards / "paintings")
    # 13 targets, three of which are linked to photo0
    assert verify(triplets)[1] == [
        "targets: 10 samples lack their content in photos; target01 is linked to photos/photo1",
        "targets: 13 samples lack their style in paintings; "
        "target00 is linked to paintings/painting0",
    ]


def test_tars_of_a_dataset_without_manifests_are_found(triplets: Layout, verify: Verify) -> None:
    shutil.rmtree(triplets.manifests / "circles")
    assert verify(triplets)[1] == [
        f"circles/circles-000000: {ORPHAN}",
        f"circles/circles-000001: {ORPHAN}",
    ]
    assert verify(triplets, "photos")[1] == []


def test_all_problems_of_all_datasets_are_listed(triplets: Layout, verify: Verify) -> None:
    triplets.tar("photos", 0).unlink()
    triplets.card("circles").unlink()
    _, problems = verify(triplets)
    assert len(problems) == 2
    assert verify(triplets, "targets") == (0, [])


def test_the_real_command(run_command: Any, tiny_layout: Layout, tmp_path: Path) -> None:
    done = run_command("toolkit.verify", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == "12 samples in 3 shards checked, 0 problems\n"
    with tarfile.open(tiny_layout.tar("tiny", 0), "a") as tar:
        tar.add(tmp_path / "manifests" / "tiny" / "dataset.json", "extra.json")
    done = run_command("toolkit.verify", cwd=tmp_path)
    assert done.returncode == 2
    assert "tiny/extra: json is in the tar, not in the manifest" in done.stdout
    last = done.stderr.splitlines()[-1]
    assert last == (
        "error: 2 problems found: the command that packed what is named above mends it, byte for "
        "byte where the raw data are as they were"
    )
    assert "Traceback" not in done.stderr
    done = run_command("toolkit.verify", "tinny", cwd=tmp_path)
    assert (
        done.stderr == "error: there is no dataset 'tinny': packed are tiny; did you mean tiny?\n"
    )
