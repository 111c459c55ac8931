"""Where files lie, which folders count as datasets, and what is said when there is none."""

from pathlib import Path

import pytest

from toolkit.core.errors import UserError
from toolkit.store.layout import Layout


def test_files_lie_where_the_readmes_say(tiny_layout: Layout) -> None:
    shards, manifests = tiny_layout.shards, tiny_layout.manifests
    found = {str(p.relative_to(shards.parent)) for p in shards.parent.rglob("*.*") if p.is_file()}
    found = {name for name in found if "/.inputs/" not in name}
    assert found == {
        *(f"shards/tiny/tiny-{i:06d}.tar" for i in range(3)),
        *(f"manifests/tiny/tiny-{i:06d}.parquet" for i in range(3)),
        "manifests/tiny/dataset.json",
    }
    assert tiny_layout.tar("tiny", 2) == shards / "tiny" / "tiny-000002.tar"
    assert tiny_layout.tar_named("tiny", "tiny-000002") == tiny_layout.tar("tiny", 2)
    assert tiny_layout.manifest("tiny", 1) == manifests / "tiny" / "tiny-000001.parquet"
    assert tiny_layout.manifests_of("tiny") == [tiny_layout.manifest("tiny", i) for i in range(3)]
    assert tiny_layout.card("tiny") == manifests / "tiny" / "dataset.json"


def test_only_folders_with_manifests_of_their_own_name_are_datasets(tiny_layout: Layout) -> None:
    (tiny_layout.manifests / "README.md").write_text("text")
    (tiny_layout.manifests / "empty").mkdir()
    (tiny_layout.manifests / "other").mkdir()
    (tiny_layout.manifests / "other" / "tiny-000000.parquet").write_bytes(b"")
    (tiny_layout.manifests / "tiny" / ".tiny-000009.parquet.7.tmp").write_bytes(b"")
    assert tiny_layout.datasets() == ["tiny"]
    assert len(tiny_layout.manifests_of("tiny")) == 3
    assert tiny_layout.manifests_of("nothing") == []


def test_no_packed_data_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    for manifests in (tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match=r"run `python -m toolkit.pack` first"):
            Layout(tmp_path, manifests).datasets()
