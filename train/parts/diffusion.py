"""Denoising diffusion in discrete steps: what a network that predicts noise is trained by.

Ho et al. 2020, "DDPM", with the learned variance and the hybrid loss of Nichol & Dhariwal 2021,
"Improved DDPM" (arXiv 2102.09672). Step t is a whole number; t = 0 is the least noise.
"""

import math
from typing import Literal

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

Prediction = Literal["epsilon", "v_prediction", "sample"]
_EDGE = 0.999  # of [-1,1], beyond which a discretised normal takes its whole tail


class Diffusion(nn.Module):
    """A forward process, and losses of its reverse.

    Args:
        kept: ᾱ [T], the share of the data's variance that each step keeps, falling.
        prediction: what the network predicts.
    """

    def __init__(self, kept: torch.Tensor, prediction: Prediction):
        super().__init__()
        self.prediction = prediction
        kept = kept.double()
        before = torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])
        betas = 1 - kept / before
        posterior = betas * (1 - before) / (1 - kept)  # β̃ (DDPM eq. 7), which is 0 at t = 0
        posterior[0] = posterior[1] if len(posterior) > 1 else betas[0]
        tables = {
            "signal": kept.sqrt(), "noise": (1 - kept).sqrt(),
            "data_weight": before.sqrt() * betas / (1 - kept),
            "state_weight": (1 - betas).sqrt() * (1 - before) / (1 - kept),
            "most": betas.log(), "least": posterior.log(),
        }  # fmt: skip
        for name, values in tables.items():
            self.register_buffer(name, values.float(), persistent=False)

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.signal)  # type: ignore[arg-type]

    def noised(self, data: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x_t ~ q(x_t | x_0) (DDPM eq. 4). data, noise: [N,…]; t: int64 [N]."""
        return self._at("signal", t, data) * data + self._at("noise", t, data) * noise

    def target(self, data: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What the network is to predict."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return data
        return self._at("signal", t, data) * noise - self._at("noise", t, data) * data

    def data_of(self, predicted: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x_0 that a prediction at x_t means."""
        signal, noise = self._at("signal", t, x), self._at("noise", t, x)
        if self.prediction == "epsilon":
            return (x - noise * predicted) / signal
        if self.prediction == "sample":
            return predicted
        return signal * x - noise * predicted

    def variational_bound(
        self,
        predicted: torch.Tensor,
        variance: torch.Tensor,
        data: torch.Tensor,
        x: torch.Tensor,
        t: torch.Tensor,
    ) -> torch.Tensor:
        """The term L_t of the variational bound, in bits per dimension: it trains the variance, for
        the mean is held (arXiv 2102.09672, section 4).

        Args:
            predicted: by the network, [N,…].
            variance: of the network, as large: −1 is the posterior's, 1 is β (eq. 15).
            data, x, t: as in `noised`.

        Returns:
            [N].
        """
        share = (variance.float() + 1) / 2
        most, least = self._at("most", t, x), self._at("least", t, x)
        deviation = (0.5 * (share * most + (1 - share) * least)).exp()
        held = self.data_of(predicted.detach().float(), x, t)
        model = Normal(self._posterior_mean(held, x, t), deviation, validate_args=False)
        true_mean = self._posterior_mean(data, x, t)
        true = Normal(true_mean, (0.5 * least).exp().expand_as(true_mean), validate_args=False)
        divergence = kl_divergence(true, model).flatten(1).mean(1)
        likelihood = discretized_log_likelihood(data, model).flatten(1).mean(1)
        return torch.where(t == 0, -likelihood, divergence) / math.log(2)

    def _posterior_mean(self, data: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Of q(x_{t−1} | x_t, x_0) (DDPM eq. 7)."""
        return self._at("data_weight", t, x) * data + self._at("state_weight", t, x) * x

    def _at(self, table: str, t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = getattr(self, table)
        return values[t].reshape(-1, *[1] * (like.ndim - 1))


def discretized_log_likelihood(values: torch.Tensor, model: Normal) -> torch.Tensor:
    """Log-probability of the bin, 2/255 wide, of each value in [-1,1] (DDPM eq. 13), in nats. As
    PixArt-alpha does, it is used on latents too."""
    half = 1 / 255
    above, below = model.cdf(values + half), model.cdf(values - half)
    bins = torch.where(values > _EDGE, 1 - below, above - below)
    bins = torch.where(values < -_EDGE, above, bins)
    return bins.clamp(min=1e-12).log()
