"""Shards: plain tars that any reader understands, the same bytes each time, offsets that hold."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from toolkit.core.files import atomic_path
from toolkit.store.tar import Member, ShardWriter

SAMPLES: dict[str, Mapping[str, bytes]] = {
    "a": {"jpg": b"\xff\xd8 not really", "txt": b"", "json": b'{"key":"a"}'},
    "b-1": {"jpg": bytes(range(256)) * 9, "txt": "é".encode(), "json": b"{}"},
    "x" * 80: {"target.png": b"1" * 512, "source.png": b"2" * 513, "txt": b"t"},
}


def write(path: Path) -> dict[str, list[Member]]:
    with ShardWriter(path) as shard:
        return {key: shard.write(key, members) for key, members in SAMPLES.items()}


def test_tarfile_reads_the_members_in_order(tmp_path: Path) -> None:
    write(tmp_path / "s.tar")
    with tarfile.open(tmp_path / "s.tar", "r:") as tar:
        infos = tar.getmembers()
        assert [info.name for info in infos] == [
            f"{key}.{ext}" for key, members in SAMPLES.items() for ext in members
        ]
        for info in infos:
            key, _, ext = info.name.partition(".")
            file = tar.extractfile(info)
            assert file is not None
            assert file.read() == SAMPLES[key][ext]
            assert (info.mtime, info.uid, info.gid, info.mode) == (0, 0, 0, 0o644)
            assert info.isreg()


def test_webdataset_reads_the_same_keys_and_bytes(tmp_path: Path) -> None:
    import webdataset

    write(tmp_path / "s.tar")
    dataset = webdataset.WebDataset(str(tmp_path / "s.tar"), shardshuffle=False)
    got = {
        sample["__key__"]: {k: v for k, v in sample.items() if not k.startswith("__")}
        for sample in dataset
    }
    assert got == {key: dict(members) for key, members in SAMPLES.items()}


def places(path: Path) -> list[tuple[str, int, int]]:
    with tarfile.open(path) as tar:
        return [(info.name, info.offset_data, info.size) for info in tar]


def test_offsets_sizes_and_hashes_are_those_of_the_bytes(tmp_path: Path) -> None:
    written = write(tmp_path / "s.tar")
    data = (tmp_path / "s.tar").read_bytes()
    for key, members in written.items():
        assert [member.ext for member in members] == list(SAMPLES[key])
        for member in members:
            body = data[member.offset : member.offset + member.size]
            assert body == SAMPLES[key][member.ext]
            assert member.sha256 == hashlib.sha256(body).hexdigest()


def test_tarfile_finds_what_was_written(tmp_path: Path) -> None:
    written = write(tmp_path / "s.tar")
    assert places(tmp_path / "s.tar") == [
        (f"{key}.{m.ext}", m.offset, m.size) for key, members in written.items() for m in members
    ]


def test_the_format_is_ustar_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    write(tmp_path / "one.tar")
    write(tmp_path / "other.tar")
    data = (tmp_path / "one.tar").read_bytes()
    assert data == (tmp_path / "other.tar").read_bytes()
    assert len(data) % 10240 == 0
    assert data[257:265] == b"ustar\x0000"
    assert data[265:272] == b"tessera"


def test_an_empty_shard_is_a_tar(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "s.tar"):
        pass
    assert places(tmp_path / "s.tar") == []


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"

    def fail() -> None:
        with atomic_path(path) as temporary, ShardWriter(temporary) as shard:
            shard.write("a", SAMPLES["a"])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_member_name_that_does_not_fit_is_refused_not_cut(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "s.tar") as shard, pytest.raises(ValueError, match="name is too"):
        shard.write("k" * 80, {"e" * 60: b""})


@pytest.mark.parametrize("name", ["a.jpg", "x" * 96 + ".jpg", "x" * 80 + "/" + "y" * 90 + ".jpg"])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 8**6 + 5])
def test_headers_are_those_of_tarfile(name: str, size: int, tmp_path: Path) -> None:
    key, _, ext = name.partition(".")
    with ShardWriter(tmp_path / "s.tar") as shard:
        shard.write("first", {"png": b"p"})
        shard.write(key, {ext: bytes(size)})
    expected = io.BytesIO()
    with tarfile.open(fileobj=expected, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member, data in (("first.png", b"p"), (name, bytes(size))):
            info = tarfile.TarInfo(member)
            info.size, info.mode, info.uname, info.gname = len(data), 0o644, "tessera", "tessera"
            tar.addfile(info, io.BytesIO(data))
    data = (tmp_path / "s.tar").read_bytes()
    assert data == expected.getvalue()
    assert shard.sha256 == hashlib.sha256(data).hexdigest()
