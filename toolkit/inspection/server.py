"""A gallery that is served on the loopback address: rows a page at a time, pictures by range.

GET /                             the page
GET /about                        columns, number of rows
GET /cards?search=&filters=&where=&order=&descending=&page=
GET /picture/DATASET/KEY/EXT?width=
"""

import contextlib
import json
import signal
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from toolkit.core.errors import UserError, one_line
from toolkit.core.log import warn
from toolkit.inspection.cards import cards
from toolkit.inspection.gallery import PAGE_SIZE
from toolkit.inspection.gate import SAFE_HEADERS, refusal
from toolkit.inspection.page_files import part, served_page
from toolkit.inspection.pictures import Pictures, shown_bytes
from toolkit.inspection.table import Table
from toolkit.inspection.views import view_from
from toolkit.store.images import PictureError

LOOPBACK = "127.0.0.1"
_MAX_WIDTH = 4096
_FOREVER = "private, max-age=31536000, immutable"


class Answer(NamedTuple):
    """What is sent back. keep: how long a browser may keep it (Cache-Control)."""

    status: HTTPStatus
    kind: str
    body: bytes
    keep: str = "no-store"


class Viewer:
    """What the server answers, without HTTP. May be asked by several threads."""

    def __init__(self, table: Table, pictures: Pictures, about: dict[str, Any]):
        self._table, self._pictures, self._about = table, pictures, about

    def answer(self, target: str) -> Answer:
        """The answer to GET `target`, a path with its query."""
        parts = urlsplit(target)
        fields = dict(parse_qsl(parts.query))
        names = [unquote(name) for name in parts.path.split("/")[1:]]
        try:
            return self._routed(names, fields)
        except UserError as error:
            return _text(HTTPStatus.BAD_REQUEST, str(error))

    def _routed(self, names: list[str], fields: dict[str, str]) -> Answer:
        if names == [""]:
            return Answer(HTTPStatus.OK, "text/html", served_page().encode())
        if names in (["gallery.js"], ["gallery.css"]):
            kind = "text/javascript" if names[0].endswith("js") else "text/css"
            return Answer(HTTPStatus.OK, kind, part(names[0]).encode())
        if names == ["about"]:
            return _json(self._about)
        if names == ["cards"]:
            return self._cards(fields)
        if len(names) == 4 and names[0] == "picture":
            return self._picture(names[1:], fields)
        return _text(HTTPStatus.NOT_FOUND, "there is nothing of this name")

    def _cards(self, fields: dict[str, str]) -> Answer:
        found = self._table.view(view_from(fields))
        ids = found.page(_number(fields.get("page", "0"), 10**9), PAGE_SIZE)
        return _json({"total": len(found.ids), "cards": cards(self._table, self._pictures, ids)})

    def _picture(self, names: list[str], fields: dict[str, str]) -> Answer:
        width = max(1, _number(fields["width"], _MAX_WIDTH)) if fields.get("width") else None
        try:
            data = self._pictures.read(*names)
        except UserError as error:
            return _text(HTTPStatus.NOT_FOUND, str(error))
        try:
            kind, shown = shown_bytes(data, names[2], width)
        except PictureError as error:
            return _text(HTTPStatus.UNPROCESSABLE_ENTITY, f"does not decode: {error}")
        # the address of a picture holds its hash, where the manifest has one
        return Answer(HTTPStatus.OK, kind, shown, _FOREVER if fields.get("v") else "no-store")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Tessera", ""
    timeout = 60  # seconds that a connection may be silent
    viewer: Viewer

    def do_GET(self) -> None:
        """Answers, unless the gate refuses."""
        self._send(is_head=False)

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self._send(is_head=True)

    def _send(self, is_head: bool) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        why = refusal(headers)
        answer = _text(HTTPStatus.FORBIDDEN, why) if why else self._answer()
        self.send_response(answer.status)
        text_kinds = ("text/", "application/json")
        charset = "; charset=utf-8" if answer.kind.startswith(text_kinds) else ""
        own = {"Content-Type": answer.kind + charset, "Content-Length": str(len(answer.body)),
               "Cache-Control": answer.keep}  # fmt: skip
        for name, value in {**own, **SAFE_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        if not is_head:
            self.wfile.write(answer.body)

    def _answer(self) -> Answer:
        try:
            return self.viewer.answer(self.path)
        except Exception as error:  # one request's failure is no reason to stop serving
            warn(f"{self.path}: {type(error).__name__}: {one_line(error)}")
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing of requests that are answered."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a browser that went away in the middle of an answer."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def serving(viewer: Viewer, port: int) -> ThreadingHTTPServer:
    """A server that listens. port: 0 takes a free one. Raises UserError: it is taken."""
    handler = type("Handler", (_Handler,), {"viewer": viewer})
    try:
        return _Server((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        raise UserError(f"--port={port} cannot be listened on ({error}): take another one, "
                        "or 0 for any that is free") from None  # fmt: skip


def serve(viewer: Viewer, port: int, ready: Callable[[str], None]) -> None:
    """Serves until Ctrl-C, which is its ordinary end, or SIGTERM, which raises SystemExit.

    port: 0 takes a free one; ready: is told the address. Raises UserError: the port is taken.
    """
    with serving(viewer, port) as server:
        ready(f"http://{LOOPBACK}:{server.server_port}/")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _number(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:12]) > most:
        raise UserError(f"{text[:40]!r} is no whole number from 0 to {most}")
    return int(text)


def _json(value: Any) -> Answer:
    text = json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    return Answer(HTTPStatus.OK, "application/json", text.encode())


def _text(status: HTTPStatus, text: str) -> Answer:
    return Answer(status, "text/plain", text.encode())
