"""A teacher's outputs: links from names or facts, facts from tables or files beside them."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.core.records import Link
from toolkit.packing.dataset import pack
from toolkit.packing.raw import write_raw
from toolkit.sources.teacher import open_source
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

FACTS = {"steps": 25, "cfg": 3.5, "strength": 0.4, "sampler": "DDIM"}


@pytest.fixture
def outputs(tmp_path: Path, encode: Any, make_picture: Any) -> Path:
    folder = tmp_path / "teacher_out"
    folder.mkdir()
    for number, name in enumerate(("139_claude-monet_poppies_seed0", "25_x_seed12")):
        (folder / f"{name}.png").write_bytes(encode(make_picture(number), "PNG"))
    return folder


def read_all(folder: Path, **options: Any) -> tuple[dict[str, Any], Counter[str]]:
    notes: Counter[str] = Counter()
    source = open_source(folder, **options)
    return {ref.key: source.read(ref) for ref in source.index(notes)}, notes


def test_names_give_links_and_seed(outputs: Path) -> None:
    found, notes = read_all(outputs, content_digits=12, content="coco", style="art")
    one = found["139_claude-monet_poppies_seed0"]
    assert one.links == (
        Link("content", "coco", "000000000139"), Link("style", "art", "claude-monet_poppies"),
    )  # fmt: skip
    assert one.extra == {"teacher": {"seed": 0}}
    assert found["25_x_seed12"].extra == {"teacher": {"seed": 12}}
    assert (one.protocol, notes) == ("imported", {})


@pytest.mark.parametrize("form", ["csv", "jsonl", "list.json", "object.json"])
def test_tables_of_facts_are_joined_by_name(form: str, outputs: Path) -> None:
    table = outputs / f"meta.{form.rpartition('.')[2]}"
    records = [{"file": "25_x_seed12.png", "prompt": "a cat", **FACTS},
               {"file": "out/77_x_seed0.png", **FACTS}]  # fmt: skip
    match form:
        case "csv":
            with table.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(records[0]))
                writer.writeheader()
                writer.writerows(records)
        case "jsonl":
            table.write_text("".join(json.dumps(r) + "\n" for r in records))
        case "list.json":
            table.write_text(json.dumps(records))
        case _:
            table.write_text(json.dumps({r["file"]: r for r in records}))
    found, notes = read_all(outputs)
    assert found["25_x_seed12"].captions == ("a cat",)
    facts = found["25_x_seed12"].extra["teacher"]
    assert {name: str(facts[name]) for name in FACTS} == {k: str(v) for k, v in FACTS.items()}
    assert notes == {"facts without a picture": 1}


def test_facts_beside_a_picture_outweigh_its_name(outputs: Path) -> None:
    facts = {"content_id": "other", "style_id": "s 1", "seed": 3, "protocol": "p", **FACTS}
    (outputs / "25_x_seed12.json").write_text(json.dumps(facts))
    record = read_all(outputs)[0]["25_x_seed12"]
    assert record.links[0].key == "other"
    assert record.links[1].key.startswith("s_1-")
    assert (record.protocol, record.extra["teacher"]["seed"]) == ("p", 3)


def test_what_cannot_be_linked_or_read_is_a_row(outputs: Path, tmp_path: Path) -> None:
    data = (outputs / "25_x_seed12.png").read_bytes()
    (outputs / "noname.png").write_bytes(data)
    (outputs / "1_b_seed0.png").write_bytes(data)
    (outputs / "1_b_seed0.json").write_text("{")
    layout = Layout(tmp_path / "s", tmp_path / "m")
    pack(open_source(outputs), "t", layout, 10)
    rows = {r["source_id"]: r["cause"] for r in read_manifest(layout.manifest("t", 0))}
    assert rows == {
        "1_b_seed0.png": "bad_metadata", "139_claude-monet_poppies_seed0.png": None,
        "25_x_seed12.png": None, "noname.png": "bad_name",
    }  # fmt: skip


def test_an_empty_table_is_one_line(outputs: Path) -> None:
    (outputs / "meta.csv").write_text("file,steps\n")
    with pytest.raises(UserError, match="holds no record"):
        open_source(outputs)


def test_the_sample_data_come_back_as_they_went(sample_data: Layout, tmp_path: Path) -> None:
    """Loose files of the sample dataset `teacher` read again: the same links and seeds."""
    write_raw(sample_data, tmp_path / "raw")
    found, _ = read_all(tmp_path / "raw" / "teacher")
    rows = [r for p in sample_data.manifests_of("teacher") for r in read_manifest(p)]
    assert len(rows) == len(found) == 600
    for row in rows:
        record = found[row["key"]]
        links = [{"role": x.role, "dataset": x.dataset, "key": x.key} for x in record.links]
        assert links == row["links"]
        assert record.extra["teacher"]["seed"] == json.loads(row["extra"])["teacher"]["seed"]
