"""SDXL with IP-Adapter as one would write the loop down first, for `bench.teacher` to compare with:
diffusers' pipeline, called with pictures and a caption, and a PNG of what it gives."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image


@dataclass(frozen=True)
class Job:
    """One picture: files of the content and style, a caption, a seed, and the file to write."""

    content: Path
    style: Path
    prompt: str
    seed: int
    out: Path


def open_pipeline(weights: dict[str, str], settings: Any, device: str) -> Any:
    """The pipeline of the protocol `a-fixed`. settings: of `sdxl_ip_adapter`."""
    from diffusers import DDIMScheduler, StableDiffusionXLImg2ImgPipeline

    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
    pipeline = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        weights["base"], torch_dtype=dtype[settings.precision], add_watermarker=False
    ).to(device)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    folder, name = settings.ip_adapter.rsplit("/", 1)
    pipeline.load_ip_adapter(weights["ip_adapter"], subfolder=folder, weight_name=name)
    pipeline.set_ip_adapter_scale(settings.ip_adapter_scale)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make(pipeline: Any, jobs: Sequence[Job], settings: Any, size: int) -> list[float]:
    """Seconds for each picture."""
    found = []
    for job in jobs:
        start = time.perf_counter()
        content = Image.open(job.content).convert("RGB").resize((size, size))
        style = Image.open(job.style).convert("RGB")
        picture = pipeline(
            prompt=job.prompt, image=content, ip_adapter_image=style, strength=settings.strength,
            guidance_scale=settings.guidance_scale, num_inference_steps=settings.steps,
            generator=torch.Generator("cpu").manual_seed(job.seed),
        ).images[0]  # fmt: skip
        picture.save(job.out)
        found.append(time.perf_counter() - start)
    return found
