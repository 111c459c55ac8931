"""LoRAs made smaller and put together, against whole matrices."""

from pathlib import Path

import pytest
import torch

from toolkit.core.errors import UserError
from train.lora.change import add_to, merged, resized
from train.lora.weights import Lora, LoraLayer


def layer(rank: int, alpha: float, seed: int = 0, kernel: int = 0) -> LoraLayer:
    generator = torch.Generator().manual_seed(seed)
    window = (kernel, kernel) if kernel else ()
    down = torch.randn(rank, 7, *window, generator=generator)
    up = torch.randn(9, rank, *([1, 1] if kernel else []), generator=generator)
    return LoraLayer(down, up, alpha)


@pytest.mark.parametrize("kernel", [0, 3])
def test_resized_is_the_truncated_decomposition_of_the_whole(kernel: int) -> None:
    before = layer(6, 2.5, kernel=kernel)
    found, kept = resized(Lora({"unet": {"a": before}}), 2)
    after = found.layers["unet"]["a"]
    u, s, v = torch.linalg.svd(before.delta().double().flatten(1), full_matrices=False)
    expected = (u[:, :2] * s[:2]) @ v[:2]
    torch.testing.assert_close(after.delta().double().flatten(1), expected, rtol=0, atol=1e-5)
    assert after.rank == 2
    assert after.alpha / after.rank == pytest.approx(before.alpha / before.rank)
    assert kept == pytest.approx(float(s[:2].square().sum() / s.square().sum()), rel=1e-6)


def test_a_larger_rank_changes_nothing() -> None:
    before = layer(3, 1.0)
    found, kept = resized(Lora({"unet": {"a": before}}), 5)
    assert found.layers["unet"]["a"] is before
    assert kept == pytest.approx(1.0)
    with pytest.raises(UserError, match="takes 1 or more"):
        resized(found, 0)


def test_merged_changes_are_the_weighted_sum() -> None:
    one = Lora({"unet": {"a": layer(3, 6.0), "b": layer(2, 1.0, 1)}})
    two = Lora({"unet": {"a": layer(4, 1.0, 2)}, "text_encoder": {"c": layer(1, 1.0, 3)}})
    found = merged([one, two], [0.5, -2.0])
    expected = 0.5 * one.layers["unet"]["a"].delta() - 2 * two.layers["unet"]["a"].delta()
    torch.testing.assert_close(found.layers["unet"]["a"].delta(), expected, rtol=1e-5, atol=1e-5)
    assert found.layers["unet"]["a"].rank == 7
    assert {(c, p) for c, p, _ in found} == {("unet", "a"), ("unet", "b"), ("text_encoder", "c")}
    odd = LoraLayer(torch.randn(1, 5), torch.randn(9, 1), 1.0)
    with pytest.raises(UserError, match="a has other sizes"):
        merged([one, Lora({"unet": {"a": odd}})], [1, 1])


def test_weights_get_the_change_times_the_scale(tmp_path: Path) -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(7, 9)})
    before = model["a"].weight.detach().clone()
    lora = Lora({"unet": {"a": layer(3, 6.0)}})
    assert add_to({"unet": model}, lora, 0.5) == 63
    down, up = lora.layers["unet"]["a"].down, lora.layers["unet"]["a"].up
    torch.testing.assert_close(model["a"].weight, before + up @ down, rtol=1e-5, atol=1e-5)
    for wrong, says in (
        (Lora({"text_encoder": {"a": layer(1, 1)}}), "which this model has not"),
        (Lora({"unet": {"z": layer(1, 1)}}), "it changes unet.z"),
        (
            Lora({"unet": {"a": LoraLayer(torch.zeros(1, 3), torch.zeros(9, 1), 1)}}),
            "the model has",
        ),
    ):
        with pytest.raises(UserError, match=says):
            add_to({"unet": model}, wrong)
