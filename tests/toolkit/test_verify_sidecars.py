"""Verify looks at sidecars too: stale, damaged, missing."""

from pathlib import Path
from typing import Any

from toolkit.encode import main as encode
from toolkit.store.layout import Layout
from toolkit.store.sidecar import write_columns
from toolkit.verify import main as verify


def test_damage_of_sidecars_is_named(call: Any, triplets: Layout) -> None:
    flags = ("--encoder=haar", "--target_size=32", "--sidecar=latents")
    call(encode, "dataset='targets'", *flags, triplets)
    keys = ["target00", "target01", "target02", "target03", "target04"]
    write_columns(triplets, "targets", "targets-000000", "looks", {key: {"a": 1.0} for key in keys})
    assert call(verify, triplets).code == 0
    tensors = triplets.shards / "targets" / "sidecars" / "latents"
    rows = triplets.manifests / "targets" / "sidecars" / "latents"
    flip_a_byte(tensors / "targets-000000.tar")
    (tensors / "targets-000001.tar").unlink()
    (rows / "targets-000002.parquet").write_bytes(b"no Parquet")
    out = call(verify, triplets).out
    assert "targets/sidecars/latents/targets-000000: its tensors" in out
    assert "targets-000000.tar are damaged: delete" in out
    assert "targets-000001.tar are missing: delete" in out
    assert "targets/sidecars/latents/targets-000002: its rows are damaged" in out
    assert "3 problems" in out


def test_stale_sidecars_are_named(call: Any, triplets: Layout, spoil: Any) -> None:
    call(encode, "dataset='photos'", "--encoder=haar", "--target_size=32", triplets)
    spoil(triplets, "photos", "photo3")  # and its shard's sha256 with it
    out = call(verify, "photos", triplets).out
    assert "photos/sidecars/haar-32/photos-000000: it is stale, its shard was packed anew" in out


def test_a_sidecar_json_of_another_recipe_is_named(call: Any, triplets: Layout) -> None:
    call(encode, "dataset='photos'", "--encoder=haar", "--target_size=32", triplets)
    recipe = triplets.manifests / "photos" / "sidecars" / "haar-32" / "sidecar.json"
    recipe.write_text(recipe.read_text().replace('"size": 32', '"size": 64'))
    out = call(verify, "photos", triplets).out
    assert "haar-32/photos-000000: it was made in another way than its sidecar.json says" in out


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
