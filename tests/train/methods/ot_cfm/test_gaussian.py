"""Trained on Gaussians of two styles, the method recovers what is known of them in closed form."""

import json

import pytest
import torch

from toolkit.encoders.api import open_encoder
from toolkit.stream.batch import Batch
from train.methods.ot_cfm.config import Config, NetConfig, Stylize
from train.methods.ot_cfm.method import Method

CHANNELS, SIDE, BATCH, STEPS = 4, 8, 64, 400
MEANS = torch.tensor([[0.5, -0.5, 0.0, 0.25], [-0.5, 0.0, 0.25, -0.25]])
SPREADS = torch.tensor([[0.5, 0.25, 0.4, 0.3], [0.25, 0.4, 0.3, 0.5]])


def batch_of(number: int) -> Batch:
    """Half of each style; latents as the Haar transform stores them."""
    generator = torch.Generator().manual_seed(number)
    style = torch.arange(BATCH) % 2
    drawn = torch.randn(BATCH, CHANNELS, SIDE, SIDE, generator=generator)
    values = MEANS[style][:, :, None, None] + SPREADS[style][:, :, None, None] * drawn
    present = torch.ones(BATCH, dtype=torch.bool)
    return Batch(
        tasks=("a", "b"), task=style, images={}, keys=("",) * BATCH, captions=("",) * BATCH,
        style_names=(None,) * BATCH, weights=torch.ones(BATCH),
        sample_seed=torch.arange(BATCH) * 2 + number * 2 * BATCH,
        features={"latent": ((values * 1024).round(), present)},
    )  # fmt: skip


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["independent", "c2ot"])
def trained(request: pytest.FixtureRequest) -> Method:
    net = NetConfig(hidden_dim=32, num_layers=2, style_dim=16, time_dim=32, kernel_size=3,
                    expansion=2, channels=CHANNELS)  # fmt: skip
    encoder = json.dumps(dict(open_encoder("haar").identity))
    config = Config(net=net, styles=("a", "b"), encoder=encoder, coupling=request.param)
    method = Method(config, seed=0)
    method.calibrate(map(batch_of, range(10**6, 10**6 + 20)))
    optimizer = torch.optim.AdamW(method.param_groups(), lr=3e-3)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / STEPS)
        optimizer.zero_grad()
        method.training_loss(method.prepare(batch_of(step))).per_sample.mean().backward()
        optimizer.step()
    return method


def moments(method: Method) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each style's standardised latents, [2,C,1,1] each."""
    mean, std = method.net.mean, method.net.std
    return (MEANS[:, :, None, None] - mean) / std, SPREADS[:, :, None, None] / std


def test_translation_is_the_monotone_map_between_the_gaussians(trained: Method) -> None:
    """Along the exact flow each component goes to the same quantile of the other style, which is
    also the optimal transport between them: m_b + s_b / s_a · (x − m_a)."""
    mean, spread = moments(trained)
    drawn = torch.randn(32, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    x = mean[0] + spread[0] * drawn
    source, target = torch.zeros(32, dtype=torch.long), torch.ones(32, dtype=torch.long)
    how = Stylize(steps=20, guidance=1.0)
    with torch.no_grad():
        noise = trained.translator.invert(x, source, how)
        made = trained.translator.generate(noise, target, how)
    expected = mean[1] + spread[1] * drawn
    assert ((noise - drawn).norm() / drawn.norm()).item() < 0.1
    assert ((made - expected).norm() / expected.norm()).item() < 0.1
    assert ((x - expected).norm() / expected.norm()).item() > 1


def test_velocities_are_the_conditional_means(trained: Method) -> None:
    """u(x, t) = m + (t·s² − (1 − t)) / (t²·s² + (1 − t)²) · (x − t·m), for independent noise."""
    if trained.config.coupling != "independent":
        pytest.skip("the closed form is that of independent noise")
    mean, spread = moments(trained)
    generator = torch.Generator().manual_seed(8)
    for label in (0, 1):
        m, s = mean[label], spread[label]
        for t in (0.1, 0.5, 0.9):
            noise, drawn = torch.randn(2, 32, CHANNELS, SIDE, SIDE, generator=generator)
            x = (1 - t) * noise + t * (m + s * drawn)
            gain = (t * s**2 - (1 - t)) / (t**2 * s**2 + (1 - t) ** 2)
            expected = m + gain * (x - t * m)
            with torch.no_grad():
                found = trained.net(x, torch.full((32,), t), torch.full((32,), label))
            assert ((found - expected).norm() / expected.norm()).item() < 0.2
