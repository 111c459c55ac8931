"""Pixels as networks take them."""

from typing import Any

import torch


def signed(pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """uint8 [N,3,S,S] as [-1,1]."""
    return (pixels.to(torch.float32) / 127.5 - 1).to(dtype)


def unit(pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """uint8 [N,3,S,S] as [0,1]."""
    return (pixels.to(torch.float32) / 255).to(dtype)


def side_of(processor: Any) -> int:
    """Pixels a side of the pictures that a processor makes."""
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    return int(size["height"] if "height" in size else size["shortest_edge"])


class Normalize:
    """uint8 [N,3,S,S] to what a transformers vision model takes, by its processor's mean and
    standard deviation; resizing and cutting are done before."""

    def __init__(self, processor: Any, device: str, dtype: torch.dtype):
        def channels(values: Any) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)

        self._mean, self._std = channels(processor.image_mean), channels(processor.image_std)
        self.identity = {"mean": list(processor.image_mean), "std": list(processor.image_std)}
        self._device, self._dtype = device, dtype

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        values = unit(pixels.to(self._device), torch.float32)
        return ((values - self._mean) / self._std).to(self._dtype)
