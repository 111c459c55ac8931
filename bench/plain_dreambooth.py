"""DreamBooth with LoRA as diffusers' example script trains it; the peer of `bench.dreambooth`.

    python -m bench.plain_dreambooth '{"backbone": …, "instances": …, "prior": …, "steps": …}'

A plain loop in the order of examples/dreambooth/train_dreambooth_lora.py: each step decodes an
instance and a prior picture, encodes both and both prompts, and takes the two halves of the loss;
frozen networks in the precision, adapters in float32 under autocast, torch's AdamW.
"""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional


class Trainer:
    """Trains adapters of the UNet."""

    def __init__(self, asked: dict[str, Any]):
        from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
        from peft import LoraConfig
        from transformers import CLIPTextModel, CLIPTokenizer

        place, self.device = asked["backbone"], asked["device"]
        self.dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[asked["precision"]]
        self.schedule = DDPMScheduler.from_pretrained(place, subfolder="scheduler")
        self.tokenizer = CLIPTokenizer.from_pretrained(place, subfolder="tokenizer")
        parts = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
        for name, build in parts.items():
            part: Any = build.from_pretrained(place, subfolder=name).requires_grad_(False)
            setattr(self, name, part.to(self.device, self.dtype))
        self.unet: Any
        targets = ["to_k", "to_q", "to_v", "to_out.0", "add_k_proj", "add_v_proj"]
        rank = asked["rank"]
        self.unet.add_adapter(LoraConfig(
            r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=targets,
        ))  # fmt: skip
        self.trained = [p for p in self.unet.parameters() if p.requires_grad]
        for p in self.trained:
            p.data = p.float()
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4)
        self.size = asked["size"]
        self.files = [sorted(Path(asked[name]).rglob("*.jpg")) for name in ("instances", "prior")]

    def step(self) -> float:
        """One instance and one prior picture."""
        pixels = torch.stack([self._read(random.choice(files)) for files in self.files])
        texts = ["an image of thing in style_03", "an image of thing"]
        ids = self.tokenizer(
            texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids.to(self.device)
        on = torch.autocast(torch.device(self.device).type, self.dtype,
                            enabled=self.dtype != torch.float32)  # fmt: skip
        with on:
            with torch.no_grad():
                found = self.vae.encode(pixels.to(self.device, self.dtype)).latent_dist.sample()
                latents = found * self.vae.config.scaling_factor
                text = self.text_encoder(ids)[0]
            noise = torch.randn_like(latents)
            t = torch.randint(0, 1000, (len(latents),), device=self.device)
            noisy = self.schedule.add_noise(latents, noise, t)
            predicted = self.unet(noisy, t, text, return_dict=False)[0]
        target = noise
        if self.schedule.config.prediction_type == "v_prediction":
            target = self.schedule.get_velocity(latents, noise, t)
        own, prior = predicted.chunk(2)
        wanted, of_prior = target.chunk(2)
        loss = functional.mse_loss(own.float(), wanted.float()) + functional.mse_loss(
            prior.float(), of_prior.float()
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach().item()

    def _read(self, path: Path) -> torch.Tensor:
        from PIL import Image
        from torchvision import transforms

        return transforms.Compose([
            transforms.Resize(self.size), transforms.RandomCrop(self.size), transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ])(Image.open(path).convert("RGB"))  # fmt: skip


def main(task: str) -> None:
    """Prints steps a second, and gigabytes of the GPU."""
    asked = json.loads(task)
    torch.set_num_threads(asked["threads"])
    cuda = asked["device"].startswith("cuda")
    trainer = Trainer(asked)
    for _ in range(asked["warm"]):
        trainer.step()
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(asked["steps"]):
        trainer.step()
    if cuda:
        torch.cuda.synchronize()
    print(json.dumps({
        "steps_per_s": asked["steps"] / (time.perf_counter() - start),
        "memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else 0.0,
        "device_name": torch.cuda.get_device_name() if cuda else "cpu",
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
