"""The stream of batches: the same for any number of threads, resumed at any step, substituted
alike, and held to the data it was started on."""

import hashlib
import io
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.core.errors import UserError
from toolkit.core.records import Link, Record
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader
from toolkit.store.selection import select
from toolkit.stream.augment import Augment
from toolkit.stream.batch import Batch
from toolkit.stream.coalesce import MAX_READ_BYTES
from toolkit.stream.loader import Loader

MIX = {"main": 3, "fill50k": 1}
BATCH, SIZE = 6, 32
Open = Callable[..., Loader]
Spoil = Callable[..., None]


def take(loader: Loader, count: int) -> list[Batch]:
    stream = iter(loader)
    batches = list(itertools.islice(stream, count))
    stream.close()  # type: ignore[attr-defined]
    return batches


def digest(batches: list[Batch]) -> str:
    """One hash over everything that training sees."""
    found = hashlib.sha256()
    for batch in batches:
        for tensor in (batch.task, batch.sample_seed, batch.weights):
            found.update(tensor.numpy().tobytes())
        found.update(repr((batch.keys, batch.captions, batch.style_names)).encode())
        found.update(repr((batch.num_substituted, batch.tasks, sorted(batch.images))).encode())
        for role in sorted(batch.images):
            images = batch.images[role]
            for tensor in (images.pixels.contiguous(), images.present, images.original_size,
                           images.crop_offset):  # fmt: skip
                found.update(tensor.numpy().tobytes())
            found.update(repr(images.keys).encode())
    return found.hexdigest()


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (3, 1), (3, 0), (2, 4), (0, 5)])
def test_the_stream_does_not_depend_on_threads(opened: Open, workers: int, prefetch: int) -> None:
    expected = take(opened(0), 12)
    got = take(opened(workers, prefetch=prefetch), 12)
    assert digest(got) == digest(expected)
    assert [batch.cursor for batch in got] == [batch.cursor for batch in expected]


@pytest.mark.parametrize("workers", [0, 3])
def test_it_goes_on_at_any_step_from_a_few_json_values(opened: Open, workers: int) -> None:
    whole = take(opened(0), 8)
    for step in range(8):
        cursor = opened(0).state_dict() if step == 0 else whole[step - 1].cursor
        text = json.dumps(cursor)
        assert len(text) < 1000
        resumed = opened(workers)
        resumed.load_state_dict(json.loads(text))
        assert digest(take(resumed, 8 - step)) == digest(whole[step:])


@pytest.mark.parametrize("workers", [0, 2])
def test_the_state_is_that_after_the_batch_in_hand(opened: Open, workers: int) -> None:
    """Batches that were decoded ahead do not count."""
    loader = opened(workers, prefetch=3)
    stream = iter(loader)
    for number in range(1, 5):
        batch = next(stream)
        assert loader.state_dict() == batch.cursor
        assert batch.cursor["position"] == number * BATCH
    stream.close()  # type: ignore[attr-defined]
    # A second iteration goes on where the first was left.
    following = next(iter(loader))
    assert following.cursor["position"] == 5 * BATCH
    assert digest([following]) == digest(take(opened(0), 5)[4:])


def test_another_batch_size_cuts_the_same_stream_elsewhere(opened: Open) -> None:
    def keys(batches: list[Batch]) -> list[tuple[str, int]]:
        return [(k, int(s)) for b in batches for k, s in zip(b.keys, b.sample_seed, strict=True)]

    assert keys(take(opened(0), 10)) == keys(take(opened(0, batch_size=4), 15))
    assert keys(take(opened(0), 2)) == keys(take(opened(0, batch_size=1), 12))


def test_the_mix_is_exact_and_keys_tell_it_beforehand(opened: Open) -> None:
    loader = opened(0, batch_size=4)
    batches = take(loader, 26)
    for batch in batches:
        assert Counter(batch.task.tolist()) == {0: 3, 1: 1}
        assert batch.tasks == ("main", "fill50k")
    seen = [(batch.tasks[t], key) for batch in batches
            for t, key in zip(batch.task, batch.keys, strict=True)]  # fmt: skip
    assert opened(0).keys(0, 104) == seen
    assert opened(0).keys(50, 10) == seen[50:60]
    main = [key for task, key in seen if task == "main"]
    for epoch in range(6):
        assert sorted(main[13 * epoch : 13 * (epoch + 1)]) == [f"target{i:02d}" for i in range(13)]


