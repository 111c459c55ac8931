"""Two thousand damaged pictures and tars: no traceback, no hang, no healthy sample lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.store.check import check_shard
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import SampleReader

pytestmark = pytest.mark.slow
NUM_PICTURES = 1200
NUM_TARS = 800


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Flips, cuts out, puts in, or cuts off bytes, or zeroes a stretch."""
    changed = bytearray(data)
    place = int(rng.integers(0, len(changed)))
    match int(rng.integers(0, 5)):
        case 0:
            for spot in rng.integers(0, len(changed), size=int(rng.integers(1, 20))):
                changed[spot] ^= int(rng.integers(1, 256))
        case 1:
            del changed[place : place + int(rng.integers(1, 3000))]
        case 2:
            changed[place:place] = rng.bytes(int(rng.integers(1, 600)))
        case 3:
            del changed[place:]
        case 4:
            stop = min(len(changed), place + int(rng.integers(1, 2000)))
            changed[place:stop] = bytes(stop - place)
    return bytes(changed)


def test_damaged_pictures_cost_their_own_row_only(
    tmp_path: Path, encode: Any, make_picture: Any, run_command: Callable[..., Any]
) -> None:
    rng = np.random.Generator(np.random.Philox(11))
    forms = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
    healthy = {}
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number in range(NUM_PICTURES):
        form = forms[number % len(forms)]
        ext = {"JPEG": "jpg", "TIFF": "tif"}.get(form, form.lower())
        data = encode(make_picture(number, 120, 90), form)
        name = f"{number:05d}.{ext}"
        if number % 6 == 0:
            healthy[name] = data
        else:
            data = damage(data, rng)
        (folder / name).write_bytes(data)
    done = run_command(
        "toolkit.pack", "folder", f"--src={folder}", "--samples_per_shard=100", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    rows = [row for path in layout.manifests_of("mixed") for row in read_manifest(path)]
    assert len(rows) == NUM_PICTURES
    assert {row["source_id"] for row in rows if row["status"] == "ok"} >= set(healthy)
    reader = SampleReader(layout, "mixed")
    for row in rows:
        if row["source_id"] in healthy:
            assert reader.picture(row["key"]) == healthy[row["source_id"]]
        elif row["status"] != "ok":
            assert row["cause"]
            assert row["error"]
    causes = {row["cause"] for row in rows}
    assert {"truncated", "undecodable", "not_a_picture"} <= causes
    assert run_command("toolkit.verify", cwd=tmp_path).returncode == 0


def test_damaged_tars_are_always_found(tiny_layout: Layout) -> None:
    rng = np.random.Generator(np.random.Philox(12))
    tar, manifest = tiny_layout.tar("tiny", 0), tiny_layout.manifest("tiny", 0)
    original = tar.read_bytes()
    assert check_shard(tiny_layout, "tiny", manifest) == (4, [])
    for number in range(NUM_TARS):
        damaged = damage(original, rng)
        if damaged == original:
            continue
        tar.write_bytes(damaged)
        assert check_shard(tiny_layout, "tiny", manifest)[1], f"damage {number} was not found"


def test_damaged_manifests_are_always_found(tiny_layout: Layout) -> None:
    """Either the file does not read, or the card does not match it."""
    from toolkit.store.check import check_card

    rng = np.random.Generator(np.random.Philox(133))
    path = tiny_layout.manifest("tiny", 1)
    original = path.read_bytes()
    for number in range(200):
        path.write_bytes(damage(original, rng))
        check_shard(tiny_layout, "tiny", path)
        if path.read_bytes() != original:
            assert check_card(tiny_layout, "tiny"), f"damage {number} was not found"
