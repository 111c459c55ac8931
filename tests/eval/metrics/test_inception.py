"""Inception's features, beside torch-fidelity's own network with the same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from eval.features.inception import open_extractor
from tests.twins import EXTRACTORS


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Normalisations that shift, scale and change signs, as trained ones do."""
    path = EXTRACTORS["inception"](tmp_path_factory.mktemp("inception"))
    state, generator = torch.load(path), torch.Generator().manual_seed(3)
    for name, tensor in state.items():
        if ".bn." in name and tensor.is_floating_point():
            drawn = torch.rand(tensor.shape, generator=generator)
            state[name] = drawn + 0.5 if name.endswith(("weight", "var")) else drawn - 0.5
    torch.save(state, path)
    return path


@pytest.mark.parametrize("shape", [(256, 256), (120, 301)])
def test_they_are_those_of_torch_fidelity(weights: Path, shape: tuple[int, int]) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    theirs = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "64"], str(weights))
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    found = open_extractor(str(weights), "cpu").look(pixels)
    for own, other in zip(found, expected, strict=True):
        assert own.shape == tuple(other[0].shape)
        np.testing.assert_allclose(own, other[0], atol=2e-6 * float(other.abs().max()))
        assert own.std() > 0
