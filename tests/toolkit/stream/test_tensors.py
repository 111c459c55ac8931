"""Sidecar tensors in batches: the same stream as of pictures, whatever reads it."""

import io
import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset

from tests import twins
from toolkit.core.errors import UserError
from toolkit.encode import main
from toolkit.encoders.api import open_encoder
from toolkit.encoding.views import Views
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader
from toolkit.stream.augment import Augment
from toolkit.stream.batch import Batch
from toolkit.stream.decode import decode_cut
from toolkit.stream.partners import Partners
from toolkit.stream.tensors import TensorReader

NAMES = ("main", "fill50k")
Encode = Callable[..., None]


@pytest.fixture
def encoded(call: Any, triplets: Layout) -> Encode:
    """Encodes all datasets by the Haar transform; `encoded("--flip")`."""

    def start(*flags: str, where: str = "true") -> None:
        done = call(main, where, "--encoder=haar", "--target_size=32", "--sidecar=latents", *flags,
                    triplets)  # fmt: skip
        assert done.code == 0, done.err

    return start


@pytest.fixture
def latents(choose: Any, tmp_path: Path) -> Callable[..., TensorReader]:
    def start(role: str = "target", name: str = "", **more: Any) -> TensorReader:
        chosen = [choose(source) for source in NAMES]
        cache = tmp_path / "cache"
        return TensorReader(name or f"{role} latent", role, "latents", chosen, cache=cache, **more)

    return start


def arrays_of(layout: Layout, dataset: str) -> dict[str, dict[str, np.ndarray]]:
    """Key to arrays, as webdataset reads them."""
    found = {}
    for tar in sorted((layout.shards / dataset / "sidecars" / "latents").glob("*.tar")):
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False):
            arrays = {k: np.load(io.BytesIO(v)) for k, v in sample.items() if k.endswith(".npy")}
            found[sample["__key__"]] = arrays
    return found


def facts(batch: Batch) -> list[tuple[Any, ...]]:
    rows = []
    for i in range(len(batch)):
        tensors = tuple(
            (name, values[i].numpy().tobytes(), mask[i].numpy().tobytes())
            for name, (values, mask) in sorted(batch.features.items())
        )
        rows.append((batch.keys[i], int(batch.sample_seed[i]), float(batch.weights[i]), tensors))
    return rows


def test_each_sample_has_the_tensor_of_its_own_picture(
    encoded: Encode, latents: Any, opened: Any, triplets: Layout
) -> None:
    encoded()
    readers = [latents(role) for role in ("target", "content", "style")]
    loader = opened(2, features=readers)
    targets, photos, paintings, circles = (
        arrays_of(triplets, name) for name in ("targets", "photos", "paintings", "circles")
    )
    for batch in itertools.islice(loader, 12):
        for i, key in enumerate(batch.keys):
            is_main = batch.task[i] == 0
            expected = {
                "target": targets[key]["latent.npy"] if is_main
                else circles[key]["target.latent.npy"],
                "content": photos[batch.images["content"].keys[i]]["latent.npy"] if is_main
                else circles[key]["source.latent.npy"],
                "style": paintings[batch.images["style"].keys[i]]["latent.npy"] if is_main
                else None,
            }  # fmt: skip
            for role, array in expected.items():
                values, mask = batch.features[f"{role} latent"]
                assert bool(mask[i]) == (array is not None)
                wanted = np.zeros(values.shape[1:]) if array is None else array
                assert np.array_equal(values[i].numpy(), wanted)


def test_the_stream_of_latents_does_not_depend_on_workers_ranks_or_where_it_was_left(
    encoded: Encode, latents: Any, opened: Any, triplets: Layout, spoil: Any
) -> None:
    """With one target that does not decode, so could not be encoded either."""
    spoil(triplets, "targets", "target03")
    encoded("--flip")
    more = {
        "features": [latents("target"), latents("content")], "roles": (), "stop": 70,
        "augment": Augment(flip=0.5, caption_dropout=0.2),
    }  # fmt: skip
    plain = opened(**more)
    batches = list(plain)
    assert len(plain.failures) == 1
    assert "main/target03: target target03: not encoded" in plain.failures[0]
    expected = [row for batch in batches for row in facts(batch)]
    for workers, processes, world in itertools.product((0, 1, 3), (0, 2), (1, 2, 4)):
        if workers and processes:
            continue
        ranks = [
            opened(workers, processes=processes, rank=rank, world=world, **more)
            for rank in range(world)
        ]
        turns = zip(*(list(loader) for loader in ranks), strict=True)
        found = [row for turn in turns for batch in turn for row in facts(batch)]
        assert found == expected, (workers, processes, world)
    for step in (1, 5, 11):
        resumed = opened(2, **more)
        resumed.load_state_dict(json.loads(json.dumps(batches[step].cursor)))
        found = [row for batch in resumed for row in facts(batch)]
        assert found == [row for batch in batches[step + 1 :] for row in facts(batch)]


