"""toolkit.encode --limit: what all would take, and nothing written."""

import re
import tarfile
from typing import Any

import pytest

from tests.toolkit.test_encode import HAAR, files_of
from toolkit.encode import main
from toolkit.store.layout import Layout


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
    exchange = ("--sidecar=haar-48", "--export_folder=x", "--limit=2")
    assert "--limit rehearses an encoding" in call(main, "true", *exchange, triplets).refusal()
