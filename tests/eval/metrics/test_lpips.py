"""LPIPS: the trunk is put in the right place, and missing weights are said to be missing."""

import numpy as np
import pytest
import torch

from eval.metrics.api import MissingWeights
from eval.metrics.lpips import load_network, metric_with, open_metric


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    import torchvision

    torch.manual_seed(1)
    model = torchvision.models.alexnet(weights=None).eval()
    path = tmp_path_factory.mktemp("lpips") / "trunk.pth"
    torch.save(model.state_dict(), path)
    return model, path


def test_equals_the_definition_over_torchvisions_own_network(trunk) -> None:
    """Zhang et al. 2018, Eq. 1: normalised differences of five ReLU layers, weighed per channel.

    The features come from torchvision's module itself, the linear weights from the package's file.
    """
    import importlib.resources

    model, path = trunk
    metric = metric_with(load_network(path))
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    file = importlib.resources.files("lpips") / "weights" / "v0.1" / "alex.pth"
    with importlib.resources.as_file(file) as local:
        linear = torch.load(local, map_location="cpu", weights_only=True)
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)

    def features(pixels: np.ndarray) -> list[torch.Tensor]:
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
        x, found = (x - shift) / scale, []
        for layer in model.features:
            x = layer(x)
            if isinstance(layer, torch.nn.ReLU):
                found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    total = 0.0
    with torch.no_grad():
        for index, (x, y) in enumerate(zip(features(a), features(b), strict=True)):
            weight = linear[f"lin{index}.model.1.weight"]
            total += float(((x - y).square() * weight).sum(1).mean())
    assert metric.score(a, b) == pytest.approx(total, rel=1e-4)


def test_missing_weights_name_the_command(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingWeights, match="alexnet") as caught:
        open_metric()
    assert "233 MB" in str(caught.value)
    assert caught.value.command.startswith("python -c")


def test_weights_in_torch_home_are_found(monkeypatch, tmp_path, trunk) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(trunk[0].state_dict(), folder / "alexnet-owt-7be5be79.pth")
    assert open_metric().name == "lpips"
