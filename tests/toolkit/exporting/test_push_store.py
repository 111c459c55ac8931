"""Pushing to a real S3 API server: what is there stays, a killed push goes on, the card is last."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Call, Outcome
from toolkit.export import COMMANDS
from toolkit.exporting import push_store
from toolkit.query import main as query
from toolkit.store.layout import Layout

TO = "s3://bucket/some/place"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with the empty bucket `bucket`."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    ask("POST", address, "/moto-api/reset")
    ask("PUT", address, "/bucket")
    yield address
    server.stop()


def ask(method: str, address: str, path: str, data: bytes = b"") -> bytes:
    link = http.client.HTTPConnection(address.removeprefix("http://"))
    key = "AWS4-HMAC-SHA256 Credential=t/20260101/us-east-1/s3/aws4_request"
    link.request(method, path, data, {"Authorization": key})
    answer = link.getresponse()
    body = answer.read()
    assert answer.status in (200, 204), body
    link.close()
    return body


def listed(address: str) -> int:
    return ask("GET", address, "/bucket?list-type=2").count(b"<Key>")


def there(prefix: str = "some/place") -> dict[str, bytes]:
    import obstore

    store = push_store.open_store("s3://bucket")
    found = {}
    for chunk in obstore.list(store):
        for facts in chunk:
            if facts["path"].startswith(prefix + "/"):
                name = facts["path"].removeprefix(prefix + "/")
                found[name] = bytes(obstore.get(store, facts["path"]).bytes())
    return found


def here(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*") if p.is_file()}  # fmt: skip


@pytest.fixture
def exported(mixed_origin: Layout, export: Callable[..., Outcome], tmp_path: Path) -> Path:
    done = export(mixed_origin, "dataset='targets'", "hub", tmp_path / "out")
    assert done.code == 0, done.err
    return tmp_path / "out"


def test_it_arrives_and_is_not_sent_again(server: str, exported: Path, call: Call) -> None:
    files = here(exported)
    told = call(COMMANDS, "push", str(exported), f"--to={TO}", "--dry_run")
    assert f"{len(files)} files" in told.out
    assert "would be sent" in told.out
    assert there() == {}
    first = call(COMMANDS, "push", str(exported), f"--to={TO}")
    assert first.code == 0, first.err
    assert first.out.startswith(f"{len(files)} files (")
    found = there()
    del found[push_store.INDEX]
    assert found == files
    again = call(COMMANDS, "push", str(exported), f"--to={TO}/")
    assert again.out.startswith("0 files (0 MB) sent to s3://bucket/some/place, ")
    # one changed here, with as many bytes; one changed there; one that is only there
    card = exported / "README.md"
    card.write_bytes(card.read_bytes().replace(b"samples", b"SAMPLES"))
    ask("PUT", server, "/bucket/some/place/data/val-000000.tar", b"something else")
    ask("PUT", server, "/bucket/some/place/notes.txt", b"mine")
    mended = call(COMMANDS, "push", str(exported), f"--to={TO}")
    assert mended.out.startswith("2 files (")
    assert "1 other files lie there" in mended.out
    found = there()
    assert found.pop("notes.txt") == b"mine"
    del found[push_store.INDEX]
    assert found == here(exported)


def test_without_its_index_bytes_are_known_by_etag(server: str, exported: Path, call: Call) -> None:
    assert call(COMMANDS, "push", str(exported), f"--to={TO}").code == 0
    ask("DELETE", server, f"/bucket/some/place/{push_store.INDEX}")
    assert call(COMMANDS, "push", str(exported), f"--to={TO}").out.startswith("0 files")


def test_large_files_go_in_parts(
    server: str, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_store, "PART_BYTES", 5_500_000)
    (tmp_path / "out").mkdir()
    data = os.urandom(12_000_000)
    (tmp_path / "out" / "large.tar").write_bytes(data)
    assert call(COMMANDS, "push", str(tmp_path / "out"), f"--to={TO}").code == 0
    assert there()["large.tar"] == data
    listing = ask("GET", server, "/bucket?list-type=2").decode()
    assert "-3&quot;" in listing or '-3"' in listing  # the ETag of three parts
    assert call(COMMANDS, "push", str(tmp_path / "out"), f"--to={TO}").out.startswith("0 files")


def test_a_killed_push_goes_on(server: str, tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "out"
    for number in range(150):
        path = folder / f"{number % 3}" / f"{number:03d}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 100_000)
    (folder / "README.md").write_text("# card")
    (folder / ".tessera-export.json").write_text("{}")
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit.export", "push", str(folder), f"--to={TO}"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while process.poll() is None and listed(server) < 20:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.wait()
    assert process.returncode == -signal.SIGKILL
    before = set(there()) - {push_store.INDEX}
    assert 20 <= len(before) < 150
    assert not {"README.md", ".tessera-export.json"} & before
    done = call(COMMANDS, "push", str(folder), f"--to={TO}")
    assert done.code == 0, done.err
    sent = int(done.out.split()[0])
    assert 0 <= 152 - len(before) - sent <= 8  # some were on their way when it was killed
    found = there()
    del found[push_store.INDEX]
    assert found == here(folder)


def test_tessera_and_webdataset_read_what_was_pushed(
    server: str, exported: Path, mixed: Layout, call: Call, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Packed data that were pushed are queried where they lie; tars are tars."""
    import webdataset

    monkeypatch.setenv("TESSERA_CACHE", str(tmp_path / "cache"))
    for name in ("shards", "manifests"):
        folder = getattr(mixed, name)
        done = call(COMMANDS, "push", str(folder), f"--to=s3://bucket/data/{name}")
        assert done.code == 0, done.err
    words = ["--shards=s3://bucket/data/shards", "--manifests=s3://bucket/data/manifests"]
    counted = call(query, "dataset='targets'", "--count", *words)
    assert counted.out == "13\n", counted.err
    assert call(COMMANDS, "push", str(exported), f"--to={TO}").code == 0
    tar = tmp_path / "fetched.tar"
    tar.write_bytes(ask("GET", server, "/bucket/some/place/data/train-000000.tar"))
    stream = webdataset.WebDataset(str(tar), shardshuffle=False).decode("pil")
    samples = {sample["__key__"]: sample for sample in stream}
    assert sorted(samples) == ["t00", "t01", "t04", "t05", "t08", "t09", "t12"]
    assert samples["t00"]["style.jpg"].size == (64, 48)


def test_what_cannot_be_is_one_line(
    server: str, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"

    def told(to: str, *flags: str) -> Any:
        return call(COMMANDS, "push", str(folder), f"--to={to}", *flags).refusal()

    assert "there is no folder" in told(TO)
    folder.mkdir()
    assert "there is nothing to send" in told(TO)
    (folder / "a.txt").write_text("a")
    for to in ("out", "ftp://x/y", "hf://USER/NAME", "hf://datasets/NAME", "hf://models/a/b"):
        assert "write hf://datasets/USER/NAME" in told(to)
    assert "--public goes with hf://" in told(TO, "--public")
    assert "there is no such bucket" in told("s3://nobody/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(push_store, "_RETRIES", 0)
    monkeypatch.setattr("toolkit.store.objects.FIRST_PAUSE_S", 0.001)
    assert "cannot be read" in told(TO)
    partial = tmp_path / ".out.partial"
    folder.rename(partial)
    folder = partial
    assert "is an export that is not finished" in told(TO)
