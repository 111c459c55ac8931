"""Lookups in a compiled selection."""

from pathlib import Path

import pytest

from toolkit.store.layout import Layout
from toolkit.store.selection import select
from toolkit.stream import rows
from toolkit.stream.rows import Rows


@pytest.mark.parametrize("at_once", [1, 3, 7, 1 << 40])
@pytest.mark.parametrize("roles", [("target", "content", "style"), ("style",), ()])
def test_bytes_of_pictures_that_samples_share_count_once(
    at_once: int,
    roles: tuple[str, ...],
    triplets: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "_AT_ONCE", at_once)
    found = Rows(select("main", "targets", "true", triplets, tmp_path), roles)
    pieces = [p for s in found.samples(range(len(found))) for p in s.pieces.values()]
    once = {(piece.path, piece.offset): piece.size for piece in pieces}
    assert len(once) < len(pieces) or not roles
    assert found.num_bytes() == sum(once.values())
    assert found.largest() == max(once.values(), default=0)
