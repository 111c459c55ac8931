"""The gallery in a real browser: as one file, and served; both show the same."""

import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from bench.s3 import s3_server
from tests.browser import REBOUND
from tests.conftest import Call
from tests.toolkit.inspection.conftest import HOSTILE, Served
from toolkit.core.places import folder
from toolkit.inspect import gallery
from toolkit.store.layout import Layout

OUTPUTS = "dataset='outputs'"


def keys(page: Any) -> list[str]:
    """Keys of the cards that the page shows, in order."""
    settled(page)
    return page.eval_on_selector_all(".card b", "nodes => nodes.map(n => n.textContent)")


def settled(page: Any) -> None:
    """Waits for the answer to the last thing done."""
    page.wait_for_selector("body[aria-busy=false]")


def drawn(page: Any) -> None:
    """Waits until all pictures in sight are there."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('img[src]')].every(i => i.complete && i.naturalWidth)"
    )


@pytest.fixture
def written(looks: Layout, tmp_path: Path, call: Call) -> str:
    """The address of a gallery in one file."""
    out = tmp_path / "some where" / "outputs.html"
    done = call({"gallery": gallery}, "gallery", OUTPUTS, f"--out={out}", looks)
    assert done.code == 0
    assert done.out.startswith("70 samples, 93 pictures")  # 70, 6 photos, 4 paintings, 13 targets
    return out.as_uri()


@pytest.fixture(params=["file", "server"])
def address(request: Any, looks: Layout, served: Served) -> str:
    """A gallery of the outputs, in either way."""
    if request.param == "file":
        return str(request.getfixturevalue("written"))
    return f"{served(looks, OUTPUTS)}/"


def test_it_shows_pictures_side_by_side_as_they_come_in_sight(page: Any, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    assert keys(page) == [f"out{i:02d}" for i in range(60)]
    drawn(page)
    labels = page.eval_on_selector_all(
        ".card:nth-child(2) figcaption", "nodes => nodes.map(n => n.textContent)"
    )
    assert labels == ["content · photo1", "style · painting1", "target", "output"]
    sizes = page.eval_on_selector_all(
        ".card:nth-child(2) img", "nodes => nodes.map(n => [n.naturalWidth, n.naturalHeight])"
    )
    assert sizes == [[48, 48], [64, 48], [48, 48], [24, 24]]
    lazy = page.eval_on_selector_all("img", "nodes => nodes.filter(n => !n.src).length")
    assert lazy > 100  # of 240
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function("() => document.querySelector('.card:last-child img').src")
    own = urlsplit(address).netloc
    assert all(urlsplit(url).netloc == own for url in asked if not url.startswith("data:"))


def test_search_filter_sort_and_the_next_page(page: Any, address: str) -> None:
    page.goto(address)
    page.select_option("#order", "likeness")
    page.wait_for_function("() => location.hash.includes('likeness')")
    scores = {i: i * 37 % 70 / 70 for i in range(70) if i % 7 and i != 5}
    rising = sorted(scores, key=lambda i: scores[i])
    missing = [i for i in range(70) if i % 7 == 0]
    expected = [f"out{i:02d}" for i in [*rising, 5, *missing]]  # NaN above all numbers, none last
    assert keys(page) == expected[:60]
    page.click("#next")
    assert keys(page) == expected[60:]
    assert page.inner_text("#count") == "61–70 of 70 samples"
    assert page.is_disabled("#next")
    page.click("#direction")  # back on the first page
    assert keys(page)[:3] == ["out05", *(f"out{i:02d}" for i in rising[:-3:-1])]
    page.fill("#search", "CUBISM picture 2")
    page.wait_for_function("() => location.hash.includes('search')")
    fits = [i for i in rising[::-1] if i % 3 == 0 and (i % 4 == 2 or "2" in str(i))]
    assert keys(page)[: len(fits)] == [f"out{i:02d}" for i in fits]
    page.click("#add")
    page.select_option(".filter select >> nth=0", "likeness")
    page.select_option(".filter select >> nth=1", "at most")
    page.fill(".filter input", "0.5")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('filters')")
    low = [f"out{i:02d}" for i in fits if scores[i] <= 0.5]
    assert keys(page) == low
    page.reload()  # the address holds all of it
    assert keys(page) == low
    page.click(".filter button")
    page.fill("#search", "nothing like this")
    page.wait_for_function("() => document.querySelectorAll('.card').length === 0")
    assert page.inner_text("#count") == "0 samples"


def test_a_sample_opens_and_leads_to_the_next(page: Any, address: str) -> None:
    page.goto(address)
    settled(page)
    page.click(".card:nth-child(3)")
    assert page.inner_text("#name") == "outputs/out02"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.getElementById('name').textContent.endsWith('out03')")
    facts = dict(page.eval_on_selector_all(
        "#facts tr", "rows => rows.map(r => [...r.children].map(c => c.textContent))"
    ))  # fmt: skip
    assert facts["caption"] == HOSTILE
    assert float(facts["likeness"]) == 3 * 37 % 70 / 70
    assert page.evaluate("window.hurt") is None
    drawn(page)
    assert page.locator("#large img").count() == 4
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.getElementById('sample').open")
    assert keys(page) == [f"out{i:02d}" for i in range(60)]
    page.goto(f"{address}#open=outputs%2Fout59")
    page.wait_for_selector("#sample[open]")
    page.click("#after")  # which is on the next page
    page.wait_for_function("() => document.getElementById('name').textContent.endsWith('out60')")
    assert page.input_value("#page") == "2"


VIEWS: list[dict[str, Any]] = [
    {}, {"descending": True}, {"order": "likeness"}, {"order": "artist", "descending": True},
    {"order": "ties"}, {"search": "ä3"}, {"search": "out1 ukiyo"}, {"search": "another"},
    *({"filters": [parts]} for parts in [
        ["style", "is", "Cubism"], ["style", "is not", "Cubism"], ["style", "missing", ""],
        ["artist", "present", ""], ["caption", "contains", "PICTURE 1"], ["ties", "is", "2"],
        ["ties", "is not", "2"], ["likeness", "at least", "0.9"], ["likeness", "at most", "0.1"],
        ["likeness", "present", ""], ["likeness", "missing", ""], ["width", "at least", "25"],
    ]),
    {"filters": [["style", "is", "Ukiyo_e"], ["likeness", "at least", "0.2"]], "order": "likeness",
     "descending": True, "search": "picture"},
]  # fmt: skip


def test_the_file_and_the_server_answer_alike(
    page: Any, written: str, served: Served, looks: Layout
) -> None:
    """The page filters and sorts by itself where it has no server: the same rows in one order."""
    script = """async (views) => {
        const found = [];
        for (const view of views) {
            const all = {search: "", filters: [], where: "", order: "", descending: false};
            const { total, cards } = await gallery.source.load({...all, ...view}, 0);
            found.push([total, cards.map((card) => card.key)]);
        }
        return found;
    }"""
    answers = []
    for address in (written, served(looks, OUTPUTS)):
        page.goto(address)
        settled(page)
        answers.append(page.evaluate(script, VIEWS))
    for view, inlined, asked in zip(VIEWS, *answers, strict=True):
        assert inlined == asked, view
    assert len({json.dumps(answer) for answer in answers[0]}) > len(VIEWS) - 4


def test_pictures_stand_beside_each_other_at_any_width(page: Any, written: str) -> None:
    """Whatever their captions: as large as each other, on a telephone too."""
    for width, opened in ((1200, False), (390, False), (1200, True), (390, True)):
        page.set_viewport_size({"width": width, "height": 780})
        page.goto(f"{written}#{'open=outputs%2Fout02' if opened else ''}")
        page.reload()
        settled(page)
        place = "#large" if opened else ".card:nth-child(3)"
        page.evaluate(f"document.querySelector('{place} figcaption').textContent = 'x'.repeat(200)")
        boxes = page.eval_on_selector_all(
            f"{place} .frame",
            "nodes => nodes.map(n => n.getBoundingClientRect())"
            ".map(b => [b.top, b.width, b.right])",
        )
        tops, widths, rights = zip(*boxes, strict=True)
        assert max(widths) - min(widths) < 1
        assert max(rights) <= width
        assert opened or len(set(tops)) == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_no_gallery_is_not_overwritten(looks: Layout, call: Call, tmp_path: Path) -> None:
    notes = tmp_path / "notes.html"
    notes.write_text("<p>mine</p>")
    done = call({"gallery": gallery}, "gallery", OUTPUTS, f"--out={notes}", looks)
    assert "there is something else of this name" in done.err
    assert notes.read_text() == "<p>mine</p>"
    out = f"--out={tmp_path / 'own.html'}"
    for _ in range(2):  # its own it replaces
        assert call({"gallery": gallery}, "gallery", OUTPUTS, out, "--limit=2", looks).code == 0
    done = call({"gallery": gallery}, "gallery", "--serve", out, looks)
    assert "leave --out and --limit away" in done.err


def test_sql_is_taken_by_the_server_and_a_mistake_is_told(
    page: Any, served: Served, looks: Layout
) -> None:
    page.goto(served(looks))
    settled(page)
    page.fill("#where", "style = 'Cubism' and width < 30")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('where')")
    assert keys(page) == [f"out{i:02d}" for i in range(0, 70, 3)]
    page.fill("#where", "stylo = 'Cubism'")
    page.keyboard.press("Enter")
    page.wait_for_selector("#error:not([hidden])")
    assert "did you mean style?" in page.inner_text("#error")
    assert page.inner_text("#count") == ""
    page.fill("#where", "")
    page.keyboard.press("Enter")
    page.wait_for_selector("#error", state="hidden")


def test_what_cannot_be_shown_is_counted(
    page: Any, looks: Layout, served: Served, spoil: Any, call: Call, tmp_path: Path
) -> None:
    spoil(looks, "paintings", "painting1")
    out = tmp_path / "some.html"
    done = call({"gallery": gallery}, "gallery", OUTPUTS, f"--out={out}", "--limit=4", looks)
    assert "not shown: paintings/painting1: " in done.err
    assert "66 samples are left out" in done.out
    for address in (out.as_uri(), served(looks, f"{OUTPUTS} and key < 'out04'")):
        page.goto(address)
        settled(page)
        page.wait_for_function("() => document.getElementById('broken').textContent")
        assert page.inner_text("#broken") == "1 cannot be shown"
        assert page.inner_text(".frame.bad").startswith("paintings/painting1: ")
        assert "cannot be shown" not in page.inner_text(".frame.bad")


def test_a_gallery_from_an_object_store(
    page: Any, looks: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(looks.shards.parent) as proxy:
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TESSERA_CACHE", str(tmp_path / "cache"))
        shards, manifests = (folder(f"s3://data/{name}") for name in ("shards", "manifests"))
        out = tmp_path / "remote.html"
        gallery(f"{OUTPUTS} and key < 'out05'", out=out, shards=shards, manifests=manifests)
        whole = sum(path.stat().st_size for path in looks.shards.rglob("*.tar"))
        assert proxy.sent < whole  # ranges, not tars
    page.goto(out.as_uri())
    assert keys(page) == [f"out{i:02d}" for i in range(5)]
    drawn(page)
    assert page.inner_text("#broken") == ""


def test_failed_inputs_show_why(page: Any, served: Served, looks: Layout, toy_source: Any) -> None:
    from toolkit.core.records import Record
    from toolkit.packing.dataset import pack

    pack(toy_source("bad", {"x": Record({"jpg": b"no picture"})}), "bad", looks, 5)
    page.goto(served(looks, "status='failed'"))
    assert keys(page) == ["x"]
    assert "no picture format" in page.inner_text(".frame.bad")


class _Foreign(BaseHTTPRequestHandler):
    """A page of somebody else that shows pictures of the viewer and reads its rows."""

    target = ""

    def do_GET(self) -> None:
        body = f"""<img id=i src="{self.target}/picture/photos/photo0/jpg"><script>
            window.found = {{}};
            const i = document.getElementById('i');
            i.onload = () => found.image = 'seen'; i.onerror = () => found.image = 'refused';
            fetch('{self.target}/cards').then(r => r.text()).then(t => found.rows = t,
                                                                  () => found.rows = 'refused');
            fetch('{self.target}/cards', {{mode: 'no-cors'}}).then(
                r => found.blind = r.type, () => found.blind = 'refused');
            </script>"""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_other_pages_and_rebound_names_get_nothing(
    page: Any, served: Served, looks: Layout
) -> None:
    """As a browser does it: another page on this machine, and a name that leads to 127.0.0.1."""
    address = served(looks)
    port = urlsplit(address).port
    answer = page.goto(f"http://{REBOUND}:{port}/cards")
    assert answer.status == 403
    assert "not called" in page.inner_text("body")
    foreign = HTTPServer(("127.0.0.1", 0), type("_", (_Foreign,), {"target": address}))
    threading.Thread(target=partial(foreign.serve_forever, 0.02), daemon=True).start()
    served.answered.clear()
    for host in (REBOUND, "127.0.0.1"):
        page.goto(f"http://{host}:{foreign.server_port}/")
        page.wait_for_function("() => found.image && found.rows && found.blind")
        assert page.evaluate("found") == {"image": "refused", "rows": "refused", "blind": "refused"}
    foreign.shutdown()
    assert not served.answered
    page.goto(f"{address}/#search={quote('photo 0')}")  # its own page is answered
    assert "photo0" in keys(page)
    assert served.answered
