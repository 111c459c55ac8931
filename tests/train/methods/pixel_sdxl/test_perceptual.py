"""LPIPS as a loss, beside its package with the same random trunk."""

from pathlib import Path

import lpips
import pytest
import torch
import torchvision
from torch.nn import functional

from toolkit.core.errors import UserError
from toolkit.encoders.lpips_network import load_network
from train.methods.pixel_sdxl.perceptual import Perceptual

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    state = torchvision.models.vgg16(weights=None).features.state_dict()
    torch.save({f"features.{name}": value for name, value in state.items()}, path)
    return path


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.rand(2, 3, 64, 48, generator=generator) * 2.4 - 1.2 for _ in range(2))
    return one, other


def test_it_is_the_packages_at_half_size(weights: Path) -> None:
    one, other = pair()
    found = Perceptual(str(weights), CPU)(one, other)
    halves = [
        functional.interpolate(v.clamp(-1, 1), scale_factor=0.5, mode="bilinear")
        for v in (one, other)
    ]
    expected = load_network("vgg", weights)(*halves).flatten()
    assert isinstance(load_network("vgg", weights), lpips.LPIPS)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert Perceptual(str(weights), CPU)(one, one).abs().max() < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_its_gradients_are_numbers_where_the_package_has_none(
    weights: Path, dtype: torch.dtype
) -> None:
    """Activations whose squares are rounded to 0: the root of their sum has no derivative there."""
    network = Perceptual(str(weights), CPU)
    with torch.no_grad():
        first, second, *_ = (
            m for m in network._network.net.modules() if isinstance(m, torch.nn.Conv2d)
        )
        for layer in (first, second):
            layer.weight.mul_(1e-25)
            layer.bias.fill_(1e-25)
    found = torch.full((1, 3, 32, 32), -0.5, dtype=dtype, requires_grad=True)
    other = torch.zeros(1, 3, 32, 32, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
        loss = network(found, other)
    assert loss.dtype == torch.float32
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert found.grad is not None
    assert torch.isfinite(found.grad).all()
    again = torch.full((1, 3, 32, 32), -0.5, requires_grad=True)
    halves = (network._half(values) for values in (again, other))
    network._network(*halves).sum().backward()
    assert again.grad is not None
    assert not torch.isfinite(again.grad).all()


def test_without_weights_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"none.pth: there is no such file"):
        Perceptual(str(tmp_path / "none.pth"), CPU)
    with pytest.raises(UserError, match=r"is not there: python -c .*vgg16.* gets it"):
        Perceptual("", CPU)
