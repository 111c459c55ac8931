"""Flow paths and solvers against closed forms."""

import torch

from train.parts.flow import interpolate, velocity_from_data, velocity_loss


def test_path_ends_at_noise_and_data() -> None:
    data, noise = torch.randn(2, 3, 4, 5)
    assert torch.equal(interpolate(data, noise, torch.zeros(3)), noise)
    assert torch.equal(interpolate(data, noise, torch.ones(3)), data)


def test_velocity_of_the_true_data_is_the_path_derivative() -> None:
    data, noise = torch.randn(2, 3, 4, dtype=torch.double)
    t, h = torch.tensor([0.1, 0.5, 0.9], dtype=torch.double), 1e-6
    slope = (interpolate(data, noise, t + h) - interpolate(data, noise, t - h)) / (2 * h)
    found = velocity_from_data(data, interpolate(data, noise, t), t)
    assert torch.allclose(found, slope, atol=1e-8)


def test_velocity_stays_finite_at_the_end() -> None:
    assert torch.isfinite(
        velocity_from_data(torch.ones(1, 2), torch.zeros(1, 2), torch.ones(1))
    ).all()


def test_loss_is_the_squared_velocity_error() -> None:
    """Independent: the difference of two velocities of one point, squared and averaged."""
    data, guess, x = torch.randn(3, 4, 6, dtype=torch.double)
    t = torch.tensor([0.0, 0.3, 0.6, 0.75], dtype=torch.double)
    difference = velocity_from_data(guess, x, t) - velocity_from_data(data, x, t)
    assert torch.allclose(velocity_loss(guess, data, t, 0.2), difference.square().mean(1))
    # behind 1 − floor the weight stays what it was there
    late = velocity_loss(guess, data, torch.full((4,), 0.99, dtype=torch.double), 0.2)
    assert torch.allclose(late, (guess - data).square().mean(1) * 25)
