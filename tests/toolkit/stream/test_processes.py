"""Worker processes: the same batches for any number of them, transformed where they are made."""

import itertools
import json
import os
from typing import Any

import pytest
import torch

from toolkit.core.errors import UserError
from toolkit.stream.augment import Augment
from toolkit.stream.batch import Batch
from toolkit.stream.coalesce import Piece


def facts(batch: Batch) -> tuple[Any, ...]:
    pixels = tuple(images.pixels.sum().item() for images in batch.images.values())
    return batch.keys, batch.captions, pixels, tuple(batch.sample_seed.tolist()), batch.cursor


def numbered(batch: Batch) -> tuple[tuple[Any, ...], int]:
    """A transform: what is in the batch, and the process that found out."""
    return facts(batch), os.getpid()


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_stream_does_not_depend_on_processes(opened: Any, processes: int) -> None:
    expected = [facts(batch) for batch in itertools.islice(opened(), 8)]
    got = list(itertools.islice(opened(processes=processes, transform=numbered), 8))
    assert [found for found, _ in got] == expected
    assert len({pid for _, pid in got}) == processes
    assert os.getpid() not in {pid for _, pid in got}


@pytest.mark.parametrize(
    "more", [{}, {"workers": 2}, {"processes": 2}], ids=["alone", "threads", "processes"]
)
def test_it_goes_on_where_it_was_left_and_ends_where_it_should(opened: Any, more: Any) -> None:
    stop = 6 * 9 - 2
    whole = [facts(batch) for batch in opened(stop=stop)]
    assert len(whole) == 9
    loader = opened(stop=stop, transform=facts, **more)
    first = list(itertools.islice(loader, 4))
    state = json.loads(json.dumps(loader.state_dict()))
    assert state["position"] == 24
    resumed = opened(stop=stop, transform=facts, **more)
    resumed.load_state_dict(state)
    assert first + list(resumed) == whole
    with pytest.raises(UserError, match="the stream has ended at its stop, position 52"):
        next(iter(resumed))


def test_failures_cross_and_stop_the_stream(opened: Any, spoil: Any, triplets: Any) -> None:
    spoil(triplets, "photos", "photo0")  # content of three of thirteen targets
    for more in ({}, {"workers": 2}, {"processes": 2}):
        loader = opened(transform=facts, max_failures=2, **more)
        with pytest.raises(UserError) as caught:
            list(itertools.islice(loader, 40))
        text = str(caught.value)
        assert text.startswith("3 samples did not decode, more than max_failures=2: main")
        assert "content photo0: " in text
        assert "\n" not in text
        assert len(loader.failures) == 3
        patient = opened(transform=facts, max_failures=3, **more)
        assert len(list(itertools.islice(patient, 60))) == 60  # the same three in each epoch


def test_a_transform_that_fails_says_so(opened: Any) -> None:
    def fail(batch: Batch) -> None:
        raise ValueError(f"no {len(batch)}")

    for more in ({}, {"workers": 2}, {"processes": 1}):
        with pytest.raises(ValueError, match="no 6"):
            next(iter(opened(transform=fail, **more)))


class Means:
    """A feature: the number of bytes that a picture begins with, in the picture's place."""

    name, role, identity = "bytes", "style", {"kind": "test"}
    otherwise = empty = None

    def check(self, augment: Augment) -> None: ...

    def locate(
        self, pictures: list[Piece | None], flipped: list[bool], views: list[float | None]
    ) -> list[Piece | str | None]:
        return [piece and piece._replace(offset=0, size=8 + piece.size % 7) for piece in pictures]

    def largest(self) -> int:
        return 14

    def stack(
        self, data: list[bytes | None], dropped: list[bool]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        sizes = torch.tensor([len(bytes_ or b"") for bytes_ in data])
        return sizes, torch.tensor([bytes_ is not None for bytes_ in data])


@pytest.mark.parametrize("workers", [0, 2])
def test_features_alone_read_no_picture(opened: Any, triplets: Any, workers: int) -> None:
    loader = opened(workers, roles=(), features=[Means()])
    for dataset in ("photos", "targets", "circles"):
        triplets.tar(dataset, 0).unlink()
    for batch in itertools.islice(loader, 4):
        assert not batch.images
        assert len(batch) == 6
        assert batch.features["bytes"][0].shape == (6,)


@pytest.mark.parametrize("more", [{}, {"workers": 2}, {"processes": 1}])
def test_features_take_the_place_of_pictures(opened: Any, triplets: Any, more: Any) -> None:
    loader = opened(roles=("target",), features=[Means()], **more)
    for batch in itertools.islice(loader, 4):
        assert set(batch.images) == {"target"}
        values, mask = batch.features["bytes"]
        assert mask.tolist() == (batch.task == 0).tolist()
        assert ((values[mask] >= 8) & (values[mask] < 15)).all()
        assert not values[~mask].any()
