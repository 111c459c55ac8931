"""Undecoded samples inside the real webdataset and torch, in the loader's order."""

import io
import itertools
import json
from typing import Any

import pytest
import torch
import webdataset
from PIL import Image

from toolkit.core.errors import UserError
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader
from toolkit.stream.raw import Samples

MIX = {"main": 3, "fill50k": 1}


@pytest.fixture
def samples(choose: Any) -> Any:
    def start(**more: Any) -> Samples:
        return Samples([choose(name) for name in MIX], MIX, 7, **more)

    return start


def test_the_bytes_are_those_of_the_tars(samples: Any, triplets: Layout) -> None:
    read = {name: SampleReader(triplets, name) for name in triplets.datasets()}
    for found in itertools.islice(samples(), 40):
        key = found["__key__"]
        if found["__task__"] == "main":
            number = int(key[-2:])
            assert found["jpg"] == read["targets"].picture(key)
            assert found["content.jpg"] == read["photos"].picture(f"photo{number % 6}")
            assert found["style.jpg"] == read["paintings"].picture(f"painting{number % 4}")
            assert found["txt"] == f"photo {number % 6}".encode()
            assert found["__url__"].endswith(".tar")
        else:
            assert found["png"] == read["circles"].member(key, "target.png")
            assert found["content.png"] == read["circles"].member(key, "source.png")
            assert "style.jpg" not in found
        assert found["__weight__"] == 1.0


def test_the_order_is_the_loaders(samples: Any, opened: Any) -> None:
    batches = itertools.islice(opened(), 20)
    expected = [
        (key, int(seed)) for b in batches for key, seed in zip(b.keys, b.sample_seed, strict=True)
    ]
    found = [(s["__key__"], s["__seed__"]) for s in itertools.islice(samples(), 120)]
    assert found == expected
    ranks = [
        [(s["__key__"], s["__seed__"]) for s in itertools.islice(samples(rank=r, world=3), 40)]
        for r in range(3)
    ]
    assert [pair for turn in zip(*ranks, strict=True) for pair in turn] == expected


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_it_is_a_source_of_a_webdataset_pipeline(samples: Any, workers: int) -> None:
    """Decoded, resized and batched by webdataset; loaded by its own WebLoader."""
    stop = 50
    pipeline = webdataset.DataPipeline(
        samples(stop=stop, roles=("target", "content")),
        webdataset.decode("pil", handler=webdataset.handlers.reraise_exception),
        webdataset.rename(image="jpg;png"),
        webdataset.to_tuple("__key__", "image", "txt"),
    )
    loader = webdataset.WebLoader(pipeline, batch_size=None, num_workers=workers)
    found = list(loader)
    expected = list(itertools.islice(samples(roles=("target",)), stop))
    assert [key for key, _, _ in found] == [s["__key__"] for s in expected]
    for (_, image, text), sample in zip(found, expected, strict=True):
        data = sample.get("jpg") or sample["png"]
        assert image.tobytes() == Image.open(io.BytesIO(data)).convert("RGB").tobytes()
        assert text == sample["txt"].decode()


def test_it_goes_on_where_it_was_left(samples: Any) -> None:
    whole = [s["__key__"] for s in itertools.islice(samples(), 30)]
    first = samples()
    stream = iter(first)
    keys = [next(stream)["__key__"] for _ in range(11)]
    resumed = samples()
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert keys + [s["__key__"] for s in itertools.islice(resumed, 19)] == whole


def test_the_end_is_filled_up_at_weight_zero_on_all_ranks(samples: Any) -> None:
    ranks = [list(samples(stop=10, rank=r, world=4)) for r in range(4)]
    assert [len(found) for found in ranks] == [3] * 4
    weights = [s["__weight__"] for turn in zip(*ranks, strict=True) for s in turn]
    assert weights == [1.0] * 10 + [0.0] * 2


def test_a_plain_dataloader_takes_it(samples: Any) -> None:
    loader = torch.utils.data.DataLoader(samples(stop=20), batch_size=None, num_workers=2)
    assert [s["__key__"] for s in loader] == [s["__key__"] for s in samples(stop=20)]


def test_what_does_not_begin_as_a_picture_stops_it(samples: Any, triplets: Layout) -> None:
    row = SampleReader(triplets, "photos").row("photo2")
    with open(triplets.tar_named("photos", row["shard"]), "r+b") as tar:
        tar.seek(row["members"][0]["offset"])
        tar.write(bytes(100))
    with pytest.raises(UserError, match=r"photo2 in the shard .*photos.*toolkit\.verify photos"):
        list(itertools.islice(samples(), 60))
