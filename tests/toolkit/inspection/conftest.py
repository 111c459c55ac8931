"""Data for galleries, hostile texts and a broken picture among them, and a server over them."""

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ToySource, copied, encoded, picture
from toolkit.core.records import Link, Record
from toolkit.inspection.columns import gallery_columns
from toolkit.inspection.gallery import about
from toolkit.inspection.pictures import Pictures
from toolkit.inspection.server import Answer, Viewer, serving
from toolkit.inspection.table import Table
from toolkit.packing.dataset import pack
from toolkit.store.catalog import Catalog
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.sidecar import write_columns

HOSTILE = "</script><img src=x onerror='window.hurt=1'> <!-- \u2028 <b>"


@pytest.fixture(scope="session")
def _gallery_origin(_triplets_origin: Layout, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = copied(_triplets_origin, tmp_path_factory.mktemp("gallery"))
    outputs = {
        f"out{i:02d}": Record(
            {"png": encoded(picture(700 + i, 24, 24), "PNG")},
            captions=(HOSTILE if i == 3 else f"Picture {i % 4}", "another"),
            style=("Cubism", "Ukiyo_e", None)[i % 3],
            artist=f"Ä{i}" if i % 2 else None,
            links=(Link("target", "targets", f"target{i % 13:02d}"),
                   Link("style", "paintings", f"painting{i % 4}"),
                   Link("content", "photos", f"photo{i % 6}")),
        )
        for i in range(70)
    }  # fmt: skip
    pack(ToySource("outputs", outputs), "outputs", layout, 25)
    for path in layout.manifests_of("outputs"):
        values = {row["key"]: _scores(row["key"]) for row in read_manifest(path)}
        write_columns(layout, "outputs", path.stem, "scores", values)
    return layout


def _scores(key: str) -> dict[str, Any]:
    """A score that some lack and one has as NaN, and another of many ties."""
    number = int(key[3:])
    score = math.nan if number == 5 else (number * 37 % 70) / 70
    return {"likeness": score, "ties": float(number % 3)} if number % 7 else {}


@pytest.fixture
def looks(_gallery_origin: Layout, tmp_path: Path) -> Layout:
    """The triplets and 70 outputs over three shards, linked to content, style and target, with the
    scores `likeness` and `ties`; out03 has a hostile caption."""
    return copied(_gallery_origin, tmp_path)


class Served:
    """Starts viewers in this process. answered: what they let through their gate."""

    def __init__(self, folder: Path):
        self.answered: list[str] = []
        self.stops: list[Callable[[], Any]] = []
        self._folder = folder

    def __call__(self, layout: Layout, where: str = "true") -> str:
        """The address of a viewer over these rows."""
        catalog = Catalog(layout)
        condition, _ = catalog.usable(where)
        file = self._folder / f"rows{len(self.stops)}.duckdb"
        table = Table(file, catalog, condition, gallery_columns(catalog))
        facts = about(table, "a title", "", False, takes_sql=True)
        server = serving(_Recorded(table, Pictures(layout), facts, self.answered), 0)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.stops += [server.shutdown, server.server_close, table.close]
        return f"http://127.0.0.1:{server.server_port}"


class _Recorded(Viewer):
    def __init__(self, table: Table, pictures: Pictures, facts: Any, answered: list[str]):
        super().__init__(table, pictures, facts)
        self._answered = answered

    def answer(self, target: str) -> Answer:
        self._answered.append(target)
        return super().answer(target)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """`served(layout, "dataset='x'")`: the address of a viewer over these rows, in this process."""
    server = Served(tmp_path)
    yield server
    for stop in server.stops:
        stop()
