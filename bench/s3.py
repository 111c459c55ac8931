"""A real S3 API server, and a proxy before it that counts requests and makes them fail."""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BUCKET = "data"


@dataclass
class Proxy:
    """Counts what passes. upload: copies the folder anew; faults: kind (500, 403, slow, cut, drop)
    to how many of a hundred requests for ranges or whole objects suffer it; slow_s: how long a slow
    answer waits."""

    port: int = 0
    upload: Callable[[], None] = lambda: None
    faults: dict[str, int] = field(default_factory=dict)
    slow_s: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    suffered: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    lock: Any = field(default_factory=threading.Lock)
    draw: Any = field(default_factory=lambda: random.Random(5))

    @property
    def environment(self) -> dict[str, str]:
        """What makes the libraries come here."""
        return {
            "AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }  # fmt: skip

    def reset(self) -> None:
        """Counts from 0."""
        self.seen.clear()
        self.suffered.clear()
        self.sent = 0

    def fate(self) -> str:
        """What happens to the next request."""
        with self.lock:
            number = self.draw.randrange(100)
            for kind, percent in self.faults.items():
                if number < percent:
                    self.suffered[kind] += 1
                    return kind
                number -= percent
        return ""


@contextmanager
def s3_server(folder: Path) -> Iterator[Proxy]:
    """Serves the files below a folder as the bucket `data`, behind a proxy."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    _send("POST", host, port, "/moto-api/reset", b"")  # what an earlier one in this process held
    _send("PUT", host, port, f"/{BUCKET}", b"")
    upload(host, port, folder)
    proxy = Proxy()
    proxy.upload = lambda: upload(host, port, folder)
    front = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy, host, port))
    front.daemon_threads = True
    proxy.port = front.server_address[1]
    threading.Thread(target=front.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        front.shutdown()
        front.server_close()
        server.stop()


def upload(host: str, port: int, folder: Path) -> None:
    """Copies the files below a folder into the bucket."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and ".selections" not in path.parts:
            name = path.relative_to(folder).as_posix()
            _send("PUT", host, port, f"/{BUCKET}/{name}", path.read_bytes())


def _send(method: str, host: str, port: int, path: str, data: bytes) -> None:
    link = http.client.HTTPConnection(host, port)
    link.request(
        method,
        path,
        data,
        {"Authorization": "AWS4-HMAC-SHA256 Credential=t/20260101/us-east-1/s3/aws4_request"},
    )
    answer = link.getresponse()
    assert answer.status == 200, answer.read()
    link.close()


def _handler(proxy: Proxy, host: str, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass("GET")

        def do_HEAD(self) -> None:
            self._pass("HEAD")

        def do_PUT(self) -> None:
            self._pass("PUT")

        def do_POST(self) -> None:
            self._pass("POST")

        def _pass(self, method: str) -> None:
            ranged = "range" in {name.lower() for name in self.headers}
            kind = "range" if ranged else "list" if "list-type" in self.path else method
            fate = proxy.fate() if kind in ("range", "GET") else ""
            with proxy.lock:
                proxy.seen[kind] += 1
            if fate in ("500", "403"):
                text = b"<Error><Code>AccessDenied</Code></Error>" if fate == "403" else b""
                self.send_response(int(fate))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                return
            if fate == "drop":
                self.close_connection = True
                return
            if fate == "slow":
                time.sleep(proxy.slow_s)
            link = http.client.HTTPConnection(host, port)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            link.request(method, self.path, body, dict(self.headers))
            answer = link.getresponse()
            data = answer.read()
            link.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") or str(len(data))
            self.send_header("Content-Length", length if method == "HEAD" else str(len(data)))
            self.end_headers()
            if fate == "cut":
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
                return
            self.wfile.write(data)
            if kind == "range":
                with proxy.lock:
                    proxy.sent += len(data)

        def log_message(self, *_: Any) -> None: ...

    return Handler
