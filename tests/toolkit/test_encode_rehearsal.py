"""toolkit.encode --limit: what all would take, and nothing written."""

import re
import tarfile
from typing import Any

import numpy as np
import pytest

from tests.toolkit.test_encode import HAAR, files_of
from toolkit.encode import main
from toolkit.encoding import rehearsal
from toolkit.encoding.frame import Wanted
from toolkit.encoding.run import Job
from toolkit.store.catalog import Catalog
from toolkit.store.layout import Layout
from toolkit.store.recipe import Recipe


def test_a_rehearsal_writes_nothing_and_knows_the_bytes(call: Any, triplets: Layout) -> None:
    done = call(main, "dataset='photos'", *HAAR, "--limit=3", "--batch_size=1", triplets)
    assert "haar-48: a rehearsal of 3 samples, nothing is kept; all 6 of the query" in done.out
    assert not files_of(triplets)
    foretold = float(re.search(r"([\d.]+) MB; peak memory \d+ MB", done.out)[1])
    call(main, "dataset='photos'", *HAAR, triplets)
    tars = sorted((triplets.shards / "photos" / "sidecars" / "haar-48").glob("*.tar"))
    ends = []
    for path in tars:
        with tarfile.open(path) as tar:
            tar.getmembers()
            ends.append(tar.offset)  # where the last member ends
    assert len(ends) == 2
    assert foretold == pytest.approx(sum(ends) / 1e6, rel=0.005)


def test_a_rehearsal_takes_what_is_not_there_yet(call: Any, triplets: Layout) -> None:
    call(main, "dataset='photos'", *HAAR, triplets)
    done = call(main, "dataset='photos'", *HAAR, "--limit=3", triplets).refusal()
    assert "all samples are encoded as haar-48 already: nothing to rehearse" in done
    before = files_of(triplets)
    assert "a rehearsal of 2 samples" in call(main, "true", *HAAR, "--limit=2", triplets).out
    assert files_of(triplets) == before


def test_a_rehearsal_is_refused_as_the_encoding_would_be(call: Any, triplets: Layout) -> None:
    call(main, "dataset='photos'", *HAAR, triplets)
    more = ("--encoder=haar", "--target_size=64", "--sidecar=haar-48", "--limit=2")
    assert "was made in another way" in call(main, "true", *more, triplets).refusal()
    assert "limit=0: takes 1 or more" in call(main, "true", *HAAR, "--limit=0", triplets).refusal()
    exchange = ("--sidecar=haar-48", "--export_folder=x", "--limit=2", "--flip")
    assert "--limit, --flip: go with encoding" in call(main, "true", *exchange, triplets).refusal()


class Slow:
    """An encoder that takes a second for its first batch, and a tenth of one for each other, by a
    clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self, values: Any) -> list[dict[str, np.ndarray]]:
        self.now += 0.1 if self.now else 1.0
        return [{"latent": np.zeros((3, 8, 8), np.float16)} for _ in values]


@pytest.mark.parametrize(
    ("limit", "seconds"), [(1, 6.0), (2, 3.0), (3, 0.6), (4, 0.3), (5, 0.4), (6, 0.45)]
)
def test_time_is_foretold_from_the_batches_after_the_first(
    limit: int, seconds: float, triplets: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of two, in shards of five and of one: after the first, samples 3 and 4 take a batch,
    5 one of its own, and 6 another."""
    slow = Slow()
    monkeypatch.setattr(rehearsal.time, "monotonic", lambda: slow.now)
    recipe = Recipe({"encoder": "slow"}, ("latent",))
    job = Job(Wanted("slow", recipe, "dataset = 'photos'"), "picture", slow, 2, 16)
    found = rehearsal.rehearse(Catalog(triplets), job, limit)
    assert (found.num_samples, found.num_wanted) == (limit, 6)
    assert found.seconds == pytest.approx(seconds)
