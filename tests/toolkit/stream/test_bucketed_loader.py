"""Batches of one shape from real shards: the same for any number of threads, processes and ranks,
resumed anywhere, beside Fill50K and stored tensors, with broken pictures in between."""

import io
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import copied
from tests.toolkit.stream.test_loader import digest, take
from tests.toolkit.stream.test_processes import numbered
from toolkit.core.records import Record
from toolkit.packing.dataset import pack
from toolkit.sources.folder import open_source
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader
from toolkit.store.selection import select
from toolkit.stream.augment import Augment
from toolkit.stream.batch import Batch
from toolkit.stream.buckets import Buckets
from toolkit.stream.loader import Loader
from toolkit.stream.tensors import TensorReader

BUCKETS = Buckets(8, 48, 24)
MIX, BATCH = {"main": 3, "circles": 1}, 4
SIZES = [(64, 40), (40, 64), (50, 50), (30, 90), (45, 60), (20, 20), (64, 41), (48, 48)]
Open = Callable[..., Loader]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory, toy_source: type, encode: Any,
           make_picture: Any, run_command: Any) -> Layout:  # fmt: skip
    """`photos`, 26 pictures of many shapes of which every eighth is too small, and `circles`, pairs
    of one shape, each with latents."""
    folder = tmp_path_factory.mktemp("shapes")
    found = Layout(folder / "shards", folder / "manifests")
    photos, circles = {}, {}
    for number in range(26):
        height, width = SIZES[number % len(SIZES)]
        form, ext = ("PNG", "png") if number % 5 == 0 else ("JPEG", "jpg")
        data = encode(make_picture(number, width, height), form)
        photos[f"photo{number:02d}"] = Record({ext: data}, captions=(f"photo {number}",))
    for number in range(7):
        pictures = [encode(make_picture(50 + number + k, 56, 56), "PNG") for k in (0, 20)]
        members = dict(zip(("source.png", "target.png"), pictures, strict=True))
        circles[f"circle{number}"] = Record(members, captions=(f"circle {number}",))
    for name, records in (("photos", photos), ("circles", circles)):
        pack(toy_source(name, records, {key: key for key in records}), name, found, 5)
    return encoded(found, run_command)


