"""Guidance of velocities."""

import pytest
import torch

from train.parts.guidance import guided, guided_zero_star


def test_weights_0_and_1_are_the_velocities_themselves() -> None:
    c, u = torch.randn(2, 3, 4, 5)
    assert torch.equal(guided(c, u, 0), u)
    torch.testing.assert_close(guided(c, u, 1), c)
    torch.testing.assert_close(guided_zero_star(c, u, 1), c)
    torch.testing.assert_close(guided(c, u, 3) - c, 2 * (c - u))


def test_zero_star_does_not_care_how_long_the_unconditional_velocity_is() -> None:
    """Its factor is the best for each sample: nothing nearer to v_c lies on the line of v_u."""
    c, u = torch.randn(2, 3, 4, 5)
    found = guided_zero_star(c, u, 2.5)
    torch.testing.assert_close(guided_zero_star(c, u * 7, 2.5), found)
    scaled = (found - 2.5 * c) / (1 - 2.5)  # s·v_u
    for sample in range(3):
        residual = (c - scaled)[sample].flatten() @ u[sample].flatten()
        assert abs(float(residual)) < 1e-4
    parallel = guided_zero_star(c, c * 0.3, 4.0)
    torch.testing.assert_close(parallel, c)
    assert not torch.allclose(guided(c, c * 0.3, 4.0), c)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_number_formats_stay(dtype: torch.dtype) -> None:
    c, u = torch.randn(2, 3, 4, 5).to(dtype)
    assert guided_zero_star(c, u, 2.0).dtype == dtype