def test_batches_hold_the_pictures_of_their_samples(opened: Open, triplets: Layout) -> None:
    readers = {name: SampleReader(triplets, name)
               for name in ("targets", "circles", "photos", "paintings")}  # fmt: skip
    for batch in take(opened(2), 5):
        for index, key in enumerate(batch.keys):
            if batch.task[index] == 0:
                number = int(key[-2:])
                expected = {
                    "target": readers["targets"].picture(key),
                    "content": readers["photos"].picture(f"photo{number % 6}"),
                    "style": readers["paintings"].picture(f"painting{number % 4}"),
                }
                assert batch.captions[index] == f"photo {number % 6}"
                assert batch.style_names[index] == ("Cubism", "Ukiyo_e")[number % 2]
            else:
                expected = {
                    "target": readers["circles"].member(key, "target.png"),
                    "content": readers["circles"].member(key, "source.png"),
                }
                assert batch.captions[index] == f"circle {key[-1]}"
                assert batch.style_names[index] is None
            for role, data in expected.items():
                image = Image.open(io.BytesIO(data)).convert("RGB")
                side = min(image.size)
                left, top = (image.width - side) // 2, (image.height - side) // 2
                square = image.crop((left, top, left + side, top + side))
                small = np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
                got = batch.images[role].pixels[index].permute(1, 2, 0).numpy()
                assert np.abs(got.astype(int) - small).mean() < 3, role
                assert batch.images[role].present[index]
                height, width = batch.images[role].original_size[index].tolist()
                assert (width, height) == image.size
                assert batch.images[role].crop_offset[index].tolist() == [top, left]


def test_circles_have_no_style(opened: Open) -> None:
    for batch in take(opened(2), 4):
        style = batch.images["style"]
        is_circle = batch.task == 1
        assert (style.present == ~is_circle).all()
        assert (style.pixels[is_circle] == 0).all()
        assert (style.floats()[is_circle] == 0).all()
        assert (style.pixels[~is_circle].float().std(dim=(1, 2, 3)) > 0).all()
        for index in is_circle.nonzero().flatten().tolist():
            assert style.keys[index] == ""
            assert style.original_size[index].tolist() == [0, 0]


def test_shapes_types_and_ranges(opened: Open) -> None:
    (batch,) = take(opened(0), 1)
    assert len(batch) == BATCH
    assert (batch.task.dtype, batch.sample_seed.dtype) == (torch.int64, torch.int64)
    assert (batch.sample_seed >= 0).all()
    assert len(set(batch.sample_seed.tolist())) == BATCH
    assert batch.weights.tolist() == [1.0] * BATCH
    for role in ("target", "content", "style"):
        images = batch.images[role]
        assert images.pixels.shape == (BATCH, 3, SIZE, SIZE)
        assert images.pixels.dtype == torch.uint8
        floats = images.floats()
        assert floats.dtype == torch.float32
        assert floats.is_contiguous()
        assert -1 <= floats.min() <= floats.max() <= 1
        away = (floats + 1) * 127.5 - images.pixels
        assert away[images.present].abs().max() < 1e-3


def test_later_batches_do_not_overwrite_earlier_ones(opened: Open) -> None:
    stream = iter(opened(2, prefetch=2))
    first = next(stream)
    before = digest([first])
    for _ in range(6):
        next(stream)
    assert digest([first]) == before
    stream.close()  # type: ignore[attr-defined]


def test_only_the_wanted_roles_are_read(opened: Open, triplets: Layout) -> None:
    loader = opened(0, roles=("target",))
    triplets.tar("paintings", 0).unlink()  # no style is read, so nobody misses it
    (batch,) = take(loader, 1)
    assert set(batch.images) == {"target"}


def test_seeds_decide_the_order_and_the_sample_seeds(opened: Open) -> None:
    one, other = take(opened(0, seed=1), 5), take(opened(0, seed=2), 5)
    assert [b.keys for b in one] != [b.keys for b in other]
    seeds = {int(s) for batch in (*one, *other) for s in batch.sample_seed}
    assert len(seeds) == 2 * 5 * BATCH
    assert max(seeds) >= 2**62  # all 63 bits are used


