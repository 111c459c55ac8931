"""What a picture is to follow: edges or depth of another one, through a ControlNet.

Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models" (arXiv
2302.05543).
The other picture is a content, or, of texts, what the backbone draws of them by itself: so a thing
keeps its shape however strong the style is.
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch

from toolkit.core.errors import UserError
from toolkit.encoders.loading import Pretrained, load, load_model
from train.methods.dreambooth_lora.config import Stylize
from train.methods.prompt_words import Embedded

_USUAL = {  # by the width of the text that a UNet reads
    (768, "edge"): Pretrained("lllyasviel/control_v11p_sd15_canny", "1.4 GB"),
    (768, "depth"): Pretrained("lllyasviel/control_v11f1p_sd15_depth", "1.4 GB"),
    (1024, "edge"): Pretrained("thibaud/controlnet-sd21-canny-diffusers", "1.5 GB"),
    (1024, "depth"): Pretrained("thibaud/controlnet-sd21-depth-diffusers", "1.5 GB"),
    (2048, "edge"): Pretrained("diffusers/controlnet-canny-sdxl-1.0", "5 GB"),
    (2048, "depth"): Pretrained("diffusers/controlnet-depth-sdxl-1.0", "5 GB"),
}
_DEPTH = Pretrained("Intel/dpt-hybrid-midas", "490 MB")
_WEAK, _STRONG = 100 / 255, 200 / 255  # of edges, as ControlNets are usually trained

Residuals = tuple[list[torch.Tensor], torch.Tensor]
"""What is added to the UNet's downward blocks, and to its middle."""


class Controller:
    """A ControlNet and what makes its conditions.

    Args:
        how: kind, weights and scale.
        unet: that it stands beside.
        device: of both.

    Raises UserError: weights that are not there, or of another model.
    """

    def __init__(self, how: Stylize, unet: Any, device: torch.device):
        from diffusers import ControlNetModel

        self._how, self._device = how, device
        width = unet.config.cross_attention_dim
        usual = _USUAL.get((width, how.control))
        if not how.control_net and usual is None:
            raise UserError(f"--control_net=…: name a ControlNet for texts {width} wide")
        net = load_model(
            ControlNetModel.from_pretrained, how.control_net or None,
            usual or Pretrained(how.control_net, "unknown size"), flag="--control_net",
        )  # fmt: skip
        if net.config.cross_attention_dim != width:
            raise UserError(
                f"--control_net={how.control_net}: reads texts {net.config.cross_attention_dim} "
                f"wide, the backbone {width}: it is of another model"
            )
        self._net = net.eval().requires_grad_(False).to(device, unet.dtype)

    def condition(self, pictures: torch.Tensor) -> torch.Tensor:
        """float [N,3,S,S] in [0,1]: edges, or depth, near is white. pictures: float [N,3,S,S] in
        [-1,1]."""
        if self._how.control == "edge":
            found = torch.stack([_edges(picture) for picture in pictures.cpu()])
        else:
            found = self._depth(pictures)
        return found[:, None].expand(-1, 3, -1, -1).to(self._device)

    def residuals(
        self, x: torch.Tensor, t: torch.Tensor, text: Embedded, condition: torch.Tensor, added: Any
    ) -> Residuals:
        """What is added to the UNet. added: as the UNet's `added_cond_kwargs`."""
        down, middle = self._net(
            x, t, encoder_hidden_states=text.tokens, controlnet_cond=condition,
            conditioning_scale=self._how.control_scale, added_cond_kwargs=added, return_dict=False,
        )  # fmt: skip
        return down, middle

    @cached_property
    def _depth_model(self) -> tuple[Any, Any]:
        """The model and what prepares its pictures, on the CPU."""
        from transformers import AutoImageProcessor, DPTForDepthEstimation

        place = self._how.depth_model or None
        model = load_model(
            DPTForDepthEstimation.from_pretrained, place, _DEPTH, flag="--depth_model"
        )
        processor = load(AutoImageProcessor.from_pretrained, place, _DEPTH, flag="--depth_model")
        return model.eval(), processor

    def _depth(self, pictures: torch.Tensor) -> torch.Tensor:
        model, processor = self._depth_model
        pixels = ((pictures.cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        values = processor(images=list(pixels), return_tensors="pt").pixel_values
        with torch.no_grad():
            depth = model(values).predicted_depth[:, None].float()
        depth = torch.nn.functional.interpolate(
            depth, pictures.shape[-2:], mode="bicubic", align_corners=False
        )[:, 0]
        low, high = depth.amin((1, 2), keepdim=True), depth.amax((1, 2), keepdim=True)
        return ((depth - low) / (high - low)).nan_to_num()  # a plane is far everywhere


def _edges(picture: torch.Tensor) -> torch.Tensor:
    """float [S,S], 0 or 1, of float [3,S,S] in [-1,1]: Canny's, through scikit-image."""
    from skimage.feature import canny

    weights = np.array([0.299, 0.587, 0.114])
    plane = ((picture.numpy().transpose(1, 2, 0) + 1) / 2) @ weights
    return torch.from_numpy(canny(plane, 1.0, _WEAK, _STRONG).astype(np.float32))
