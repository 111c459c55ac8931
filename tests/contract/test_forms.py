"""What every form of export promises, found by file name."""

import hashlib
import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Call
from toolkit.export import COMMANDS
from toolkit.exporting.forms import form_names
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import read_member


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture
def written(triplets: Layout, call: Call, tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    def start(form: str, name: str, *flags: str) -> dict[str, bytes]:
        out = tmp_path / name / "out"
        done = call(COMMANDS, "true", f"--as={form}", f"--out={out}", triplets, *flags)
        assert done.code == 0, done.err
        return bytes_of(out)

    return start


@pytest.mark.parametrize("form", form_names())
def test_it_says_what_it_is(form: str) -> None:
    about = importlib.import_module(f"toolkit.exporting.forms.{form}").__doc__ or ""
    assert about.split("\n")[0].endswith((".", ":"))


@pytest.mark.parametrize("form", form_names())
def test_the_same_selection_gives_the_same_bytes(
    form: str, written: Callable[..., dict[str, bytes]]
) -> None:
    first, second = written(form, "a"), written(form, "b")
    assert first == second
    record = json.loads(first[".tessera-export.json"])
    assert (record["form"], record["num_samples"]) == (form, 30)
    assert record["num_files"] == len(first) - 1
    assert record["num_bytes"] == sum(len(x) for name, x in first.items() if name[0] != ".")
    everything = b"".join(first.values())
    assert b"/tmp/" not in everything  # no machine paths
    assert not [name for name in first if name.endswith((".tmp", ".plain"))]


@pytest.mark.parametrize("form", [form for form in form_names() if form != "csv"])
def test_pictures_are_those_of_the_shards(
    form: str, written: Callable[..., dict[str, bytes]], triplets: Layout
) -> None:
    """As bytes, wherever they lie: whole files, or inside of tars and tables."""
    files = written(form, "a")
    everything = b"".join(files.values())
    alone = {hashlib.sha256(data).hexdigest() for data in files.values()}
    for dataset in triplets.datasets():
        for row in (r for path in triplets.manifests_of(dataset) for r in read_manifest(path)):
            for member in row["members"]:
                if member["ext"].endswith(("jpg", "png")):
                    data = read_member(triplets, row, member)
                    assert hashlib.sha256(data).hexdigest() in alone or data in everything