def test_three_sources(opened: Open) -> None:
    loader = opened(2, mix={"main": 5, "fill50k": 2, "photos": 1}, batch_size=8)
    for batch in take(loader, 6):
        assert Counter(batch.task.tolist()) == {0: 5, 1: 2, 2: 1}
        photos = batch.task == 2
        assert not batch.images["content"].present[photos].any()
        assert batch.images["target"].present.all()


# --- bad data


@pytest.mark.parametrize("workers", [1, 3])
def test_a_sample_that_does_not_decode_is_substituted_alike(
    opened: Open, triplets: Layout, workers: int, spoil: Spoil
) -> None:
    sound = take(opened(0), 13)
    spoil(triplets, "targets", "target04")
    spoil(triplets, "photos", "photo0")  # content of targets 0, 6 and 12
    alone = take(opened(0), 13)
    together = take(opened(workers), 13)
    assert digest(together) == digest(alone)
    substitutes = {
        "target00": "target01",
        "target04": "target05",
        "target06": "target07",
        "target12": "target01",
    }  # the last one's next is target00, spoilt as well
    changed = 0
    for before, after in zip(sound, alone, strict=True):
        assert after.keys == tuple(substitutes.get(key, key) for key in before.keys)
        hits = sum(key in substitutes for key in before.keys)
        assert after.num_substituted == hits
        changed += hits
        assert after.sample_seed.tolist() == before.sample_seed.tolist()
        assert after.task.tolist() == before.task.tolist()
        for index, key in enumerate(after.keys):
            number = int(key[-2:]) if key.startswith("target") else None
            if number is not None:
                assert after.captions[index] == f"photo {number % 6}"
                assert after.images["content"].keys[index] == f"photo{number % 6}"
                assert after.images["target"].pixels[index].float().std() > 0
    assert changed >= 8


def test_nothing_of_a_substituted_sample_is_left(
    triplets: Layout, tmp_path: Path, toy_source: type, encode: Any, make_picture: Any, spoil: Spoil
) -> None:
    """Its content was decoded before its style failed; the substitute has no content."""
    links = (Link("content", "photos", "photo1"), Link("style", "paintings", "painting1"))
    records = {
        "a": Record({"jpg": encode(make_picture(1))}, links=links),
        "b": Record({"jpg": encode(make_picture(2))}),
    }
    pack(toy_source("made", records), "made", triplets, 5)
    spoil(triplets, "paintings", "painting1")
    selection = select("main", "made", "true", triplets, tmp_path / "cache")
    loader = Loader([selection], {"main": 1}, batch_size=4, size=SIZE, seed=0, workers=0)
    batch = next(iter(loader))
    loader.close()
    assert batch.keys == ("b",) * 4
    assert batch.num_substituted == 2
    for role in ("content", "style"):
        assert not batch.images[role].present.any()
        assert not batch.images[role].pixels.any()
    assert batch.images["target"].present.all()


