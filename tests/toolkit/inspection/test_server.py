"""The viewer's server, asked as browsers ask, and as nobody should."""

import http.client
import io
import json
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image

from tests.toolkit.inspection.conftest import Served
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader


def ask(address: str, path: str, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of GET path, sent as it stands."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    connection.putrequest("GET", path, skip_host="host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_cards_come_a_page_at_a_time_with_their_pictures(served: Served, looks: Layout) -> None:
    address = served(looks, "dataset='outputs'")
    first, second = (json.loads(ask(address, f"/cards?page={n}")[2]) for n in (0, 1))
    assert (first["total"], len(first["cards"]), len(second["cards"])) == (70, 60, 10)
    card = first["cards"][9]
    assert card["key"] == "out09"
    shown = [(p["label"], p["dataset"], p["key"]) for p in card["pictures"]]
    assert shown == [
        ("content", "photos", "photo3"), ("style", "paintings", "painting1"),
        ("target", "targets", "target09"), ("output", "outputs", "out09"),
    ]  # fmt: skip


def test_a_picture_is_the_stored_bytes_or_a_smaller_one(served: Served, looks: Layout) -> None:
    address = served(looks)
    stored = SampleReader(looks, "paintings").picture("painting0")
    status, headers, body = ask(address, "/picture/paintings/painting0/jpg?width=64")
    assert (status, headers["content-type"], body) == (200, "image/jpeg", stored)
    _, headers, body = ask(address, "/picture/paintings/painting0/jpg?width=32&v=1")
    small = Image.open(io.BytesIO(body))
    assert small.size == (32, 24)  # of 64 × 48
    whole = Image.open(io.BytesIO(stored)).convert("RGB").resize(small.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small, float) - np.asarray(whole, float)).mean() < 6
    assert "immutable" in headers["cache-control"]


@pytest.mark.parametrize(
    "path",
    [
        "/../manifests/photos/dataset.json", "/..%2f..%2fetc%2fpasswd", "//etc/passwd",
        "/picture/photos/../dataset.json", "/picture/../manifests/photos/dataset.json/jpg",
        "/picture/..%2fmanifests/photos/json", "/picture/photos/..%2f..%2fsecret/txt",
        "/picture/photos/photo0/jpg%00", "/picture/photos/photo0/..%2fjpg", "/picture/photos",
        "/picture/photos/photo0'%20OR%20true--/jpg", "/picture/photos/photo0/json", "/gallery.html",
        "/page/gallery.js", "/%2e%2e/%2e%2e/etc/passwd", "/picture//photo0/jpg",
    ],
)  # fmt: skip
def test_no_path_leads_anywhere_else(served: Served, looks: Layout, path: str) -> None:
    """Metadata members, files beside the shards and names with SQL in them are not there either."""
    (looks.shards / "photos" / "secret.txt").write_text("secret")
    status, _, body = ask(served(looks), path)
    assert status == 404
    assert b"there is no" in body


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"host": "rebound.test:{port}"}, "not called"),
        ({"host": "127.0.0.1x:{port}"}, "not called"),
        ({"host": "localhost.evil.test"}, "not called"),
        ({"host": "192.168.0.1:{port}"}, "not called"),
        ({"host": ""}, "not called"),
        ({"host": "127.0.0.1:{port}.evil.test"}, "not called"),
        ({"origin": "http://evil.test"}, "may not ask"),
        ({"origin": "http://127.0.0.1:1"}, "may not ask"),
        ({"origin": "null"}, "may not ask"),
        ({"sec_fetch_site": "cross-site"}, "may not ask"),
        ({"sec_fetch_site": "same-site", "sec_fetch_dest": "image"}, "may not ask"),
    ],
)
def test_others_are_refused(
    served: Served, looks: Layout, headers: dict[str, str], why: str
) -> None:
    address = served(looks)
    port = str(urlsplit(address).port)
    sent = {name: text.format(port=port) for name, text in headers.items()}
    for path in ("/", "/about", "/cards", "/picture/photos/photo0/jpg"):
        status, _, body = ask(address, path, **sent)
        assert status == 403
        assert why in body.decode()


def test_its_own_names_are_taken(served: Served, looks: Layout) -> None:
    address = served(looks)
    port = urlsplit(address).port
    behind_ssh = "localhost:9999"
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", behind_ssh):
        assert ask(address, "/about", host=host, origin=f"http://{host}")[0] == 200
    assert ask(address, "/", sec_fetch_site="cross-site", sec_fetch_dest="document")[0] == 200


def test_every_answer_says_what_a_page_may_do(served: Served, looks: Layout) -> None:
    address = served(looks)
    for path in ("/", "/cards", "/picture/photos/photo0/jpg", "/nothing"):
        headers = ask(address, path)[1]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("where=read_csv('/etc/passwd')%20is%20null", "read_csv"),
        ("where=1%3B%20DROP%20TABLE%20rows", "where"),
        ("where=(select%201)%3D1", "where holds"),
        ("where=stylo%3D'x'", "did you mean style?"),
        ("order=stylo", "did you mean style?"),
        ("filters=[[%22likeness%22,%22is%22,%22x%22]]", "likeness is a number, 'x' is none"),
        ("filters=[[%22style%22,%22at%20least%22,%22x%22]]", "style is not a number"),
        ("filters=[[%22style%22,%22like%22,%22x%22]]", "unknown operator"),
        ("filters=[1]", "JSON list"),
        ("filters={", "JSON list"),
        ("page=-1", "no whole number"),
        ("page=%C2%B2", "no whole number"),
        ("search=" + "a" * 3000, "at most 2000 characters"),
    ],
)
def test_a_view_that_cannot_be_is_one_line(
    served: Served, looks: Layout, query: str, why: str
) -> None:
    status, _, body = ask(served(looks, "dataset='outputs'"), f"/cards?{query}")
    assert status == 400
    assert why in body.decode()
    assert body.count(b"\n") == 0


def test_an_expression_of_sql_chooses(served: Served, looks: Layout) -> None:
    address = served(looks, "dataset='outputs'")
    where = quote("likeness > 0.9 and style = 'Cubism' or caption like '%3' and phash is null")
    found = json.loads(ask(address, f"/cards?where={where}&order=likeness&descending=1")[2])
    expected = [i for i in range(70) if i % 7 and i != 5 and i % 3 == 0 and i * 37 % 70 > 63]
    expected.sort(key=lambda i: -(i * 37 % 70))
    assert [card["key"] for card in found["cards"]] == [f"out{i:02d}" for i in expected]


def test_a_damaged_picture_is_said(served: Served, looks: Layout, spoil: Any) -> None:
    spoil(looks, "photos", "photo0")
    spoil(looks, "photos", "photo1", as_packed=False)
    address = served(looks)
    status, _, body = ask(address, "/picture/photos/photo0/jpg")
    assert (status, b"does not decode" in body) == (422, True)
    status, _, body = ask(address, "/picture/photos/photo1/jpg")
    assert (status, b"python -m toolkit.verify photos" in body) == (404, True)
