"""What several tests of commands begin with."""

import shutil
from pathlib import Path

import pytest

from toolkit.store.layout import Layout


@pytest.fixture
def data(sample_data: Layout, tmp_path: Path) -> Layout:
    """The sample data, in a layout that may grow."""
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    shutil.copytree(sample_data.manifests, layout.manifests)
    layout.shards.mkdir()
    for folder in sample_data.shards.iterdir():
        (layout.shards / folder.name).symlink_to(folder)
    return layout
