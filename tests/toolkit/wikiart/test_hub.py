"""The download, from a small server on this machine that speaks as the Hub does."""

import hashlib
import http.server
import io
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "some/paintings"


class Hub(http.server.ThreadingHTTPServer):
    """Serves one dataset of two files and keeps a log of what it was asked for."""

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.asked: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    """The four answers that a download needs: the commit, the files, a file's facts, its bytes."""

    server: Hub

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        base = f"/api/datasets/{REPO}"
        if path in (base, f"{base}/revision/main"):
            names = [{"rfilename": name} for name in self.server.files]
            self.answer(json.dumps({"id": REPO, "sha": COMMIT, "siblings": names}).encode())
        elif path.startswith(f"{base}/tree/{COMMIT}"):
            tree = [{"type": "file", "path": name, "size": len(data), "oid": self.oid(data)}
                    for name, data in self.server.files.items()]  # fmt: skip
            self.answer(json.dumps(tree).encode())
        elif path.removeprefix(f"/datasets/{REPO}/resolve/{COMMIT}/") in self.server.files:
            self.answer(self.server.files[path.removeprefix(f"/datasets/{REPO}/resolve/{COMMIT}/")])
        else:
            self.send_error(404)

    do_HEAD = do_GET

    @staticmethod
    def oid(data: bytes) -> str:
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def answer(self, data: bytes) -> None:
        self.send_response(200)
        headers = {"Content-Length": len(data), "ETag": f'"{self.oid(data)}"',
                   "X-Repo-Commit": COMMIT, "Content-Type": "application/json"}  # fmt: skip
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *parts: object) -> None:
        pass


@pytest.fixture
def hub(encode: Callable[..., bytes], make_picture: Callable[..., object]) -> Iterator[Hub]:
    rows = [{"bytes": encode(make_picture(i)), "path": ""} for i in range(3)]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": rows, "style": ["Cubism"] * 3}), buffer)
    names = {"data/train-00000-of-00001.parquet": buffer.getvalue(), "README.md": b"not wanted"}
    server = Hub(names)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def environment(endpoint: str, home: Path) -> dict[str, str]:
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "")
    return {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "*", "no_proxy": "*",
            "HF_HUB_OFFLINE": "0", **proxies}  # fmt: skip


def test_it_downloads_from_the_endpoint_and_packs(
    hub: Hub, tmp_path: Path, run_command: RunCommand
) -> None:
    env = environment(f"http://127.0.0.1:{hub.server_port}", tmp_path / "home")
    flags = (f"--hub-id={REPO}", "--name=paintings", "--jobs=1")
    packed = run_command("toolkit.pack", "wikiart", *flags, cwd=tmp_path, env=env)
    assert packed.returncode == 0, packed.stderr
    rows = pq.read_table(tmp_path / "manifests" / "paintings" / "paintings-000000.parquet")
    assert rows.column("source_id").to_pylist() == [
        f"train-00000-of-00001.parquet#{i}" for i in range(3)
    ]
    assert list((tmp_path / "home").rglob("*.parquet"))  # HF_HOME is honoured
    assert not [path for path in hub.asked if path.endswith("README.md")]
    # once downloaded, it is found without the server
    hub.shutdown()
    hub.server_close()
    flags = (f"--hub-id={REPO}", "--output-dir=out", f"--cache-dir={tmp_path / 'home' / 'hub'}")
    laid = run_command("toolkit.wikiart_layout", *flags, cwd=tmp_path, env=env)
    assert laid.returncode == 0, laid.stderr
    assert laid.stdout.startswith("3 paintings in out")


def test_a_refusing_server_is_one_line(tmp_path: Path, run_command: RunCommand) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    env = environment(endpoint, tmp_path / "home")
    done = run_command("toolkit.pack", "wikiart", f"--hub-id={REPO}", cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"cannot download {REPO} from {endpoint}" in done.stderr
    assert "HF_ENDPOINT=https://hf-mirror.com" in done.stderr


def test_an_unknown_dataset_is_one_line(hub: Hub, tmp_path: Path, run_command: RunCommand) -> None:
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    env = environment(endpoint, tmp_path / "home")
    done = run_command("toolkit.pack", "wikiart", "--hub-id=some/other", cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"cannot download some/other from {endpoint}" in done.stderr