@pytest.mark.parametrize("workers", [0, 2])
def test_bit_rot_stops_the_run(opened: Open, triplets: Layout, workers: int, spoil: Spoil) -> None:
    """To replace what was once sound would let one machine see other data than the next."""
    spoil(triplets, "photos", "photo0", as_packed=False)
    with pytest.raises(UserError, match=r"photos-000000\.tar is damaged at photo0.*verify"):
        take(opened(workers), 13)


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_but_bad_samples_stops_the_run(
    opened: Open, triplets: Layout, workers: int, spoil: Spoil
) -> None:
    for number in range(13):
        spoil(triplets, "targets", f"target{number:02d}")
    with pytest.raises(UserError, match=r"samples of main in a row do not decode.*toolkit\.verify"):
        take(opened(workers), 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_cut_short_stops_the_run(opened: Open, triplets: Layout, workers: int) -> None:
    loader = opened(workers)
    path = triplets.tar("targets", 1)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(UserError, match=r"targets-000001\.tar ends early"):
        take(loader, 6)


# --- resuming on something else


def test_another_seed_or_mix_is_refused(opened: Open) -> None:
    state = take(opened(0), 2)[-1].cursor
    with pytest.raises(UserError, match="cannot resume the data stream: seed was 7 and is 8"):
        opened(0, seed=8).load_state_dict(state)
    with pytest.raises(UserError, match="cannot resume the data stream: weights was"):
        opened(0, mix={"main": 1, "fill50k": 1}).load_state_dict(state)
    with pytest.raises(UserError, match="cannot resume the data stream"):
        opened(0, mix={"main": 3}).load_state_dict(state)


def test_another_size_or_cut_is_refused(opened: Open) -> None:
    state = take(opened(0), 2)[-1].cursor
    with pytest.raises(UserError, match="cannot resume the data stream: size was 32 and is 16"):
        opened(0, size=16).load_state_dict(state)
    with pytest.raises(UserError, match="cannot resume the data stream: augment was"):
        opened(0, augment=Augment("random")).load_state_dict(state)


def test_a_stream_that_has_ended_says_so(opened: Open) -> None:
    loader = opened(stop=13)
    assert len(loader) == len(list(loader)) == 3
    with pytest.raises(UserError, match="the stream has ended at its stop, position 13: for more"):
        next(iter(loader))
    state = loader.state_dict()
    longer, again = opened(stop=20), opened(stop=13)
    longer.load_state_dict(state)
    assert len(list(longer)) == 1
    again.load_state_dict(state)  # a program that is started again after its last step
    assert list(again) == []
    with pytest.raises(TypeError, match="endless"):
        len(opened())


def test_two_epochs_show_each_main_sample_twice(opened: Open, choose: Any) -> None:
    loader = opened(epochs=2)
    batches = list(loader)
    assert len(batches) == len(loader)
    seen = Counter(
        key
        for batch in batches
        for key, task, weight in zip(batch.keys, batch.task, batch.weights, strict=True)
        if task == 0 and weight > 0
    )
    assert len(seen) == len(choose("main")) == 13
    assert sorted(seen.values()) == [2] * 12 + [3]  # the last window is whole
    with pytest.raises(UserError, match="stop=5 and epochs=1: give one of them"):
        opened(epochs=1, stop=5)


def test_a_batch_is_shown_without_its_pixels(opened: Open) -> None:
    (batch,) = take(opened(), 1)
    assert f"'target': [{BATCH}, 3, {SIZE}, {SIZE}]" in repr(batch)
    assert len(repr(batch)) < 500


def test_other_data_are_refused(
    opened: Open, triplets: Layout, toy_source: type, encode: Any, make_picture: Any
) -> None:
    state = take(opened(0), 2)[-1].cursor
    shutil.rmtree(triplets.manifests / "photos")
    records = {f"photo{i}": Record({"jpg": encode(make_picture(800 + i))}) for i in range(6)}
    pack(toy_source("photos", records), "photos", triplets, 5)
    with pytest.raises(UserError, match="cannot resume the data stream: data was") as caught:
        opened(0).load_state_dict(state)
    assert "\n" not in str(caught.value)


def test_the_same_data_elsewhere_are_accepted(
    opened: Open, triplets: Layout, tmp_path: Path
) -> None:
    whole = take(opened(0), 4)
    moved = Layout(tmp_path / "moved" / "s", tmp_path / "moved" / "m")
    shutil.copytree(triplets.shards, moved.shards)
    shutil.copytree(triplets.manifests, moved.manifests)
    resumed = opened(2, layout=moved)
    resumed.load_state_dict(whole[1].cursor)
    assert digest(take(resumed, 2)) == digest(whole[2:])


# --- settings


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [("batch_size", 0, "1 or more"), ("size", "64", "a whole number"), ("workers", -1, "0 or more"),
     ("prefetch", -1, "0 or more"), ("processes", 1.5, "a whole number"),
     ("augment", "random", "an Augment")],
)  # fmt: skip
def test_wrong_settings_are_refused(opened: Open, name: str, value: Any, takes: str) -> None:
    with pytest.raises(UserError, match=f"^{name}={value!r}: takes {takes}"):
        opened(**{name: value})


def test_a_source_of_the_mix_without_a_selection_is_refused(
    triplets: Layout, tmp_path: Path
) -> None:
    selection = select("main", "targets", "true", triplets, tmp_path)
    with pytest.raises(UserError, match="fill50k"):
        Loader([selection], MIX, BATCH, SIZE, seed=0)


# --- ranks, ends, limits


def joined(parts: list[list[Batch]]) -> list[tuple[str, int, bytes, float]]:
    """(key, seed, pixels, weight) of every sample, the ranks' slices put together again."""
    batches = [batch for step in zip(*parts, strict=True) for batch in step]
    return [
        (b.keys[i], int(b.sample_seed[i]), b.images["target"].pixels[i].numpy().tobytes(),
         float(b.weights[i]))
        for b in batches for i in range(len(b))
    ]  # fmt: skip


