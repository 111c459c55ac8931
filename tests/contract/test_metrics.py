"""What every metric must do, found by file name: a new one is tested by existing."""

import importlib

import numpy as np
import pytest

from eval.metrics import metric_names, open_metric
from eval.metrics.api import Metric, MissingWeights


def picture(seed: int, size: int = 48) -> np.ndarray:
    """A smooth random picture, so that it has colours and edges."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).random((size, size, 3))
    smooth = gaussian_filter(noise, (3, 3, 0))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return (smooth * 255).astype(np.uint8)


def opened(name: str, random_lpips) -> Metric:
    """The metric, with random weights where real ones are missing: enough for its invariants."""
    try:
        return open_metric(name)
    except MissingWeights:
        return importlib.import_module(f"eval.metrics.{name}").metric_with(random_lpips)


@pytest.fixture(scope="module")
def random_lpips(tmp_path_factory):
    """LPIPS over a randomly initialised AlexNet, saved and loaded as the real file would be."""
    import torch
    import torchvision

    from eval.metrics.lpips import load_network

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), path)
    return load_network(path)


@pytest.mark.parametrize("name", metric_names())
def test_identity_is_best_and_a_disturbed_picture_is_worse(name: str, random_lpips) -> None:
    metric = opened(name, random_lpips)
    reference = picture(0)
    noise = np.random.default_rng(1).integers(-60, 60, reference.shape)
    worse = np.clip(reference.astype(int) + noise, 0, 255).astype(np.uint8)
    same, off = metric.score(reference, reference), metric.score(worse, reference)
    best = {"higher": 1.0, "lower": 0.0}[metric.better]
    assert same == pytest.approx(best, abs=1e-6)
    assert (off < same) if metric.better == "higher" else (off > same)


@pytest.mark.parametrize("name", metric_names())
def test_symmetric_and_leaves_its_input_alone(name: str, random_lpips) -> None:
    metric = opened(name, random_lpips)
    a, b = picture(2), picture(3)
    copies = a.copy(), b.copy()
    assert metric.score(a, b) == pytest.approx(metric.score(b, a), abs=1e-5)
    assert np.array_equal(a, copies[0])
    assert np.array_equal(b, copies[1])


@pytest.mark.parametrize("name", metric_names())
def test_says_what_it_is(name: str, random_lpips) -> None:
    metric = opened(name, random_lpips)
    assert metric.name == name
    assert metric.extractor
    assert importlib.import_module(f"eval.metrics.{name}").__doc__
