"""The style's strength over denoising: its ends, its middle, and that it never falls."""

import math

import pytest
import torch

from train.parts.style_schedule import style_strength

PROGRESS = torch.linspace(0, 1, 101)


def test_values() -> None:
    assert torch.equal(style_strength("none", PROGRESS), torch.ones(101))
    cosine = style_strength("cosine", PROGRESS, low=0.2)
    assert cosine[[0, 50, 100]].tolist() == pytest.approx([0.2, 0.6, 1.0])
    assert cosine[25].item() == pytest.approx(0.2 + 0.8 * (1 - math.sqrt(0.5)) / 2)
    rise = style_strength("piecewise", PROGRESS, low=0.1, begin=0.2, end=0.6)
    assert rise[[0, 20, 40, 60, 100]].tolist() == pytest.approx([0.1, 0.1, 0.55, 1, 1])


@pytest.mark.parametrize("kind", ["piecewise", "cosine"])
def test_it_grows(kind: str) -> None:
    assert (style_strength(kind, PROGRESS).diff() >= 0).all()  # type: ignore[arg-type]
