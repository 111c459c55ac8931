"""SDXL with IP-Adapter through diffusers, one picture at a time.

Everything that comes back is computed once: the embedding of a painting, of a caption. What is
walked and how is the pipeline's own; only the decoding stands here, for it must be looked at before
it becomes bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline

from toolkit.core.errors import UserError
from toolkit.core.remembered import Remembered
from toolkit.encoders.loading import Pretrained, load, quiet, weights_hash
from toolkit.encoders.overflow import in_full_range
from toolkit.teachers.api import Made, Request
from toolkit.teachers.sdxl_ip_adapter import Settings

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
_BASE = Pretrained(
    "stabilityai/stable-diffusion-xl-base-1.0", "7 GB in fp16",
    ("*.json", "*.txt", "*.fp16.safetensors"),
)  # fmt: skip
_ADAPTER = Pretrained(
    "h94/IP-Adapter", "4.4 GB with its image encoder",
    ("sdxl_models/ip-adapter_sdxl.safetensors", "sdxl_models/image_encoder/*"),
)  # fmt: skip
PRETRAINED = (_BASE, _ADAPTER)
_REMEMBERED = 256 * 1024**2
"""Bytes of embeddings that are kept, of paintings and of captions each: of some 50,000 paintings
(5 KB apiece; 1.3 MB with the adapters called plus), of some 400 captions."""

_Prompt = dict[str, torch.Tensor]
"""Embeddings of a caption, by the pipeline's names for them."""


