"""Batches move to a device whole: every tensor that a method may touch goes along."""

import dataclasses

import torch

from toolkit.stream.batch import Batch, ImageSet


def make() -> Batch:
    images = ImageSet(
        pixels=torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4),
        present=torch.tensor([True, False]),
        keys=("a", ""),
        original_size=torch.zeros(2, 2, dtype=torch.int64),
        crop_offset=torch.zeros(2, 2, dtype=torch.int64),
        flipped=torch.zeros(2, dtype=torch.bool),
    )
    return Batch(
        tasks=("main",),
        task=torch.zeros(2, dtype=torch.int64),
        images={"target": images},
        keys=("a", "b"),
        captions=("", ""),
        style_names=(None, "Cubism"),
        weights=torch.ones(2),
        sample_seed=torch.tensor([1, 2]),
        features={"latent": (torch.ones(2, 4), torch.tensor([True, True]))},
        num_substituted=1,
        cursor={"position": 2},
    )


def test_all_but_the_seeds_and_frames_move() -> None:
    """`meta` is a device without memory: what arrived there is seen, what was left behind too.

    Seeds and frames are read by the host only.
    """
    batch = make().to("meta")
    tensors = [batch.task, batch.weights, *batch.features["latent"]]
    tensors += [batch.images["target"].pixels, batch.images["target"].present]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert batch.sample_seed.device.type == "cpu"


def test_everything_else_stays_as_it_was() -> None:
    batch, moved = make(), make().to("cpu")
    for field in dataclasses.fields(batch):
        if field.name in ("keys", "captions", "style_names", "tasks", "num_substituted", "cursor"):
            assert getattr(moved, field.name) == getattr(batch, field.name)
    assert torch.equal(moved.images["target"].pixels, batch.images["target"].pixels)
    assert moved.images["target"].keys == ("a", "")
    assert len(moved) == 2


def test_floats_run_from_minus_one_to_one_and_absent_ones_are_zero() -> None:
    images = make().images["target"]
    extremes = dataclasses.replace(
        images, pixels=torch.tensor([[0], [255]], dtype=torch.uint8).reshape(2, 1, 1, 1),
        present=torch.tensor([True, True]),
    )  # fmt: skip
    assert extremes.floats().flatten().tolist() == [-1.0, 1.0]
    assert (images.floats()[1] == 0).all()
    assert images.floats()[0].std() > 0
