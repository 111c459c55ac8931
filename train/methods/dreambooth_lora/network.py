"""Stable Diffusion as diffusers loads it, with low-rank adapters of peft in its attention."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from toolkit.core.errors import UserError
from toolkit.encoders.loading import load, load_model
from train.lora.weights import Lora, LoraLayer, without_prefix
from train.methods.dreambooth_lora.config import SIZE, Config
from train.methods.pipelines import pretrained
from train.methods.prompt_words import Embedded, Words
from train.methods.schedule import diffusion_of, load_schedule

Control = Callable[[torch.Tensor, torch.Tensor, Embedded, Any], tuple[Any, torch.Tensor]]
ADAPTER = "style"
UNET_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "add_v_proj")
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


class StableDiffusion(nn.Module):
    """The UNet, and the text encoders where they are trained too; all else is frozen elsewhere."""

    def __init__(self, config: Config):
        super().__init__()
        place = config.pipeline
        self.unet = load_unet(place).requires_grad_(False)
        self.schedule = load_schedule(place, pretrained(place, SIZE))
        self.diffusion = diffusion_of(self.schedule)
        self.words = Words(place, trained=config.lora.text_rank > 0)
        how = config.lora
        if how.unet_rank:
            attach(self.unet, how.unet_rank, how.unet_alpha, UNET_TARGETS)
        for tower in self.towers:
            attach(tower, how.text_rank, how.text_alpha, TEXT_TARGETS)
        self.words.freeze_unread()
        shape = (len(config.styles), 3, config.image_size, config.image_size)
        self.average: torch.Tensor
        self.register_buffer("average", torch.zeros(shape))  # of each style's pictures

    @property
    def towers(self) -> list[Any]:
        """The text encoders that are trained."""
        return list(self.words.towers or ())

    @property
    def is_sdxl(self) -> bool:
        """Whether it wants sizes and a pooled embedding as well."""
        return bool(self.unet.config.addition_embed_type == "text_time")

    @property
    def channels(self) -> int:
        """Of the latents."""
        found: int = self.unet.config.in_channels
        return found

    def forward(
        self, noisy: torch.Tensor, t: torch.Tensor, text: Embedded, sizes: torch.Tensor,
        control: Control | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """What the UNet predicts, [N,C,h,w]. noisy: latents; t: the scheduler's timesteps; sizes:
        int64 [N,6], which only SDXL reads: height and width of the original, top and left of the
        cut, height and width of the picture (arXiv 2307.01952, section 2.2). control: what a
        ControlNet adds, asked with the UNet's inputs."""
        added = None
        if self.is_sdxl:
            added = {"text_embeds": text.pooled, "time_ids": sizes.to(noisy.device)}
        down, middle = control(noisy, t, text, added) if control else (None, None)
        found: torch.Tensor = self.unet(
            noisy, t, encoder_hidden_states=text.tokens, added_cond_kwargs=added, return_dict=False,
            down_block_additional_residuals=down, mid_block_additional_residual=middle,
        )[0]  # fmt: skip
        return found

    def trained(self) -> dict[str, torch.Tensor]:
        """The adapters' weights and the styles' averages, by name."""
        return {
            name: value.detach()
            for name, value in self.state_dict().items()
            if name == "average" or ".lora_" in name
        }

    @contextmanager
    def strength(self, scale: float) -> Iterator[None]:
        """Inside, what was trained counts `scale` times; at 0 it is not computed at all."""
        layers: list[Any] = [module for module in self.modules() if hasattr(module, "lora_A")]
        before = [(dict(layer.scaling), not layer.disable_adapters) for layer in layers]
        for layer in layers:
            if scale == 0:
                layer.enable_adapters(False)
            else:
                layer.scaling[ADAPTER] *= scale
        try:
            yield
        finally:
            for layer, (scaling, was_on) in zip(layers, before, strict=True):
                layer.scaling.update(scaling)
                layer.enable_adapters(was_on)

    def lora(self) -> Lora:
        """What was trained, as a LoRA."""
        parts = {"unet": self.unet} | dict(zip(self.words.names, self.towers, strict=False))
        found: dict[str, dict[str, LoraLayer]] = {}
        for component, model in parts.items():
            layers = dict(sorted(adapted(model).items()))
            if layers:
                found[component] = {path: _layer(module) for path, module in layers.items()}
        return Lora(found)

    def load_lora(self, lora: Lora) -> None:
        """Puts a LoRA in the place of what is trained; one of a lower rank is filled up with zeros.

        Raises UserError: it is of another model, of a higher rank, or changes what is not trained
        here.
        """
        parts = {"unet": self.unet} | dict(zip(self.words.names, self.towers, strict=False))
        modules = {component: adapted(model) for component, model in parts.items()}
        for component, path, layer in lora:
            module = modules.get(component, {}).get(path)
            if module is None:
                raise UserError(f"the LoRA changes {component}.{path}, which is not trained here")
            down, up = (getattr(module, n)[ADAPTER].weight for n in ("lora_A", "lora_B"))
            if layer.down.shape[1:] != down.shape[1:] or len(layer.up) != len(up):
                raise UserError(f"the LoRA is of another model: {component}.{path}")
            if layer.rank > len(down):
                raise UserError(
                    f"the LoRA's rank is {layer.rank}, here it is {len(down)}: make it smaller "
                    "with python -m train.lora resize, or raise --lora.…_rank"
                )
            share = layer.alpha / layer.rank / module.scaling[ADAPTER]
            with torch.no_grad():
                up.zero_()
                down[: layer.rank] = layer.down.to(down)
                up[:, : layer.rank] = (layer.up * share).to(up)


