"""Weights that come along with methods: the bytes that were measured."""

import hashlib

import pytest

from tests.conftest import ROOT

FOLDERS = sorted((ROOT / "train" / "methods").glob("*/weights"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_each_file_is_the_one_of_the_list(folder) -> None:
    """Which is what `sha256sum --check` reads."""
    lines = (line.split(maxsplit=1) for line in (folder / "SHA256SUMS").read_text().splitlines())
    listed = {folder / name: digest for digest, name in lines}
    there = {path for path in folder.glob("*/**/*") if path.is_file()}
    assert there == set(listed)
    for path, digest in listed.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, path
    assert sum(path.stat().st_size for path in there) < 20e6


def test_three_methods_bring_weights() -> None:
    names = [folder.parent.name for folder in FOLDERS]
    assert names == ["dreambooth_lora", "pixel_sdxl", "style_adapter"]
