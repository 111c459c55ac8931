"""Pictures as networks take them: uint8 [H,W,3] to tensors."""

from typing import Any

import numpy as np

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def shortest_side(pixels: np.ndarray, side: int) -> np.ndarray:
    """Resized so that the shorter side is `side`, by Pillow's bicubic filter, which looks at all
    pixels of a larger picture (antialiasing), in integer arithmetic."""
    height, width = pixels.shape[:2]
    least = min(height, width)
    if least == side:
        return pixels
    return resized(pixels, round(height * side / least), round(width * side / least), "bicubic")


def centre(pixels: np.ndarray, side: int) -> np.ndarray:
    """The central square."""
    top, left = (max(0, n - side) // 2 for n in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def resized(pixels: np.ndarray, height: int, width: int, filter_name: str) -> np.ndarray:
    """By one of Pillow's filters, antialiased: uint8 [height,width,3]."""
    from PIL import Image

    how = Image.Resampling[filter_name.upper()]
    return np.asarray(Image.fromarray(pixels).resize((width, height), how))


def as_batch(pixels: np.ndarray, device: str) -> Any:
    """uint8 [1,3,H,W]."""
    import torch

    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].to(device)


def as_unit(pixels: np.ndarray, device: str) -> Any:
    """float32 [1,3,H,W] in [0,1]."""
    return as_batch(pixels, device).float() / 255


def imagenet(pixels: np.ndarray, device: str) -> Any:
    """float32 [1,3,H,W], less ImageNet's mean, over its deviation, as torchvision's networks take
    it."""
    import torch

    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1, 1)
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return (as_unit(pixels, device) - mean) / std