def test_the_same_samples_come_as_with_pixels(
    encoded: Encode, latents: Any, opened: Any, triplets: Layout, spoil: Any
) -> None:
    """What does not decode is replaced by the same one, whether its pixels or its latents are
    read."""
    spoil(triplets, "targets", "target03")
    encoded()
    pixels = list(opened(2, roles=("target",), stop=80))
    tensors = list(opened(2, roles=(), features=[latents()], stop=80))
    assert [b.keys for b in tensors] == [b.keys for b in pixels]
    assert sum(b.num_substituted for b in tensors) == sum(b.num_substituted for b in pixels) > 0


def test_flips_take_the_mirrored_latents(
    encoded: Encode, latents: Any, opened: Any, triplets: Layout
) -> None:
    encoded("--flip")
    loader = opened(2, features=[latents()], augment=Augment(flip=0.5))
    stored, seen = arrays_of(triplets, "targets"), set()
    for batch in itertools.islice(loader, 8):
        flipped = batch.images["target"].flipped
        for i in torch.nonzero(batch.task == 0).flatten().tolist():
            name = "latent_flipped.npy" if flipped[i] else "latent.npy"
            values = batch.features["target latent"][0][i].numpy()
            assert np.array_equal(values, stored[batch.keys[i]][name])
            seen.add(bool(flipped[i]))
    assert seen == {True, False}


def test_style_partners_bring_their_own_latents(
    encoded: Encode, latents: Any, opened: Any, triplets: Layout, choose: Any
) -> None:
    encoded()
    pool = choose("paintings")
    loader = opened(
        2,
        features=[latents("style", pool=pool)],
        partners=Partners(pool, "random"),
        roles=("style",),
    )
    stored = arrays_of(triplets, "paintings")
    keys = set()
    for batch in itertools.islice(loader, 6):
        for i, key in enumerate(batch.images["style"].keys):
            if key:
                keys.add(key)
                values = batch.features["style latent"][0][i].numpy()
                assert np.array_equal(values, stored[key]["latent.npy"])
    assert len(keys) == 4


def test_tokens_are_padded_and_dropped_captions_are_the_empty_text(
    call: Any, triplets: Layout, opened: Any, choose: Any, tmp_path: Path
) -> None:
    from toolkit.encoders.api import open_encoder

    weights = str(twins.t5(tmp_path / "t5"))
    where = "dataset in ('targets','circles')"
    assert call(main, where, "--encoder=t5", f"--weights={weights}", triplets).code == 0
    chosen = [choose(source) for source in NAMES]
    reader = TensorReader("text", "target", "t5", chosen, cache=tmp_path)
    loader = opened(2, roles=(), features=[reader], augment=Augment(caption_dropout=0.4))
    encoder, dropped = open_encoder("t5", weights), 0
    for batch in itertools.islice(loader, 8):
        values, mask = batch.features["text"]
        assert values.shape == (6, 120, 16)
        for i, tokens in enumerate(encoder.encode(list(batch.captions))["tokens"]):
            assert int(mask[i].sum()) == len(tokens)
            assert mask[i, : len(tokens)].all()
            torch.testing.assert_close(
                values[i, : len(tokens)].float(), tokens, atol=2e-3, rtol=2e-3
            )
            assert not values[i, len(tokens) :].any()
            dropped += batch.captions[i] == ""
    assert dropped > 5


@pytest.mark.parametrize("flip", [False, True])
def test_random_crops_show_the_stored_views(
    encoded: Encode, latents: Any, opened: Any, triplets: Layout, flip: bool
) -> None:
    """Each view, decoded, is the cut of the picture that pixels would have been given; content and
    target of a sample are shown the same one."""
    flags = ["--views=3", "--least_scale=0.5", *(["--flip"] if flip else [])]
    encoded(*flags)
    codec, reader = open_encoder("haar"), SampleReader(triplets, "targets")
    cuts = {}
    for key, arrays in arrays_of(triplets, "targets").items():
        assert len(arrays) == 4 * (1 + flip)
        data = reader.picture(key)
        for name, values in arrays.items():
            view = int(name.partition("_view")[2][:1] or 0)
            out = np.zeros((32, 32, 3), np.uint8)
            decode_cut(data, out, Views(3, 0.5).cut(view))
            out = out[:, ::-1] if "_flipped" in name else out
            back = codec.decode(codec.latents(torch.from_numpy(values)[None]))[0]
            assert np.array_equal(((back + 1) * 127.5).round().numpy().transpose(1, 2, 0), out)
        cuts[key] = {values.tobytes(): name for name, values in arrays.items()}
    augment = Augment("random", 0.5, flip=0.5 if flip else 0)
    readers = [latents(), latents("content")]
    seen = Counter[str]()
    for batch in opened(2, roles=(), features=readers, augment=augment, stop=240):
        for i, key in enumerate(batch.keys):
            if key in cuts:
                stored = batch.features["target latent"][0][i].numpy()
                name = cuts[key][stored.tobytes()]
                seen[name.removesuffix(".npy")] += 1
    prefix = next(iter(seen)).partition("latent")[0]
    mirrored = ("", "_flipped") if flip else ("",)
    expected = {f"{prefix}latent_view{n}{m}" for n in (1, 2, 3) for m in mirrored}
    assert set(seen) == expected
    assert max(seen.values()) < 2.5 * min(seen.values())
    plain = opened(2, roles=(), features=[latents()], stop=24)
    for batch in plain:
        for i, key in enumerate(batch.keys):
            if key in cuts:
                stored = batch.features["target latent"][0][i].numpy()
                assert cuts[key][stored.tobytes()] == f"{prefix}latent.npy"


