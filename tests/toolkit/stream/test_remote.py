"""Shards and manifests in a real S3 API server that fails now and then: the same stream."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.s3 import Proxy, s3_server
from toolkit.core.errors import UserError
from toolkit.core.places import folder
from toolkit.store import objects
from toolkit.store.layout import Layout
from toolkit.store.mirror import open_layout
from toolkit.store.range_cache import RangeCache
from toolkit.store.selection import select
from toolkit.stream.augment import Augment
from toolkit.stream.cost import cost_of
from toolkit.stream.loader import Loader
from toolkit.stream.remote import RemoteReader

ROOT = Path(__file__).resolve().parents[3]
MIX = {"main": 3, "fill50k": 1}


@pytest.fixture
def remote(triplets: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with s3_server(triplets.shards.parent) as proxy:
        ours = {"TESSERA_CACHE": str(tmp_path / "cache"), "TESSERA_CACHE_GB": "0"}
        for name, value in {**proxy.environment, **ours}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(objects, "FIRST_PAUSE_S", 0.01)
        monkeypatch.setattr(objects, "TIMEOUT_S", 1.5)
        yield proxy


def remote_layout() -> Layout:
    return open_layout(folder("s3://data/shards"), folder("s3://data/manifests"))


def open_loader(layout: Layout, cache: Path, where: str = "true", **more: Any) -> Loader:
    chosen = [
        select("main", "targets", where, layout, cache),
        select("fill50k", "circles", "true", layout, cache),
    ]
    augment = Augment("random", 0.5, 0.5, 0.1)
    return Loader(chosen, MIX, 6, 32, 7, **{"augment": augment, "stop": 90, **more})


def facts(loader: Loader) -> list[Any]:
    try:
        return [
            (b.keys, b.captions, b.sample_seed.tolist(), b.num_substituted,
             {role: images.pixels.numpy().tobytes() for role, images in b.images.items()})
            for b in loader
        ]  # fmt: skip
    finally:
        loader.close()


def test_the_stream_is_that_of_the_disk_whatever_fails_on_the_way(
    remote: Proxy, triplets: Layout, tmp_path: Path, spoil: Any
) -> None:
    spoil(triplets, "targets", "target03")
    remote.upload()
    where = "style in ('Cubism', 'Ukiyo_e') and key <> 'target05'"
    expected = facts(open_loader(triplets, tmp_path / "a", where))
    assert sum(row[3] for row in expected) > 0
    remote.faults, remote.slow_s = {"500": 8, "cut": 6, "drop": 4, "slow": 1}, 2.5
    layout = remote_layout()
    for workers in (0, 2):
        loader = open_loader(layout, tmp_path / "b", where, workers=workers)
        assert facts(loader) == expected
    assert all(remote.suffered[kind] for kind in remote.faults)
    state = {**open_loader(triplets, tmp_path / "a", where).state_dict(), "position": 42}
    resumed = open_loader(layout, tmp_path / "b", where, workers=2)
    resumed.load_state_dict(json.loads(json.dumps(state)))  # a state from the disk's stream
    assert facts(resumed) == expected[7:]


def test_worker_processes_read_it_too(remote: Proxy, triplets: Layout, tmp_path: Path) -> None:
    expected = facts(open_loader(triplets, tmp_path / "a", stop=30))
    assert facts(open_loader(remote_layout(), tmp_path / "b", stop=30, processes=2)) == expected


@pytest.mark.parametrize("block", [1, 8])
def test_it_asks_for_what_the_plan_foretold(
    remote: Proxy, triplets: Layout, tmp_path: Path, block: int
) -> None:
    layout = remote_layout()
    loader = open_loader(layout, tmp_path / "b", workers=2, block=block, stop=120)
    cost = cost_of(
        [select(n, d, "true", layout, tmp_path / "b") for n, d in
         (("main", "targets"), ("fill50k", "circles"))], MIX, 6, 7, block,
    )  # fmt: skip
    remote.reset()
    batches = len(list(loader))
    loader.close()
    assert remote.seen["range"] == pytest.approx(cost.requests * batches, rel=0.1)
    assert remote.sent == pytest.approx(cost.requests * cost.request_bytes * batches, rel=0.1)


def test_a_second_epoch_comes_from_the_cache(
    remote: Proxy, triplets: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_CACHE_GB", "1")
    layout = remote_layout()
    first = facts(open_loader(layout, tmp_path / "b", workers=2))
    assert remote.seen["range"] > 0
    remote.reset()
    assert facts(open_loader(layout, tmp_path / "b", workers=2)) == first
    assert remote.seen["range"] == 0


def test_data_that_changed_in_the_store_are_seen(
    remote: Proxy, triplets: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    toy_source: Any, encode: Any, make_picture: Any,
) -> None:  # fmt: skip
    """Manifests are looked at anew at each opening, and the cache answers for one version only."""
    from toolkit.core.records import Record
    from toolkit.packing.dataset import pack

    monkeypatch.setenv("TESSERA_CACHE_GB", "1")
    facts(open_loader(remote_layout(), tmp_path / "b"))
    state = open_loader(remote_layout(), tmp_path / "b").state_dict()
    records = {f"circle{i}": Record({"target.png": encode(make_picture(600 + i), "PNG"),
                                     "source.png": encode(make_picture(800 + i), "PNG")})
               for i in range(7)}  # fmt: skip
    pack(toy_source("other", records), "circles", triplets, 5, overwrite=True)
    remote.upload()
    layout = remote_layout()
    expected = facts(open_loader(triplets, tmp_path / "c"))
    assert facts(open_loader(layout, tmp_path / "b")) == expected
    with pytest.raises(UserError, match="data was"):
        open_loader(layout, tmp_path / "b").load_state_dict(state)


def test_commands_take_urls(remote: Proxy, triplets: Layout, tmp_path: Path) -> None:
    flags = ["--shards=s3://data/shards", "--manifests=s3://data/manifests"]

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *args, *flags], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip

    assert run("toolkit.query", "style='Cubism'", "--count").stdout == "9\n"
    plan = run("toolkit.plan", "true", "--main=targets", "--mix=main:3,circles:1")
    assert "main: 13 samples" in plan.stdout, plan.stderr
    shown = run("toolkit.inspect", "show", "photos/photo2", "--out=look")
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "look").is_dir()
    packed = run("toolkit.pack", "folder", "--src=.", "--name=x")
    assert packed.returncode == 2
    assert "s3://data/shards is remote: this command needs folders of this machine" in packed.stderr
    assert packed.stderr.count("\n") == 1


def test_what_is_not_there_is_one_line(remote: Proxy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no manifests in s3://data/nothing"):
        open_layout(folder("s3://data/shards"), folder("s3://data/nothing"))
    remote.reset()
    with pytest.raises(UserError, match=r"there is no such bucket or object \(NoSuchBucket\): che"):
        open_layout(folder("s3://data/shards"), folder("s3://nobucket/m"))
    assert sum(remote.seen.values()) == 1  # trying again would not help
    with pytest.raises(UserError, match="ftp://x/y cannot be opened"):
        open_layout(folder("s3://data/shards"), folder("ftp://x/y"))
    reader = RemoteReader()
    with pytest.raises(UserError, match=r"the shard s3://data/shards/a/b\.tar does not exist"):
        reader.read("s3://data/shards/a/b.tar", 0, 5)
    with pytest.raises(UserError, match="ends early: check the data"):
        reader.read("s3://data/shards/photos/photos-000000.tar", 10, 10**7)
    remote.faults = {"403": 100}
    remote.reset()
    with pytest.raises(UserError, match=r"cannot be read: the store refuses access.*: check the k"):
        reader.read("s3://data/shards/photos/photos-000000.tar", 0, 5)
    assert sum(remote.suffered.values()) == 1
    with pytest.raises(UserError, match=r"s3:/a/b: a URL has two slashes, s3://a/b"):
        folder("s3:/a/b")
    remote.faults = {"500": 100}
    with pytest.raises(UserError, match=r"photos-000000\.tar cannot be read: .*500"):
        reader.read("s3://data/shards/photos/photos-000000.tar", 0, 5)


def test_missing_credentials_are_one_line(remote: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(objects, "RETRIES", 1)
    with pytest.raises(UserError, match=r"there are no credentials; set AWS_ACCESS_KEY_ID"):
        open_layout(folder("s3://data/shards"), folder("s3://data/manifests"))


# --- the cache


def test_the_cache_keeps_its_limit_and_forgets_the_longest_unread(tmp_path: Path) -> None:
    other = tmp_path / "shards.tar"
    other.write_bytes(b"the only copy")
    cache = RangeCache(tmp_path / "ranges", 10_000)
    for number in range(8):
        cache.put("v", number, bytes([number]) * 1000)
        os.utime(cache._path("v", number, 1000), (number, number))
    assert cache.get("v", 0, 1000) == bytes(1000)  # read just now, so the last to go
    for number in range(8, 12):
        cache.put("v", number, bytes([number]) * 1000)
    total = sum(p.stat().st_size for p in (tmp_path / "ranges").rglob("*") if p.is_file())
    assert total <= 10_000
    assert cache.get("v", 0, 1000) == bytes(1000)
    assert cache.get("v", 1, 1000) is None
    assert cache.get("v", 11, 1000) == bytes([11]) * 1000
    assert cache.get("w", 11, 1000) is None
    assert other.read_bytes() == b"the only copy"


def test_a_damaged_cache_is_no_answer(tmp_path: Path) -> None:
    cache = RangeCache(tmp_path, 10_000)
    cache.put("v", 0, b"abcdefgh")
    path = cache._path("v", 0, 8)
    for damage in (b"", bytes(12), path.read_bytes()[:-1], b"X" + path.read_bytes()[1:]):
        path.write_bytes(damage)
        assert cache.get("v", 0, 8) is None
    assert [p for p in itertools.islice(tmp_path.rglob("*"), 9) if p.is_file()] == [path]
