"""The Haar wavelet packet transform: pixels to a small grid of many channels and back.

Orthonormal, so squared errors and Gaussian white noise are the same on both sides, and exactly
inverted by its transpose. Haar 1910; packets: Coifman & Wickerhauser 1992.
"""

import torch


def haar(pixels: torch.Tensor, levels: int = 2) -> torch.Tensor:
    """[N,C,H,W] to [N, C·4^levels, H/2^levels, W/2^levels]; H and W divisible by 2^levels."""
    for _ in range(levels):
        a, b = pixels[..., ::2, ::2], pixels[..., ::2, 1::2]
        c, d = pixels[..., 1::2, ::2], pixels[..., 1::2, 1::2]
        pixels = torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], 1) / 2
    return pixels


def inverse_haar(latents: torch.Tensor, levels: int = 2) -> torch.Tensor:
    """The inverse of `haar` with the same `levels`."""
    for _ in range(levels):
        mean, dx, dy, dxy = latents.chunk(4, dim=1)
        n, c, h, w = mean.shape
        out = latents.new_empty(n, c, h * 2, w * 2)
        out[..., ::2, ::2] = (mean + dx + dy + dxy) / 2
        out[..., ::2, 1::2] = (mean - dx + dy - dxy) / 2
        out[..., 1::2, ::2] = (mean + dx - dy - dxy) / 2
        out[..., 1::2, 1::2] = (mean - dx - dy + dxy) / 2
        latents = out
    return latents
