"""Statistics against counts made by hand."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Call, encoded, picture
from toolkit.core.records import Record
from toolkit.inspect import stats
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout

SIZES = [(60, 60), (64, 200), (300, 127), (128, 128), (500, 260), (100, 41), (120, 121), (90, 40)]


@pytest.fixture
def sized(tmp_path: Path, toy_source: Any) -> Layout:
    """Pictures of the sizes above, every third in split val, and one that is none."""
    records: dict[str, Record] = {
        f"p{i}": Record({"png": encoded(picture(i, *size), "PNG")}, style="<b>" if i % 2 else None,
                        split="val" if i % 3 == 0 else None)
        for i, size in enumerate(SIZES)
    }  # fmt: skip
    layout = Layout(tmp_path / "s", tmp_path / "m")
    pack(toy_source("sized", {**records, "bad": Record({"jpg": b"x"})}), "sized", layout, 4)
    return layout


def table(call: Call, layout: Layout, of: str, *flags: str) -> list[dict[str, Any]]:
    done = call({"stats": stats}, "stats", f"--of={of}", "--format=json", *flags, layout)
    assert (done.code, done.err) == (0, "")
    return list(json.loads(done.out))


def test_histograms_count_every_picture_once(call: Call, sized: Layout) -> None:
    found = {(r["from"], r["below"]): r["samples"] for r in table(call, sized, "sizes")}
    assert found == {(None, 64): 3, (64, 128): 3, (128, 256): 1, (256, 384): 1}
    aspects = {(r["from"], r["below"]): r["samples"] for r in table(call, sized, "aspects")}
    for (low, high), count in aspects.items():
        inside = [w / h for w, h in SIZES if (low or 0) <= w / h < (high or 1e9)]
        assert len(inside) == count
    assert sum(aspects.values()) == len(SIZES)


def test_styles_by_split(call: Call, sized: Layout) -> None:
    rows = {r["style"]: r for r in table(call, sized, "styles")}
    expected = Counter(("<b>" if i % 2 else None, i % 3 == 0) for i in range(len(SIZES)))
    for style, row in rows.items():
        assert (row["train"], row["val"]) == (expected[style, False], expected[style, True])
    assert table(call, sized, "causes") == [
        {"dataset": "sized", "cause": "not_a_picture", "rows": 1}
    ]


def test_nothing_that_matches_is_an_empty_table(call: Call, sized: Layout) -> None:
    assert table(call, sized, "sizes", "--where=width > 9000") == []
    done = call({"stats": stats}, "stats", "width > 9000", sized)
    assert (done.code, done.err) == (0, "")


def test_the_table_has_bars(call: Call, sized: Layout) -> None:
    done = call({"stats": stats}, "stats", "--of=sizes", sized)
    longest = max(line.count("█") for line in done.out.splitlines())
    assert longest == 40


def test_the_page_holds_tables_and_plots(
    call: Call, sized: Layout, tmp_path: Path, page: Any
) -> None:
    out = tmp_path / "stats.html"
    assert call({"stats": stats}, "stats", f"--out={out}", sized).code == 0
    page.goto(out.as_uri())
    assert page.locator("svg").count() == 2
    bars = page.eval_on_selector_all("svg >> nth=0", "s => [...s[0].querySelectorAll('rect')]"
                                     ".map(r => r.getBoundingClientRect().width)")  # fmt: skip
    assert bars == pytest.approx([bars[0], bars[0], bars[0] / 3, bars[0] / 3], abs=1)
    assert page.locator("td", has_text="<b>").count() == 1
    done = call({"stats": stats}, "stats", f"--out={tmp_path / 'a.svg'}", sized)
    assert "name it NAME.html" in done.err
