"""The probe of domains and the baselines beside it."""

import pytest
import torch

from eval.domains import adain, colour_transfer, fit_probe, statistics


def fields(count: int, seed: int, level: float, roughness: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 4, 2, 2, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=8, mode="bilinear")
    return level + smooth + roughness * torch.randn(count, 4, 8, 8, generator=generator)


def test_domains_of_other_statistics_are_told_apart_and_equal_ones_are_not() -> None:
    kinds = ((0.0, 0.1), (0.0, 1.0), (1.5, 0.1))
    train = torch.cat([fields(40, n, *kind) for n, kind in enumerate(kinds)])
    held_out = torch.cat([fields(40, 10 + n, *kind) for n, kind in enumerate(kinds)])
    domains = torch.arange(3).repeat_interleave(40)
    for with_slopes in (False, True):
        probe = fit_probe(statistics(train, with_slopes), domains, with_slopes)
        assert (probe.predict(held_out) == domains).double().mean() > 0.95
    alike = torch.cat([fields(40, 20, 0, 1), fields(40, 21, 0, 1)])
    others = torch.cat([fields(200, 22, 0, 1), fields(200, 23, 0, 1)])
    probe = fit_probe(statistics(alike, True), torch.arange(2).repeat_interleave(40), True)
    right = (probe.predict(others) == torch.arange(2).repeat_interleave(200)).double()
    assert right.mean() == pytest.approx(0.5, abs=0.1)


def test_only_slopes_tell_domains_of_equal_moments_apart() -> None:
    """The same values in another order: stripes, and the same pixels shuffled."""
    values = torch.sin(torch.arange(64) / 8).reshape(8, 8).expand(40, 4, 8, 8)
    values = values + 0.1 * torch.randn(40, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    both = torch.cat([values, values.flatten(2)[..., order].reshape(values.shape)])
    domains = torch.arange(2).repeat_interleave(40)
    by_slopes = fit_probe(statistics(both, True), domains, True).predict(both) == domains
    by_moments = fit_probe(statistics(both, False), domains, False).predict(both) == domains
    assert by_slopes.all()
    assert by_moments.double().mean() < 0.6


def test_the_fit_is_the_optimum_of_its_penalised_likelihood() -> None:
    """There the gradient of each weight vanishes, and domains of any number count alike."""
    latents = torch.cat([fields(30, 1, 0, 0.5), fields(10, 2, 0.3, 0.8)])
    domains = torch.tensor([0] * 30 + [1] * 10)
    probe = fit_probe(statistics(latents, True), domains, with_slopes=True, decay=0.1)
    features = (statistics(latents, True) - probe.mean) / probe.std
    error = torch.softmax(probe.logits(latents), 1) - torch.eye(2, dtype=torch.double)[domains]
    share = torch.where(domains == 0, 1 / 60, 1 / 20)[:, None]
    gradient = features.T @ (error * share) + 2 * 0.1 * probe.weight
    assert gradient.abs().max() < 1e-4
    assert (error * share).sum(0).abs().max() < 1e-4


def test_adain_gives_the_style_its_moments_and_keeps_the_order() -> None:
    content, style = fields(3, 1, 0, 1), fields(3, 2, 2, 0.3)
    found = adain(content, style)
    torch.testing.assert_close(found.mean((2, 3)), style.mean((2, 3)))
    torch.testing.assert_close(found.std((2, 3)), style.std((2, 3)))
    assert torch.equal(found.flatten(2).argsort(2), content.flatten(2).argsort(2))
    torch.testing.assert_close(adain(content, content), content)


def test_colours_take_mean_and_covariance_of_the_style() -> None:
    generator = torch.Generator().manual_seed(1)
    content = torch.randn(2, 3, 16, 16, generator=generator) * 0.05
    mixing = torch.tensor([[0.1, 0.05, 0.0], [0.0, 0.08, 0.02], [0.03, 0.0, 0.06]])
    style = torch.einsum("ij,njhw->nihw", mixing, torch.randn(2, 3, 16, 16, generator=generator))
    style = style + torch.tensor([0.1, -0.2, 0.3])[None, :, None, None]
    found = colour_transfer(content, style)
    for n in range(2):
        ours, theirs = (v[n].flatten(1) for v in (found, style))
        torch.testing.assert_close(ours.mean(1), theirs.mean(1), atol=1e-4, rtol=0)
        torch.testing.assert_close(ours.cov(), theirs.cov(), atol=2e-4, rtol=0)
    same = colour_transfer(content, content)
    torch.testing.assert_close(same, content, atol=1e-4, rtol=0)