@pytest.mark.parametrize("world", [1, 2, 4, 6])
def test_the_ranks_together_are_one_stream(opened: Open, world: int) -> None:
    whole = joined([take(opened(), 9)])
    parts = [take(opened(rank=rank, world=world, workers=rank % 3), 9) for rank in range(world)]
    assert joined(parts) == whole
    sizes = [len(part[0]) for part in parts]
    assert sum(sizes) == BATCH
    assert max(sizes) - min(sizes) <= 1


def test_every_rank_sees_both_tasks_at_batch_one(opened: Open) -> None:
    for rank in range(4):
        found = Counter(
            batch.tasks[int(batch.task[0])]
            for batch in take(opened(batch_size=4, rank=rank, world=4), 80)
        )
        assert set(found) == {"main", "fill50k"}
        assert 8 <= found["fill50k"] <= 35


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 4])
def test_an_end_fills_up_the_last_batch_at_weight_nothing(
    opened: Open, workers: int, world: int
) -> None:
    stop = 2 * BATCH + 1
    parts = [
        list(opened(rank=rank, world=world, stop=stop, workers=workers)) for rank in range(world)
    ]
    assert {len(part) for part in parts} == {3}  # on every rank, so none waits for another
    found = joined(parts)
    assert len(found) == 3 * BATCH
    assert [weight > 0 for *_, weight in found] == [True] * stop + [False] * (3 * BATCH - stop)
    assert [x[:3] for x in found] == [x[:3] for x in joined([take(opened(), 3)])]


def test_another_number_of_ranks_goes_on_where_the_first_stood(opened: Open) -> None:
    straight = joined([take(opened(), 6)])
    first = [opened(rank=rank, world=2) for rank in range(2)]
    head = joined([take(loader, 4) for loader in first])
    states = [json.loads(json.dumps(loader.state_dict())) for loader in first]
    assert states[0] == states[1]
    rest = [opened(rank=rank, world=3, workers=2) for rank in range(3)]
    for loader in rest:
        loader.load_state_dict(states[0])
    assert head + joined([take(loader, 2) for loader in rest]) == straight


def test_blocks_are_part_of_the_order(opened: Open) -> None:
    assert joined([take(opened(block=4), 5)]) != joined([take(opened(), 5)])
    loader = opened(block=4)
    with pytest.raises(UserError, match="block was 1 and is 4"):
        loader.load_state_dict(opened().state_dict())


def test_what_is_random_about_a_sample_is_the_same_everywhere(opened: Open) -> None:
    augment = Augment("random", least_scale=0.5, flip=0.5, caption_dropout=0.5)
    whole = take(opened(augment=augment), 6)
    assert len({tuple(b.images["target"].flipped.tolist()) for b in whole}) > 1
    captions = [caption for batch in whole for caption in batch.captions]
    assert 0 < captions.count("") < len(captions)
    parts = [take(opened(augment=augment, rank=rank, world=3, workers=2), 6) for rank in range(3)]
    assert joined(parts) == joined([whole])
    again = [c for row in zip(*parts, strict=True) for batch in row for c in batch.captions]
    assert again == captions


def test_fewer_batches_are_decoded_ahead_where_memory_is_short(opened: Open) -> None:
    one = BATCH * 3 * SIZE * SIZE * 3
    whole = opened(workers=2, prefetch=5).max_bytes_in_flight
    reading = whole - 8 * one  # five ahead, one being made, one finished, one in use
    assert 2 * MAX_READ_BYTES < reading < 2 * MAX_READ_BYTES + one
    capped = opened(workers=2, prefetch=5, max_bytes=reading + 4 * one + 7)
    assert capped.prefetch == 1
    assert capped.max_bytes_in_flight == reading + 4 * one
    assert digest(take(capped, 4)) == digest(take(opened(), 4))
    with pytest.raises(UserError, match="take smaller batches or a larger cap"):
        opened(workers=2, max_bytes=reading + 2 * one)


@pytest.mark.parametrize(
    "wrong", [{"rank": 2, "world": 2}, {"rank": -1}, {"world": 7}, {"block": 0}]
)
def test_impossible_ranks_and_blocks_are_refused(opened: Open, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError):
        opened(**wrong)
