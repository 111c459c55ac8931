"""Sidecar columns in queries: joined by name, null where nothing is said, refused when stale."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.encode import main as encode_command
from toolkit.query import main as query_command
from toolkit.store.catalog import Catalog
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.selection import select
from toolkit.store.sidecar import write_columns


def number_of(key: str) -> float:
    return float(int(hashlib.sha256(key.encode()).hexdigest()[:4], 16) % 100)


def score(layout: Layout, dataset: str, name: str = "looks", shift: float = 0) -> None:
    """A number for each sample whose hash is not a multiple of five."""
    for path in layout.manifests_of(dataset):
        keys = [row["key"] for row in read_manifest(path)]
        values = {
            key: {"aesthetic": number_of(key) + shift, "other": 1.0}
            for key in keys
            if number_of(key) % 5
        }
        write_columns(layout, dataset, path.stem, name, values)


def keys_of(layout: Layout, dataset: str) -> list[str]:
    return [row["key"] for path in layout.manifests_of(dataset) for row in read_manifest(path)]


def test_a_column_is_found_by_its_name(call: Any, triplets: Layout) -> None:
    score(triplets, "targets")
    score(triplets, "photos")
    expected = sorted(
        f"{name}/{key}"
        for name in ("targets", "photos")
        for key in keys_of(triplets, name)
        if number_of(key) % 5 and number_of(key) > 40
    )
    assert len(expected) > 5
    for where in ("aesthetic > 40", "looks.aesthetic > 40", '"aesthetic" > 40 and other = 1'):
        out = call(query_command, where, "--format=keys", triplets).out
        assert sorted(out.split()) == expected
    nulls = call(query_command, "aesthetic is null", "--count", triplets).out
    everything = sum(len(keys_of(triplets, name)) for name in triplets.datasets())
    silent = sum(number_of(k) % 5 == 0 for n in ("targets", "photos") for k in keys_of(triplets, n))
    others = everything - sum(len(keys_of(triplets, n)) for n in ("targets", "photos"))
    assert int(nulls) == silent + others
    grouped = call(query_command, "aesthetic > 40", "--group_by=dataset", "--order_by=dataset",
                   "--columns=max(aesthetic) as top", "--format=csv", triplets).out  # fmt: skip
    tops = [
        max(n for n in map(number_of, keys_of(triplets, name)) if n % 5)
        for name in ("photos", "targets")
    ]
    assert [float(line.split(",")[1]) for line in grouped.splitlines()[1:]] == tops


def test_a_selection_keeps_the_stored_order_and_follows_the_scores(
    triplets: Layout, tmp_path: Path
) -> None:
    score(triplets, "targets")
    wanted = [k for k in keys_of(triplets, "targets") if number_of(k) % 5 and number_of(k) > 20]
    assert 3 < len(wanted) < 13
    first = select("main", "targets", "aesthetic > 20", triplets, tmp_path)
    assert first.table["key"].to_pylist() == wanted
    assert first.roles == ("target", "content", "style")
    score(triplets, "targets", shift=30)
    second = select("main", "targets", "aesthetic > 20", triplets, tmp_path)
    assert second.fingerprint != first.fingerprint
    assert len(second) > len(first)


def test_a_name_in_two_sidecars_asks_which(triplets: Layout) -> None:
    score(triplets, "targets")
    score(triplets, "targets", "second", shift=50)
    with pytest.raises(UserError, match=r'write "looks"\.aesthetic or "second"\.aesthetic'):
        Catalog(triplets).condition("aesthetic > 3")
    catalog = Catalog(triplets)
    checked = catalog.condition("looks.aesthetic + 50 = second.aesthetic")
    (count,) = catalog.rows(f"SELECT count(*) FROM samples WHERE {checked}")[0]
    assert count == sum(bool(number_of(key) % 5) for key in keys_of(triplets, "targets"))


def test_a_stale_sidecar_is_refused(triplets: Layout, spoil: Any, call: Any) -> None:
    score(triplets, "targets")
    spoil(triplets, "targets", "target03")  # and its shard's sha256 with it
    refused = call(query_command, "aesthetic > 3", triplets).refusal()
    assert "targets-000000.parquet is stale, its shard was packed anew" in refused
    assert call(query_command, "width > 3", "--count", triplets).code == 0  # nobody asked for it


def test_unknown_columns_are_told_as_ever(triplets: Layout) -> None:
    score(triplets, "targets")
    with pytest.raises(UserError, match="there is no column 'beauty'"):
        Catalog(triplets).condition("beauty > 3")
    with pytest.raises(UserError, match="no column 'aestetic': did you mean aesthetic"):
        Catalog(triplets).condition("aestetic > 3")


def test_tensors_sidecars_do_not_get_in_the_way(call: Any, triplets: Layout) -> None:
    flags = ("--encoder=haar", "--target_size=32", "--sidecar=latents")
    call(encode_command, "dataset='targets'", *flags, triplets)
    score(triplets, "targets")
    assert call(query_command, "cause is null", "--count", triplets).out == "30\n"
    both = "aesthetic > 20 and latents.cause is null"
    count = int(call(query_command, both, "--count", triplets).out)
    assert count == sum(
        bool(number_of(k) % 5 and number_of(k) > 20) for k in keys_of(triplets, "targets")
    )
    again = call(encode_command, "aesthetic > 20", *flags[:2], "--sidecar=some", triplets)
    assert f"some: {count} samples encoded" in again.out


def test_nothing_selected_is_one_line_for_data_without_links(
    tiny_layout: Layout, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="selects no sample of tiny where split = 'test'"):
        select("main", "tiny", "split = 'test'", tiny_layout, tmp_path)
