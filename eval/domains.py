"""Which domain a picture is of, by statistics of its latents, and what simpler ways of changing the
domain do."""

from dataclasses import dataclass

import torch

from eval.logistic import logistic_regression


@dataclass(frozen=True)
class Probe:
    """A linear classifier of latent statistics. with_slopes: which of them, see `statistics`. mean,
    std: [F], what features are standardised by; weight [F,K], bias [K]: of K domains."""

    with_slopes: bool
    mean: torch.Tensor
    std: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, latents: torch.Tensor) -> torch.Tensor:
        """float64 [N,K] of latents [N,C,h,w]."""
        features = (statistics(latents, self.with_slopes) - self.mean) / self.std
        return features @ self.weight + self.bias

    def predict(self, latents: torch.Tensor) -> torch.Tensor:
        """int64 [N]."""
        return self.logits(latents).argmax(1)


def statistics(latents: torch.Tensor, with_slopes: bool) -> torch.Tensor:
    """float64 [N,2C]: mean and deviation of each channel of [N,C,h,w], which adaptive instance
    normalisation can give to any picture; [N,4C] with its mean absolute slopes, which it cannot."""
    values = latents.double()
    moments = [values.mean((2, 3)), values.std((2, 3))]
    if not with_slopes:
        return torch.cat(moments, dim=1)
    across = values.diff(dim=3).abs().mean((2, 3))
    down = values.diff(dim=2).abs().mean((2, 3))
    return torch.cat([*moments, across, down], dim=1)


def fit_probe(
    features: torch.Tensor, domains: torch.Tensor, with_slopes: bool, decay: float = 1e-2
) -> Probe:
    """A linear classifier of domains, by logistic regression on standardised features.

    Args:
        features: [N,F], `statistics`.
        domains: int64 [N], each of 0 … K − 1 at least once; each domain counts as much.
        with_slopes: which of them they are.
        decay: weight of the penalty.
    """
    mean, std = features.mean(0), features.std(0).clamp(min=1e-9)
    features = (features - mean) / std
    weight, bias = logistic_regression(features, domains, decay)
    return Probe(with_slopes, mean, std, weight, bias)


def adain(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """Adaptive instance normalisation (Huang & Belongie 2017, eq. 8): content [N,C,h,w] with the
    mean and deviation that each channel of style [N,C,h,w] has."""
    mean, std = content.mean((2, 3), keepdim=True), content.std((2, 3), keepdim=True)
    new_mean, new_std = style.mean((2, 3), keepdim=True), style.std((2, 3), keepdim=True)
    return (content - mean) / std.clamp(min=1e-6) * new_std + new_mean


def colour_transfer(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """Mean and covariance of the colours of style [N,3,H,W] given to content [N,3,H,W], by the
    linear Monge-Kantorovich map (Pitié & Kokaram 2007); both in [-1,1], the result clamped."""
    size = content.shape
    a, b = content.flatten(2).double(), style.flatten(2).double()
    a_mean, b_mean = a.mean(2, keepdim=True), b.mean(2, keepdim=True)
    a_cov, b_cov = (_covariance(v - m) for v, m in ((a, a_mean), (b, b_mean)))
    root = _power(a_cov, 0.5)
    back = _power(a_cov, -0.5)
    middle = _power(root @ b_cov @ root, 0.5)
    moved = back @ middle @ back @ (a - a_mean) + b_mean
    return moved.reshape(size).clamp(-1, 1).to(content.dtype)


def _covariance(centred: torch.Tensor) -> torch.Tensor:
    eye = torch.eye(3, dtype=centred.dtype)
    return centred @ centred.transpose(1, 2) / centred.shape[2] + 1e-6 * eye


def _power(matrix: torch.Tensor, exponent: float) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    powers = values.clamp(min=1e-12) ** exponent
    return vectors @ torch.diag_embed(powers) @ vectors.transpose(1, 2)