def encoded(layout: Layout, run_command: Any) -> Layout:
    done = run_command(
        "toolkit.encode", "true", "--encoder=haar", "--target_size=32", "--sidecar=latents",
        "--views=3", "--least_scale=0.7", f"--shards={layout.shards}",
        f"--manifests={layout.manifests}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return layout


@pytest.fixture
def broken(layout: Layout, tmp_path: Path, spoil: Callable[..., None], run_command: Any) -> Layout:
    """A copy in which two pictures of one shape do not decode."""
    copy = copied(layout, tmp_path / "spoilt")
    for key in ("photo00", "photo08"):
        spoil(copy, "photos", key)
    return encoded(copy, run_command)


@pytest.fixture
def opened(layout: Layout, tmp_path: Path) -> Iterator[Open]:
    """Opens loaders over both, with latents of the targets, and closes them in the end."""
    loaders = []

    def start(
        workers: int = 0, layout: Layout = layout, latents: bool = True, **more: Any
    ) -> Loader:
        chosen = [
            select(task, dataset, "true", layout, tmp_path / "cache")
            for task, dataset in (("main", "photos"), ("circles", "circles"))
        ]
        features = [TensorReader("latent", "target", "latents", chosen, cache=tmp_path)]
        more = {"buckets": BUCKETS, "augment": Augment("random", 0.7, caption_dropout=0.2), **more}
        loaders.append(
            Loader(chosen, MIX, BATCH, 32, 7, workers, features=features if latents else (), **more)
        )
        return loaders[-1]

    yield start
    for loader in loaders:
        loader.close()


def seen(batches: list[Batch]) -> str:
    """What training sees of batches, and where the stream stands behind each."""
    tensors = [batch.features["latent"][0].sum().item() for batch in batches if batch.features]
    shapes = [list(images.pixels.shape) for b in batches for images in b.images.values()]
    return json.dumps([digest(batches), tensors, shapes, [batch.cursor for batch in batches]])


def test_the_stream_is_one_table_of_hashes(opened: Open, broken: Layout) -> None:
    """Threads, processes, resuming: on buckets beside Fill50K's like, latents, random cuts, dropped
    captions and pictures that do not decode."""
    whole = take(opened(layout=broken), 24)
    assert sum(batch.num_substituted for batch in whole) > 2
    assert len({tuple(batch.images["target"].pixels.shape) for batch in whole}) > 5
    expected = seen(whole)
    for workers, prefetch in ((1, 1), (3, 2), (2, 4)):
        assert seen(take(opened(workers, broken, prefetch=prefetch), 24)) == expected
    for processes in (1, 3):
        made = itertools.islice(opened(0, broken, processes=processes, transform=numbered), 24)
        alone = itertools.islice(opened(0, broken, transform=numbered), 24)
        assert [facts for facts, _ in made] == [facts for facts, _ in alone]
    for step in (1, 5, 17):
        for workers in (0, 3):
            resumed = opened(workers, broken)
            resumed.load_state_dict(json.loads(json.dumps(whole[step - 1].cursor)))
            assert seen(take(resumed, 24 - step)) == seen(whole[step:])


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_have_the_same_pictures_together(opened: Open, broken: Layout, world: int) -> None:
    whole = take(opened(layout=broken), 24)
    ranks = [take(opened(r, broken, rank=r, world=world), 24) for r in range(world)]
    for batch, parts in zip(whole, zip(*ranks, strict=True), strict=True):
        real = [(part, i) for part in parts for i in range(len(part)) if part.weights[i] > 0]
        assert [part.keys[i] for part, i in real] == list(batch.keys)
        pixels = torch.stack([part.images["target"].pixels[i] for part, i in real])
        assert torch.equal(pixels, batch.images["target"].pixels)
        latents = torch.stack([part.features["latent"][0][i] for part, i in real])
        assert torch.equal(latents, batch.features["latent"][0])
        assert {part.cursor["position"] for part in parts} == {batch.cursor["position"]}
        shapes = {part.images["target"].pixels.shape[2:] for part in parts}
        assert shapes == {batch.images["target"].pixels.shape[2:]}


def test_what_is_cut_has_the_shape_of_its_picture(opened: Open, layout: Layout) -> None:
    """Uncut in the middle: against Pillow, of the largest box of that shape."""
    readers = {0: SampleReader(layout, "photos"), 1: SampleReader(layout, "circles")}
    for batch in take(opened(2, augment=Augment(), latents=False), 12):
        images = batch.images["target"]
        height, width = images.pixels.shape[2:]
        assert height % 8 == width % 8 == 0
        for number, key in enumerate(batch.keys):
            is_circle = bool(batch.task[number] == 1)
            reader = readers[int(is_circle)]
            data = reader.member(key, "target.png") if is_circle else reader.picture(key)
            picture = decoded(data)
            assert images.original_size[number].tolist() == [picture.height, picture.width]
            scale = min(picture.height / height, picture.width / width)
            across, down = round(width * scale), round(height * scale)
            left, top = (picture.width - across) // 2, (picture.height - down) // 2
            assert images.crop_offset[number].tolist() == [top, left]
            cut = picture.crop((left, top, left + across, top + down))
            expected = np.asarray(cut.resize((width, height), Image.Resampling.BICUBIC))
            got = images.pixels[number].permute(1, 2, 0).numpy()
            assert np.abs(got.astype(int) - expected).mean() < 3
            lost = 1 - across * down / (picture.width * picture.height)
            assert lost < 0.25  # little is cut away


def test_each_picture_once_an_epoch_and_the_small_ones_are_counted(opened: Open) -> None:
    loader = opened(2, epochs=1, latents=False)
    assert loader.left_out == {"main": 3, "circles": 0}
    batches = list(loader)
    assert len(batches) == len(loader)
    main = [key for b in batches if b.task[0] == 0 for key in b.keys]
    assert len(main) >= 23
    assert len(set(main)) == 23
    assert len(main) == len(set(main)) or len(batches) % 4 == 0  # to the end of the window
    assert "photo05" not in main
    seen_first = [(b.tasks[int(b.task[0])], key) for b in batches for key in b.keys]
    assert opened(0, latents=False).keys(0, loader.state_dict()["position"]) == seen_first


def test_a_substitute_has_the_same_shape(opened: Open, broken: Layout) -> None:
    before = take(opened(latents=False), 30)
    after = take(opened(layout=broken, latents=False), 30)
    swapped = {"photo00": "photo06", "photo08": "photo14"}
    for sound, other in zip(before, after, strict=True):
        assert sound.images["target"].pixels.shape == other.images["target"].pixels.shape
        for one, two in zip(sound.keys, other.keys, strict=True):
            assert two == swapped.get(one, one) or one in swapped


def test_memory_is_that_of_the_largest_shape(opened: Open) -> None:
    """Batches of any shape and length take turns in it."""
    loader = opened(1, latents=False, prefetch=1)
    take(loader, 60)
    free = loader._assembler.buffers._free
    sizes = [len(memory) for kept in free.values() for memory in kept]
    assert max(sizes) == BATCH * 48 * 48 * 3
    assert sum(sizes) <= loader.max_bytes_in_flight * 2


def test_real_photographs_of_all_aspects(shared_data: Path, tmp_path: Path) -> None:
    """Every one that is large enough once an epoch, at the sizes of SDXL's training halved."""
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    pack(open_source(shared_data / "photos"), "photos", layout, 50)
    chosen = select("main", "photos", "true", layout, tmp_path / "cache")
    buckets = Buckets(32, 512, 320)
    with_all = Loader([chosen], {"main": 1}, 4, 1, 3, 2, buckets=buckets, epochs=1,
                      roles=("target",))  # fmt: skip
    batches = list(with_all)
    keys = [key for batch in batches for key in batch.keys]
    assert len(keys) == len(set(keys)) == len(chosen) - with_all.left_out["main"]
    assert len(keys) > 100
    shapes = {tuple(batch.images["target"].pixels.shape[2:]) for batch in batches}
    assert len(shapes) > 8
    assert all(h % 32 == w % 32 == 0 and 320**2 <= h * w <= 512**2 for h, w in shapes)
    middle = batches[len(batches) // 2]
    resumed = Loader([chosen], {"main": 1}, 4, 1, 3, 0, buckets=buckets, epochs=1,
                     roles=("target",))  # fmt: skip
    resumed.load_state_dict(middle.cursor)
    assert digest(list(resumed)) == digest(batches[len(batches) // 2 + 1 :])
    with_all.close()
    resumed.close()


def decoded(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")
