"""Sidecars that are computed from other sidecars."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.toolkit.test_encode import HAAR, arrays_of, files_of
from toolkit import encode
from toolkit.core.errors import UserError
from toolkit.encoding.derive import derive
from toolkit.encoding.frame import Summary, Wanted
from toolkit.store.catalog import Catalog
from toolkit.store.layout import Layout
from toolkit.store.recipe import Recipe

RECIPE = Recipe({"encoder": "twice", "weights": ""}, ("latent",), {"size": 48})


class Twice:
    """Doubles, and remembers what it was given."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, tuple[str, ...]]] = []

    def __call__(
        self, values: np.ndarray, dataset: str, rows: Sequence[dict[str, Any]]
    ) -> np.ndarray:
        self.calls.append((dataset, len(values), tuple(row["key"] for row in rows)))
        if rows[0]["key"].startswith("target"):
            assert rows[0]["style"] in ("Cubism", "Ukiyo_e")
        return values.astype(np.float32) * 2


def doubled(layout: Layout, where: str = "true", **changes: Any) -> tuple[Summary, Twice]:
    catalog, twice = Catalog(layout, ["targets", "circles"]), Twice()
    source = changes.pop("source", "haar-48")
    made = {"name": "twice", "recipe": RECIPE, "condition": catalog.condition(where), **changes}
    return derive(catalog, source, Wanted(**made), twice, 4), twice


@pytest.fixture
def haar(call: Any, triplets: Layout) -> Layout:
    call(encode.main, "true", *HAAR, "--flip", "--datasets=targets,circles", triplets)
    return triplets


def test_each_tensor_has_its_counterpart_under_its_name(haar: Layout) -> None:
    found, twice = doubled(haar)
    assert (found.num_encoded, found.num_kept) == (20, 0)
    assert all(count <= 4 for _, count, _ in twice.calls)
    for dataset in ("targets", "circles"):
        before, after = (arrays_of(haar, dataset, name) for name in ("haar-48", "twice"))
        assert list(after) == list(before)
        for key, arrays in before.items():
            assert list(after[key]) == list(arrays)
            for name, values in arrays.items():
                assert np.array_equal(after[key][name], values.astype(np.float32) * 2)


def test_what_is_there_stays(haar: Layout) -> None:
    doubled(haar, "style = 'Cubism'")
    assert len(arrays_of(haar, "targets", "twice")) == 7
    doubled(haar)
    before = files_of(haar)
    found, twice = doubled(haar)
    assert (found.num_encoded, found.num_kept, twice.calls) == (0, 20, [])
    assert files_of(haar) == before


def test_what_the_source_could_not_encode_is_not_tried_again(
    call: Any, triplets: Layout, spoil: Any
) -> None:
    spoil(triplets, "targets", "target03")
    call(encode.main, "true", *HAAR, "--datasets=targets", triplets)
    catalog = Catalog(triplets, ["targets"])
    for encoded, kept in ((12, 0), (0, 13)):
        twice = Twice()
        found = derive(catalog, "haar-48", Wanted("twice", RECIPE, "true"), twice, 4)
        assert (found.num_encoded, found.num_kept) == (encoded, kept)
        assert sum(found.causes.values()) == (encoded > 0)


def test_what_cannot_be_is_one_line(haar: Layout) -> None:
    with pytest.raises(UserError, match="is what it would be computed from"):
        doubled(haar, name="haar-48")
    with pytest.raises(UserError, match="has no sidecar other"):
        doubled(haar, source="other")
    doubled(haar)
    with pytest.raises(UserError, match="made in another way"):
        doubled(haar, recipe=Recipe({"encoder": "thrice", "weights": ""}, ("latent",), {}))


def test_values_that_are_not_finite_are_counted(haar: Layout) -> None:
    catalog = Catalog(haar, ["targets"])

    def spoilt(values: np.ndarray, dataset: str, rows: Sequence[dict[str, Any]]) -> np.ndarray:
        found = values.astype(np.float32)
        found[[row["key"] == "target05" for row in rows]] = np.nan
        return found

    found = derive(catalog, "haar-48", Wanted("spoilt", RECIPE, "true"), spoilt, 4)
    assert dict(found.causes) == {"not_finite": 1}
    assert "target05" not in arrays_of(haar, "targets", "spoilt")
