"""Pushing with huggingface_hub itself, over HTTP, to a small server that answers as the hub does:
making a repository, what is there, how each file goes, LFS, commits."""

import base64
import hashlib
import http.server
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Outcome, RunCommand
from toolkit.store.layout import Layout

REPOSITORY = "someone/triplets"


class Hub(http.server.ThreadingHTTPServer):
    """Keeps one dataset repository. files: those that are committed; objects: LFS by sha256;
    commits: the names in each; failing: requests to refuse, by a part of their path, with a status
    and how often."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.lfs: set[str] = set()
        self.objects: dict[str, bytes] = {}
        self.commits: list[list[str]] = []
        self.made: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.uploads = 0
        self.failing: dict[str, list[int]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.asked.append(f"{self.command} {path}")
        for part, left in hub.failing.items():
            if part in path and left[1] > 0:
                left[1] -= 1
                self._answer({"error": "no"}, left[0])
                return
        base = f"/api/datasets/{REPOSITORY}"
        if path.startswith("/put/"):
            digest = path.removeprefix("/put/")
            assert hashlib.sha256(data).hexdigest() == digest
            hub.objects[digest] = data
            hub.uploads += 1
            self._answer({})
        elif self.headers.get("Authorization") != "Bearer hf_right":
            self._answer({"error": "Invalid username or password."}, 401)
        elif path == "/api/repos/create":
            hub.made.append(json.loads(data))
            self._answer({"url": f"{hub.address}/datasets/{REPOSITORY}", "id": "1"})
        elif path == f"{base}/tree/main":
            self._answer([self._entry(name) for name in hub.files])
        elif path == "/api/validate-yaml":
            told = json.loads(data)
            assert told["repoType"] == "dataset"
            assert told["content"].startswith("---\n")
            self._answer({"errors": [], "warnings": []})
        elif path == f"{base}/preupload/main":
            self._answer({"files": [self._way(x) for x in json.loads(data)["files"]]})
        elif path == f"/datasets/{REPOSITORY}.git/info/lfs/objects/batch":
            self._answer({"transfer": "basic", "objects": [
                self._upload(x) for x in json.loads(data)["objects"]
            ]})  # fmt: skip
        elif path == f"{base}/commit/main":
            self._commit([json.loads(line) for line in data.splitlines()])
        else:
            self._answer({"error": "not found"}, 404)

    def _entry(self, name: str) -> dict[str, Any]:
        data = self.server.files[name]
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": oid}
        if name in self.server.lfs:
            digest = hashlib.sha256(data).hexdigest()
            entry |= {"oid": "0" * 40,
                      "lfs": {"oid": digest, "size": len(data), "pointerSize": 130}}  # fmt: skip
        return entry

    def _way(self, file: dict[str, Any]) -> dict[str, Any]:
        is_text = file["path"].endswith((".md", ".json"))
        return {"path": file["path"], "uploadMode": "regular" if is_text else "lfs",
                "shouldIgnore": False}  # fmt: skip

    def _upload(self, known: dict[str, Any]) -> dict[str, Any]:
        href = f"{self.server.address}/put/{known['oid']}"
        is_there = known["oid"] in self.server.objects
        return known if is_there else {**known, "actions": {"upload": {"href": href}}}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        names = []
        for line in lines:
            told = line["value"]
            if line["key"] == "file":
                self.server.files[told["path"]] = base64.b64decode(told["content"])
                names.append(told["path"])
            if line["key"] == "lfsFile":
                self.server.files[told["path"]] = self.server.objects[told["oid"]]
                self.server.lfs.add(told["path"])
                names.append(told["path"])
        self.server.commits.append(names)
        url = f"{self.server.address}/datasets/{REPOSITORY}/commit/1"
        self._answer({"success": True, "commitOid": "1" * 40, "commitUrl": url})

    def _answer(self, told: Any, status: int = 200) -> None:
        data = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *parts: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def exported(mixed_origin: Layout, export: Callable[..., Outcome], tmp_path: Path) -> Path:
    done = export(mixed_origin, "dataset='targets'", "hub", tmp_path / "out")
    assert done.code == 0, done.err
    return tmp_path / "out"


@pytest.fixture
def push(
    hub: Hub, exported: Path, tmp_path: Path, run_command: RunCommand
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def start(*flags: str, **more: str) -> "subprocess.CompletedProcess[str]":
        env = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "*",
               "no_proxy": "*", "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
               "HF_TOKEN": "hf_right", **more}  # fmt: skip
        to = f"--to=hf://datasets/{REPOSITORY}"
        return run_command("toolkit.export", "push", exported, to, *flags, env=env)

    return start


def here(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*") if p.is_file()}  # fmt: skip


def test_it_arrives_whole_and_once(hub: Hub, exported: Path, push: Any) -> None:
    told = push("--dry_run")
    assert told.returncode == 0, told.stderr
    assert (hub.made, hub.commits) == ([], [])
    done = push()
    assert done.returncode == 0, done.stderr
    files = here(exported)
    assert done.stdout.startswith(f"{len(files)} files (")
    assert f"sent to hf://datasets/{REPOSITORY}, 0 were there" in done.stdout
    assert hub.files == files
    (made,) = hub.made
    assert made["type"] == "dataset"
    assert made.get("private") is True or made.get("visibility") == "private"
    assert [name for names in hub.commits for name in names][-1] == "README.md"
    assert hub.commits[-1] == ["README.md"]
    uploads = hub.uploads
    again = push()
    assert again.stdout.startswith("0 files (0 MB) sent")
    assert (hub.uploads, len(hub.commits)) == (uploads, 2)
    # one file changed, with as many bytes
    tar = exported / "data" / "val-000000.tar"
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")
    hub.files["own.txt"] = b"mine"
    changed = push()
    assert changed.stdout.startswith("1 files (")
    assert "1 other files lie there" in changed.stdout
    assert hub.commits[-1] == ["data/val-000000.tar"]
    assert hub.files == {**here(exported), "own.txt": b"mine"}


def test_a_push_that_was_cut_off_goes_on(hub: Hub, exported: Path, push: Any) -> None:
    hub.failing = {"/commit/": [403, 1]}
    cut = push()
    assert cut.returncode == 2
    assert cut.stderr.splitlines()[-1] == (
        f"error: cannot push to {REPOSITORY} at {hub.address}: the token may not write there "
        "(HTTP 403): get one that may"
    )
    assert hub.uploads > 0
    uploads = hub.uploads
    done = push()
    assert done.returncode == 0, done.stderr
    assert hub.uploads == uploads  # what was uploaded is only committed
    assert hub.files == here(exported)


def test_a_server_that_stumbles_is_asked_again(hub: Hub, exported: Path, push: Any) -> None:
    hub.failing = {"/commit/": [503, 1], "/tree/": [500, 1]}
    done = push()
    assert done.returncode == 0, done.stderr
    assert hub.files == here(exported)


def test_public_is_said(hub: Hub, push: Any) -> None:
    assert push("--public").returncode == 0
    (made,) = hub.made
    assert made.get("private") is False or made.get("visibility") == "public"


def test_what_cannot_be_is_one_line(hub: Hub, push: Any) -> None:
    without = push(HF_TOKEN="")
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    assert "there is no token of the Hugging Face Hub: run `hf auth login`" in without.stderr
    wrong = push(HF_TOKEN="hf_wrong")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "the token may not write there (HTTP 401)" in wrong.stderr
    assert hub.files == {}