def test_content_and_target_are_shown_the_same_view(
    encoded: Encode, latents: Any, opened: Any, triplets: Layout
) -> None:
    encoded("--views=4", "--least_scale=0.4")
    names = {
        key: {values.tobytes(): name for name, values in arrays.items()}
        for key, arrays in arrays_of(triplets, "circles").items()
    }
    readers, seen = [latents(), latents("content")], set()
    for batch in opened(2, roles=(), features=readers, augment=Augment("random", 0.4), stop=80):
        for i in (batch.task == 1).nonzero().flatten().tolist():
            target, content = (
                names[batch.keys[i]][batch.features[f"{role} latent"][0][i].numpy().tobytes()]
                for role in ("target", "content")
            )
            assert target.removeprefix("target.") == content.removeprefix("source.")
            seen.add(target)
    assert seen == {f"target.latent_view{n}.npy" for n in (1, 2, 3, 4)}


# --- refusals


def test_random_cuts_and_flips_without_mirrored_latents_are_refused(
    encoded: Encode, latents: Any, opened: Any
) -> None:
    encoded()
    with pytest.raises(UserError, match="crop=random: latents holds latents of one cut"):
        opened(features=[latents()], augment=Augment("random"))
    with pytest.raises(UserError, match=r"flip=0\.5: latents has no mirrored latents"):
        opened(features=[latents()], augment=Augment(flip=0.5))
    encoded("--views=2", "--least_scale=0.5", "--overwrite")
    with pytest.raises(UserError, match=r"least_scale=1\.0: the cuts in latents were made with 0"):
        opened(features=[latents()], augment=Augment("random"))


def test_missing_stale_and_partial_sidecars_are_refused(
    encoded: Encode, latents: Any, triplets: Layout
) -> None:
    with pytest.raises(UserError, match="circles has no sidecar latents: make it with python -m"):
        latents()
    encoded(where="style='Cubism' or dataset <> 'targets'")
    with pytest.raises(UserError, match="6 of 13 samples of main are not in the sidecar latents"):
        latents()
    encoded()
    latents()
    path = triplets.manifests / "targets" / "sidecars" / "latents" / "targets-000001.parquet"
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(
        UserError, match=r"targets-000001\.parquet is missing: make it again with python -m toolkit"
    ):
        latents()
    path.write_bytes(data[:100])
    with pytest.raises(UserError, match=r"targets-000001\.parquet is damaged"):
        latents()


def test_a_sidecar_made_from_other_bytes_is_stale(
    encoded: Encode, latents: Any, triplets: Layout, spoil: Any
) -> None:
    encoded()
    spoil(triplets, "targets", "target03")  # and its shard's sha256 with it
    with pytest.raises(UserError, match="is stale, its shard was packed anew"):
        latents()


def test_a_state_is_bound_to_the_recipe(
    encoded: Encode, latents: Any, opened: Any, call: Any, triplets: Layout
) -> None:
    encoded()
    loader = opened(features=[latents()])
    next(iter(loader))
    state = loader.state_dict()
    encoded("--fit=pad", "--overwrite")
    with pytest.raises(UserError, match="cannot resume the data stream: features was"):
        opened(features=[latents()]).load_state_dict(state)


def test_damaged_tensors_are_one_line(
    encoded: Encode, latents: Any, opened: Any, triplets: Layout
) -> None:
    encoded()
    loader = opened(roles=(), features=[latents()])
    for tar in triplets.shards.glob("*/sidecars/latents/*.tar"):
        tar.write_bytes(bytes(tar.stat().st_size))
    with pytest.raises(UserError, match="a tensor of the sidecar latents is damaged: python -m"):
        next(iter(loader))
