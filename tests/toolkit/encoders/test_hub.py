"""Downloads from a hub at another address: the hub's own library, over HTTP, in a second process.

The server answers what the library asks of a hub for files: their hash, their commit, their bytes.
"""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import twins
from toolkit.encoders.api import open_encoder

ROOT = Path(__file__).resolve().parents[3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
from toolkit.core.errors import UserError
from toolkit.encoders.api import open_encoder
try:
    print(open_encoder(*sys.argv[1:]).identity["weights"])
except UserError as error:
    print(error)
"""


@contextmanager
def hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(address, paths asked for) of a hub whose repositories are the folders below `folder`."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(is_head=True)

        def do_GET(self) -> None:
            self._answer(is_head=False)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, is_head: bool) -> None:
            asked.append(f"{self.command} {self.path}")
            repository, _, rest = self.path.lstrip("/").partition("/resolve/")
            path = folder / repository / rest.partition("?")[0].partition("/")[2]
            if not rest or not path.is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = path.read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if not is_head:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def opened(home: Path, address: str, *args: str, **more: str) -> tuple[str, str]:
    """What opening an encoder prints, and says on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *args], cwd=ROOT, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "HF_ENDPOINT": address, "HF_HOME": str(home), **more},
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_weights_come_from_the_hub_that_is_named_and_stay(tmp_path: Path) -> None:
    folder = twins.taef2(tmp_path / "hub" / "someone" / "model")
    expected = open_encoder("taef2", str(folder)).identity["weights"]
    _join(folder)
    with hub(tmp_path / "hub") as (address, asked):
        found, told = opened(tmp_path / "home", address, "taef2", "someone/model")
        assert found == expected
        assert "fetching someone/model from the hub" in told
        assert any(line.startswith("GET /someone/model/resolve/") for line in asked)
        asked.clear()
        found, told = opened(tmp_path / "home", address, "taef2", "someone/model")
        assert found == expected
        assert "fetching" not in told
        assert not [line for line in asked if "/resolve/" in line]


@pytest.mark.slow
def test_a_part_of_a_pipeline_comes_from_its_folder(tmp_path: Path) -> None:
    folder = twins.autoencoder_kl(tmp_path / "hub" / "someone" / "model" / "vae")
    expected = open_encoder("autoencoder_kl", str(folder)).identity["weights"]
    with hub(tmp_path / "hub") as (address, _):
        found, _ = opened(tmp_path / "home", address, "autoencoder_kl", "someone/model/vae")
    assert found == expected
    assert list((tmp_path / "home").rglob("vae/*.safetensors"))


def test_a_hub_without_them_is_one_line(tmp_path: Path) -> None:
    with hub(tmp_path) as (address, asked):
        found, told = opened(tmp_path / "home", address, "dino", "someone/model/part")
    assert found.startswith(
        "the weights someone/model/part are not on this machine: get them with `hf download "
        'someone/model --include="part/*"`'
    )
    assert "fetching someone/model/part from the hub" in told
    assert asked


def _join(folder: Path) -> None:
    """The one file of the hub, from the two of the code repository."""
    joined: dict[str, torch.Tensor] = {}
    for part, shift in (("encoder", 0), ("decoder", 1)):
        path = folder / f"taef2_{part}.safetensors"
        for key, tensor in load_file(path).items():
            index, _, name = key.partition(".")
            joined[f"{part}.layers.{int(index) - shift}.{name}"] = tensor
        path.unlink()
    save_file(joined, folder / "taef2.safetensors")