def attach(model: Any, rank: int, alpha: float, targets: tuple[str, ...]) -> None:
    """Puts adapters beside the modules with these names, A drawn from a normal distribution of
    deviation 1/r and B zero; the model itself stays frozen."""
    from peft import LoraConfig, inject_adapter_in_model

    names = [name for name, _ in model.named_modules()]
    present = [t for t in targets if any(name.endswith(f".{t}") for name in names)]
    weight: Any = alpha or rank  # any number does, whatever peft's types say
    config = LoraConfig(
        r=rank, lora_alpha=weight, target_modules=present, init_lora_weights="gaussian"
    )
    inject_adapter_in_model(config, model, ADAPTER)


def adapted(model: Any) -> Mapping[str, Any]:
    """Adapted modules by path."""
    return {
        without_prefix(name): module
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and ADAPTER in module.lora_A
    }


def _layer(module: Any) -> LoraLayer:
    down, up = (getattr(module, n)[ADAPTER].weight.detach().cpu() for n in ("lora_A", "lora_B"))
    return LoraLayer(down, up, module.scaling[ADAPTER] * len(down))


def load_unet(backbone: str) -> Any:
    """diffusers' `UNet2DConditionModel`. Raises UserError."""
    from diffusers import UNet2DConditionModel

    unet = load_model(
        UNet2DConditionModel.from_pretrained, f"{backbone}/unet", pretrained(backbone, SIZE),
        flag="--backbone",
    )  # fmt: skip
    if unet.config.addition_embed_type not in (None, "text_time") or unet.config.class_embed_type:
        raise UserError(f"--backbone={backbone}: takes Stable Diffusion 1.x, 2.x or SDXL")
    if unet.config.in_channels != unet.config.out_channels:
        raise UserError(f"--backbone={backbone} fills in parts of pictures: take its base model")
    return unet


def picture_size(backbone: str) -> tuple[int, int]:
    """Pixels a side that the pipeline was trained with, and of which sides are multiples. Raises
    UserError."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    configs = [
        load(build.load_config, f"{backbone}/{part}", pretrained(backbone, SIZE),
             flag="--backbone")
        for build, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"))
    ]  # fmt: skip
    factor = 2 ** (len(configs[1]["block_out_channels"]) - 1)
    halvings = len(configs[0]["block_out_channels"]) - 1
    return int(configs[0]["sample_size"]) * factor, factor * 2**halvings
