"""LPIPS, Gram and CFSD against the packages and programs that define them."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.features.api import CannotLook, Extractors
from eval.metrics import cfsd, open_metric
from eval.metrics.api import Metric, Tools
from tests.eval.pictures import disturbed, picture
from tests.twins import EXTRACTORS

TRUNKS = {"lpips": "alex", "lpips_vgg": "vgg", "lpips_squeeze": "squeeze"}
PAIRS = [(0, 1), (0, 0), (2, 3)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root, made = tmp_path_factory.mktemp("weights"), dict[str, str]()

    def get(name: str) -> str:
        if name not in made:
            made[name] = str(EXTRACTORS[name](root / name))
        return made[name]

    return get


def opened(name: str, extractor: str, weights: Any) -> Metric:
    metric = open_metric(name, Tools(Extractors({extractor: weights(extractor)})))
    assert isinstance(metric, Metric)
    return metric


def of(metric: Metric, a: np.ndarray, b: np.ndarray) -> float:
    return metric.score(metric.extractor.look(a), metric.extractor.look(b))


@pytest.mark.parametrize("name", TRUNKS)
@pytest.mark.parametrize("size", [64, 97])
def test_equals_the_package_with_the_same_trunk(name: str, size: int, weights: Any) -> None:
    """The package's own forward pass of both pictures, its trunk filled by torchvision's names."""
    trunk = TRUNKS[name]
    metric = opened(name, f"lpips_{trunk}", weights)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips

        package = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    state = torch.load(weights(f"lpips_{trunk}"), weights_only=True)
    parts = [m for n, m in package.net.named_children() if n.startswith("slice")]
    theirs = {k: t for part in parts for k, t in part.state_dict(keep_vars=True).items()}
    assert len(theirs) == len(state)
    with torch.no_grad():
        for key, tensor in theirs.items():
            tensor.copy_(state[f"features.{key}"])
        for first, second in PAIRS:
            a, b = picture(first, size), disturbed(picture(second, size), 40)
            x, y = (torch.from_numpy(p).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in (a, b))
            assert of(metric, a, b) == pytest.approx(float(package(x, y)), abs=1e-6)


def test_equals_the_definition_over_torchvisions_own_network(weights: Any) -> None:
    """Zhang et al. 2018, Eq. 1: normalised differences of five ReLU layers, weighed per channel.

    The features come from torchvision's module itself, the linear weights from the package's file.
    """
    import importlib.resources

    import torchvision

    model = torchvision.models.alexnet(weights=None).eval()
    state = torch.load(weights("lpips_alex"), weights_only=True)
    model.load_state_dict(state, strict=False)
    metric = opened("lpips", "lpips_alex", weights)
    a, b = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
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
    assert of(metric, a, b) == pytest.approx(total, rel=1e-4)


def test_a_picture_that_is_too_small_is_told_apart_from_a_bug(weights: Any) -> None:
    metric = opened("lpips", "lpips_alex", weights)
    with pytest.raises(CannotLook, match="35 pixels"):
        metric.extractor.look(picture(0, 24))


def activations(weights: Any, pixels: np.ndarray) -> list[torch.Tensor]:
    """relu1_1 … relu5_1 of torchvision's own VGG-19, taken by hooks."""
    import torchvision

    vgg = torchvision.models.vgg
    model = torch.nn.Module()
    model.features = vgg.make_layers(vgg.cfgs["E"])
    model.load_state_dict(torch.load(weights("vgg19"), weights_only=True))
    x = torchvision.transforms.functional.normalize(
        torch.from_numpy(pixels).permute(2, 0, 1).float() / 255,
        [0.485, 0.456, 0.406], [0.229, 0.224, 0.225],
    )  # fmt: skip
    found = []
    for index in (1, 6, 11, 20, 29):
        layer = model.features[index]
        layer.inplace = False
        layer.register_forward_hook(lambda *given: found.append(given[2].detach()[0]))
    with torch.no_grad():
        model.features(x[None])
    return found


def test_gram_is_the_mean_squared_difference_of_correlations(weights: Any) -> None:
    """The entry (i, j) of a Gram matrix is the mean over places and channels of F_i · F_j."""
    a, b = picture(0, 48), picture(1, 48)
    layers = []
    for x, y in zip(activations(weights, a), activations(weights, b), strict=True):
        grams = [torch.einsum("ihw,jhw->ij", f.double(), f.double()) / f.numel() for f in (x, y)]
        layers.append(torch.nn.functional.mse_loss(*grams))
    metric = opened("gram", "vgg19", weights)
    assert of(metric, a, b) == pytest.approx(float(torch.stack(layers).mean()), rel=1e-4)


def test_gram_does_not_see_where_things_are_and_cfsd_does(weights: Any) -> None:
    """A picture shifted around its edges keeps its textures, but not its structure."""
    a = picture(4, 64)
    shifted = np.roll(a, (16, 24), axis=(0, 1))
    other = picture(5, 64)
    gram, cfsd = (opened(name, "vgg19", weights) for name in ("gram", "cfsd"))
    assert of(gram, shifted, a) < 0.3 * of(gram, other, a)
    assert of(cfsd, shifted, a) > 0.5 * of(cfsd, other, a)


def test_cfsd_is_torchs_divergence_of_softmaxed_similarities(weights: Any) -> None:
    a, b = picture(0, 48), picture(1, 48)
    logs = []
    for pixels in (a, b):
        features = activations(weights, pixels)[2].double()
        rows = features.flatten(1).T / len(features)
        logs.append((rows @ rows.T).log_softmax(-1))
    expected = torch.nn.functional.kl_div(logs[0], logs[1], reduction="sum", log_target=True)
    metric = opened("cfsd", "vgg19", weights)
    assert of(metric, a, b) == pytest.approx(float(expected), rel=1e-4)


def test_cfsd_weighs_by_the_contents_similarities() -> None:
    """It is not symmetric, and the tolerance below is a thousandth of the difference."""
    rng = np.random.default_rng(0)
    a, b = 6 * rng.random((8, 5, 5)), 2 * rng.random((8, 5, 5))
    logs = []
    for features in (a, b):
        rows = torch.from_numpy(features).flatten(1).T / 8
        logs.append((rows @ rows.T).log_softmax(-1))
    there, back = (
        float(torch.nn.functional.kl_div(logs[i], logs[1 - i], reduction="sum", log_target=True))
        for i in (0, 1)
    )
    assert abs(there - back) > 1e-3 * there
    assert cfsd.score((a,), (b,)) == pytest.approx(there)
    assert cfsd.score((b,), (a,)) == pytest.approx(back)


def test_weights_where_torch_hub_keeps_them_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Any
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "squeezenet1_1-b8a52dc0.pth").symlink_to(weights("lpips_squeeze"))
    assert open_metric("lpips_squeeze", Tools()).name == "lpips_squeeze"
