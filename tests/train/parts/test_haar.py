"""The Haar transform: an exact inverse, norms kept, and the coefficients of PyWavelets."""

import numpy as np
import pytest
import pywt
import torch

from train.parts.haar import haar, inverse_haar


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_inverse_gives_the_pixels_back(levels: int) -> None:
    pixels = torch.rand(
        2, 3, 32, 16, generator=torch.Generator().manual_seed(0), dtype=torch.double
    )
    latents = haar(pixels, levels)
    assert latents.shape == (2, 3 * 4**levels, 32 >> levels, 16 >> levels)
    assert torch.allclose(inverse_haar(latents, levels), pixels, atol=1e-14)


def test_orthonormal() -> None:
    a, b = torch.randn(2, 1, 3, 16, 16, dtype=torch.double)
    assert torch.allclose((haar(a) * haar(b)).sum(), (a * b).sum())


def test_whole_numbers_survive_exactly_in_float32() -> None:
    pixels = torch.randint(0, 256, (1, 3, 16, 16)).float()
    assert torch.equal(inverse_haar(haar(pixels)), pixels)


def test_one_level_agrees_with_pywavelets() -> None:
    pixels = np.random.default_rng(1).random((8, 8))
    mean, (horizontal, vertical, diagonal) = pywt.dwt2(pixels, "haar")
    ours = haar(torch.from_numpy(pixels)[None, None], 1)[0].numpy()
    # PyWavelets names details by edge direction: "horizontal" is the difference down the rows
    np.testing.assert_allclose(ours, [mean, vertical, horizontal, diagonal], atol=1e-12)