def open_pipeline(settings: Settings, weights: Mapping[str, str], device: str) -> "SdxlTeacher":
    """Loads the pipeline and the adapter. Raises UserError where a part cannot be loaded."""
    if unknown := [part for part in weights if part not in ("base", "ip_adapter")]:
        raise UserError(f"--weights.{unknown[0]}: the parts are base and ip_adapter")
    dtype = _DTYPES[settings.precision]
    half = {"variant": "fp16"} if _has_half(weights["base"]) and dtype != torch.float32 else {}
    pipeline = load(
        _Pipeline.from_pretrained, weights["base"], _BASE,
        flag="--weights.base", torch_dtype=dtype, add_watermarker=False, **half,
    )  # fmt: skip
    pipeline.scheduler = _scheduler(settings.sampler, pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    with quiet():
        pipeline.to(device)
    file = PurePosixPath(settings.ip_adapter)

    def load_adapter(place: str, local_files_only: bool = False) -> Any:
        pipeline.load_ip_adapter(
            place, subfolder=str(file.parent), weight_name=file.name,
            image_encoder_folder=settings.image_encoder, local_files_only=local_files_only,
        )  # fmt: skip

    load(load_adapter, weights["ip_adapter"], _ADAPTER, flag="--weights.ip_adapter")
    return SdxlTeacher(pipeline, settings, device)


class SdxlTeacher:
    """The loaded pipeline. identity: hash of all weights and their precision."""

    def __init__(self, pipeline: Any, settings: Settings, device: str):
        self._pipeline, self._device = pipeline, torch.device(device)
        self._precision = settings.precision
        names = ("unet", "vae", "text_encoder", "text_encoder_2", "image_encoder")
        self._modules = [getattr(pipeline, name) for name in names]
        for module in self._modules:
            module.eval().requires_grad_(False)
        self.identity = {"weights": weights_hash(self._modules), "precision": settings.precision}
        self._styles: Remembered[list[torch.Tensor]] = Remembered(_REMEMBERED, _num_bytes)
        self._prompts: Remembered[_Prompt] = Remembered(
            _REMEMBERED, lambda prompt: _num_bytes(prompt.values())
        )

    def make(self, request: Request, settings: Settings) -> Made:
        """One picture, of the content's size, which is to be a multiple of 8. Raises ValueError."""
        (made,) = self.make_many([request], settings)
        return made

    @torch.no_grad()
    def make_many(self, requests: Sequence[Request], settings: Settings) -> list[Made]:
        """Pictures of one size, walked together and decoded one by one."""
        shapes = {request.content.shape[:2] for request in requests}
        if len(shapes) != 1 or any(side % 8 for shape in shapes for side in shape):
            raise ValueError(f"sides must be multiples of 8, the same for all, not {shapes}")
        self._use(settings.precision)
        self._pipeline.set_ip_adapter_scale(_scales(settings))
        with quiet():
            embedded = [self._embedded(request, settings) for request in requests]
            latents = self._walked(requests, settings, embedded)
            return [self._decoded(one[None], settings.vae_precision) for one in latents]

    def compile(self) -> None:
        """Compiles the UNet, at its first picture; on a GPU into CUDA graphs, for at batch 1 it
        waits for its launches."""
        mode = "reduce-overhead" if self._device.type == "cuda" else "default"
        self._pipeline.unet.compile(mode=mode)

    def _embedded(self, request: Request, settings: Settings) -> tuple[list[torch.Tensor], _Prompt]:
        """The style and the caption, as the pipeline takes them."""
        guided = settings.guidance_scale > 1
        style = self._styles.get(
            (request.style_id, settings.style_fit, guided, self._precision),
            lambda: self._embed_style(request.style, settings.style_fit, guided),
        )  # fmt: skip
        prompt = self._prompts.get(
            (request.prompt, settings.negative_prompt, guided, self._precision),
            lambda: self._embed_prompt(request.prompt, settings.negative_prompt, guided),
        )  # fmt: skip
        return style, prompt

    def _walked(
        self,
        requests: Sequence[Request],
        settings: Settings,
        embedded: Sequence[tuple[list[torch.Tensor], _Prompt]],
    ) -> torch.Tensor:
        """The pipeline's own loop, to latents."""
        prompts = {
            name: torch.cat([prompt[name] for _, prompt in embedded]).to(self._device)
            for name in embedded[0][1]
        }
        styles = [_joined(several) for several in zip(*(one[0] for one in embedded), strict=True)]
        latents: torch.Tensor = self._pipeline(
            **prompts,
            image=torch.stack([_signed(request.content) for request in requests]),
            ip_adapter_image_embeds=styles,
            strength=settings.strength,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            original_size=_square(settings.original_size),
            target_size=_square(settings.target_size),
            # on the CPU, whose numbers are the same whatever card there is
            generator=[torch.Generator("cpu").manual_seed(r.seed) for r in requests],
            output_type="latent",
        ).images
        return latents

    def _decoded(self, latents: torch.Tensor, vae_precision: str) -> Made:
        """A picture of latents. A decoder that overflows is run again in fp32."""
        if not bool(latents.isfinite().all()):
            size = 8 * latents.shape[-2], 8 * latents.shape[-1], 3
            return Made(np.zeros(size, np.uint8), False, ("latents are not finite",))
        vae = self._pipeline.vae
        values = latents.float() / vae.config.scaling_factor
        if vae_precision == "fp32":
            self._turn(vae, "fp32")
        picture, is_second = in_full_range(vae, lambda given: vae.decode(given).sample, values)
        self._turn(vae, self._precision)
        notes = ("decoded again in fp32",) if is_second else ()
        if not bool(picture.isfinite().all()):
            return Made(np.zeros((*picture.shape[-2:], 3), np.uint8), False, (*notes, "not finite"))
        pixels = ((picture[0] / 2 + 0.5).clamp(0, 1) * 255).round()
        return Made(pixels.permute(1, 2, 0).to("cpu", torch.uint8).numpy(), True, notes)

    def _use(self, precision: Literal["fp16", "bf16", "fp32"]) -> None:
        """Turns all weights to another precision, where the last picture had another."""
        if precision != self._precision:
            for module in self._modules:
                self._turn(module, precision)
            self._precision = precision

    @staticmethod
    def _turn(module: Any, precision: str) -> None:
        if module.dtype != _DTYPES[precision]:
            torch.nn.Module.to(module, _DTYPES[precision])  # diffusers' own would warn

    def _embed_style(self, style: np.ndarray, fit: str, guided: bool) -> list[torch.Tensor]:
        found = self._pipeline.prepare_ip_adapter_image_embeds(
            [_fitted(style, fit)], None, self._device, 1, guided
        )
        return [one.cpu() for one in found]

    def _embed_prompt(self, prompt: str, negative: str, guided: bool) -> _Prompt:
        names = (
            "prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds",
            "negative_pooled_prompt_embeds",
        )  # fmt: skip
        found = self._pipeline.encode_prompt(
            prompt=prompt, negative_prompt=negative or None, device=self._device,
            num_images_per_prompt=1, do_classifier_free_guidance=guided,
        )  # fmt: skip
        return {n: one.cpu() for n, one in zip(names, found, strict=True) if one is not None}


class _Pipeline(StableDiffusionXLImg2ImgPipeline):
    """Takes embeddings of styles as they are: diffusers' own repeats what it is given for every
    picture of a batch, so that all would have one style."""

    def prepare_ip_adapter_image_embeds(
        self, images: Any, embeds: Any, device: Any, count: int, guided: bool
    ) -> Any:
        if embeds is None:
            own: Any = super()
            return own.prepare_ip_adapter_image_embeds(images, None, device, count, guided)
        return [one.to(device) for one in embeds]


def _num_bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(one.nbytes for one in tensors)


def _joined(embeds: Sequence[torch.Tensor]) -> torch.Tensor:
    """Embeddings of several pictures, each [1 or 2,…] with what guidance leads away from first."""
    halves = zip(*(one.chunk(len(one)) for one in embeds), strict=True)
    return torch.cat([torch.cat(half) for half in halves])


def _scheduler(sampler: str, config: Any) -> Any:
    """The sampler on SDXL's noise schedule, which is made for another one."""
    from diffusers import DDIMScheduler, EulerDiscreteScheduler

    common = {"timestep_spacing": "leading", "steps_offset": 1}
    if sampler == "euler":
        return EulerDiscreteScheduler.from_config(config, **common)
    return DDIMScheduler.from_config(
        config, clip_sample=False, set_alpha_to_one=False, **common
    )  # fmt: skip


def _scales(settings: Settings) -> Any:
    """What `set_ip_adapter_scale` takes. Wang et al. 2024: style lives in the first block upwards,
    layout in the last downwards."""
    scale = settings.ip_adapter_scale
    if settings.ip_adapter_blocks == "all":
        return scale
    blocks: dict[str, Any] = {"up": {"block_0": [0.0, scale, 0.0]}}
    if settings.ip_adapter_blocks == "style_and_layout":
        blocks["down"] = {"block_2": [0.0, scale]}
    return blocks


def _signed(pixels: np.ndarray) -> torch.Tensor:
    """uint8 [H,W,3] as float32 [3,H,W] in [0,1], as the pipeline's processor takes pictures."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def _fitted(pixels: np.ndarray, fit: str) -> Any:
    """The painting as a square picture, for CLIP's processor, which crops what is not."""
    from PIL import Image, ImageOps

    picture = Image.fromarray(pixels)
    side = min(picture.size)
    if fit == "squash":
        return picture.resize((side, side), Image.Resampling.BICUBIC)
    if fit == "pad":
        return ImageOps.pad(picture, (max(picture.size),) * 2, Image.Resampling.BICUBIC)
    return picture


def _square(side: int) -> tuple[int, int] | None:
    return (side, side) if side else None


def _has_half(place: str) -> bool:
    """Whether the weights come in a variant of 16 bits: the hub's do, a folder says so itself."""
    folder = Path(place)
    if folder.is_dir():
        return any(folder.glob("unet/*.fp16.safetensors"))
    return place == _BASE.hub_id
