"""Style sets: any number of styles, names say what is shown, prompt lists are kept."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.packing.dataset import pack
from toolkit.sources.fewshot import open_source
from toolkit.store.card import read_card
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest


@pytest.fixture
def sets(tmp_path: Path, encode: Any, make_picture: Any) -> Path:
    """Styles 00 (two pictures, tags), 01 (prompts only) and 02 (pictures in the folder itself)."""
    folder = tmp_path / "sets"
    for number, name in enumerate(("00/images/pair_of_sneakers", "00/images/pen", "02/00")):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(make_picture(number), "PNG"))
    (folder / "01").mkdir()
    prompts = {str(n): f"object {n}" for n in range(12)}
    for style in ("00", "01"):
        (folder / style / "prompt.json").write_text(json.dumps(prompts))
    tags = {"item": {"pen": "pen, tool"}, "style": "purple, lineart"}
    (folder / "00" / "tag.json").write_text(json.dumps(tags))
    return folder


def test_names_say_what_is_shown(sets: Path) -> None:
    notes: Counter[str] = Counter()
    source = open_source(sets)
    found = {ref.key: source.read(ref) for ref in source.index(notes)}
    assert {key: (r.style, r.title, r.captions) for key, r in found.items()} == {
        "00_pair_of_sneakers": ("00", "pair of sneakers", ("pair of sneakers",)),
        "00_pen": ("00", "pen", ("pen",)),
        "02_00": ("02", None, ()),
    }
    assert found["00_pen"].extra == {"tags": "pen, tool", "style_tags": "purple, lineart"}
    assert found["00_pair_of_sneakers"].extra == {"style_tags": "purple, lineart"}
    assert notes == {"styles with prompts but without pictures": 1}


def test_prompts_keep_the_order_of_their_numbers(sets: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "s", tmp_path / "m")
    pack(open_source(sets), "few", layout, 100)
    prompts = read_card(layout, "few")["made_by"]["prompts"]
    assert prompts == {style: [f"object {n}" for n in range(12)] for style in ("00", "01")}


def test_a_picture_outside_a_style_is_counted(sets: Path) -> None:
    (sets / "stray.png").write_bytes((sets / "02" / "00.png").read_bytes())
    notes: Counter[str] = Counter()
    assert len(list(open_source(sets).index(notes))) == 3
    assert notes["pictures outside a style's folder"] == 1


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_damaged_prompt_list_is_one_line(sets: Path, text: str) -> None:
    (sets / "01" / "prompt.json").write_text(text)
    with pytest.raises(UserError, match=r"01/prompt\.json"):
        open_source(sets)


def test_real_style_sets(shared_data: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "s", tmp_path / "m")
    for name, styles, pictures in (("A", 15, 10), ("B", 28, 6)):
        src = shared_data / "fewshot" / f"jittor5_{name}"
        result = pack(open_source(src), name.lower(), layout, 100)
        assert (result.num_ok, result.num_failed) == (pictures, 0)
        prompts = read_card(layout, name.lower())["made_by"]["prompts"]
        assert len(prompts) == styles
        assert {len(texts) for texts in prompts.values()} == {25}
    rows = read_manifest(layout.manifest("a", 0))
    assert {row["style"] for row in rows} == {"03"}
    assert {"pen", "bird", "chair"} < {row["title"] for row in rows}
