"""A training step of SDXL on pixels beside one of SDXL on latents.

    python -m bench.pixel_sdxl [--steps=20] [--rounds=3] [--device=cuda]

1,024 pixels, patches of 32, one picture a step, every weight trained: float32 with bf16 arithmetic,
AdamW, activations recomputed in the backward pass. `latent` encodes its picture by SDXL's
autoencoder, as training with random cuts does; `stored` has its latents already. Text comes as
random tokens of the encoders' widths. Weights are random and of full size; each kind is a process
of its own, by turns, and the first steps are not counted. --small is a rehearsal on a CPU.
"""

import json
import statistics
import sys
import time
from typing import Any

import fire
import torch

from bench.timing import in_process, machine, write_results

KINDS = ("pixel", "latent", "stored")
WARM = 3


def main(
    steps: int = 20, rounds: int = 3, device: str = "cuda", small: bool = False,
    keep: str = "pixel_sdxl",
) -> None:  # fmt: skip
    """Measures and keeps bench/results/KEEP.json.

    Args:
        steps: that are counted, behind three that are not.
        rounds: processes of each kind.
        device: of the arithmetic.
        small: a tiny network and picture instead, for a rehearsal.
        keep: name of the results, empty for none.
    """
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        for kind in KINDS if number % 2 == 0 else reversed(KINDS):
            asked = json.dumps({"kind": kind, "steps": steps, "device": device, "small": small})
            found[kind].append(in_process("bench.pixel_sdxl", "one", asked))
    rows = []
    for kind, runs in found.items():
        ratios = sorted(
            a["seconds"] / b["seconds"] for a, b in zip(runs, found["pixel"], strict=True)
        )
        rows.append({
            "name": kind, "seconds_a_step": round(statistics.median(r["seconds"] for r in runs), 4),
            "memory_gb": max(r["memory_gb"] for r in runs),
            "million_weights": runs[0]["million_weights"],
            "times_pixel": round(statistics.median(ratios), 3),
            "range": [round(ratios[0], 3), round(ratios[-1], 3)],
        })  # fmt: skip
    write_results(keep, {**machine(), "device": found["pixel"][0]["device_name"]}, rows)


class Step:
    """One optimiser step of one kind after the other.

    Args:
        kind: pixel, latent or stored.
        device: where.
        small: a tiny network and 64 pixels.
    """

    def __init__(self, kind: str, device: str, small: bool):
        from diffusers import UNet2DConditionModel

        from tests.full_size import unet_sdxl, vae_sdxl
        from train.methods.pixel_sdxl.config import Config
        from train.methods.pixel_sdxl.net import PixelUNet
        from train.methods.pixel_sdxl.network import sizes_of

        torch.manual_seed(0)
        self.kind, self.device, self.side = kind, device, 64 if small else 1024
        if small:
            place = Config(backbone="tiny").pipeline
            config = UNet2DConditionModel.load_config(f"{place}/unet")
            unet: Any = UNet2DConditionModel.from_config(config)
        else:
            unet = unet_sdxl()
        self.width, self.pooled = (
            unet.config.cross_attention_dim,
            (
                unet.config.projection_class_embeddings_input_dim
                - 6 * unet.config.addition_time_embed_dim
            ),
        )
        narrow = {"patch": 8, "hidden": 32, "blocks": 1} if small else {}
        sizes = sizes_of(Config(base_resolution=32, **narrow))
        self.net: Any = PixelUNet(unet, sizes) if kind == "pixel" else unet
        self.net.to(device).train()
        for part in self.net.modules():
            if hasattr(part, "enable_gradient_checkpointing"):
                part.enable_gradient_checkpointing()
                break
        self.vae: Any = None
        if kind == "latent":
            self.vae = vae_sdxl(small).requires_grad_(False).to(device, torch.bfloat16)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-5)
        self.batch = torch.rand(1, 3, self.side, self.side, device=device) * 2 - 1

    def __call__(self) -> None:
        """Loss, gradients and the change of the weights."""
        device = self.device
        tokens = torch.randn(1, 77, self.width, device=device)
        pooled = torch.randn(1, self.pooled, device=device)
        sizes = torch.tensor([[self.side, self.side, 0, 0, self.side, self.side]], device=device)
        t = torch.rand(1, device=device)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = self._loss(t, tokens, pooled, sizes)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _loss(self, t: Any, tokens: Any, pooled: Any, sizes: Any) -> torch.Tensor:
        from train.methods.pixel_sdxl.objective import mixed, picture_loss

        if self.kind == "pixel":
            noisy = mixed(self.batch, torch.randn_like(self.batch), t)
            found = self.net(noisy, 999 * t, tokens, pooled, sizes)
            return picture_loss(found, self.batch, t, "velocity").mean()
        shape = (1, 4, self.side // 8, self.side // 8)
        latents = torch.randn(shape, device=self.device)
        if self.vae is not None:
            with torch.no_grad():
                latents = self.vae.encode(self.batch.bfloat16()).latent_dist.sample().float()
        noise = torch.randn_like(latents)
        noisy = mixed(latents, noise, t)
        added = {"text_embeds": pooled, "time_ids": sizes}
        found = self.net(noisy, 999 * t, tokens, added_cond_kwargs=added, return_dict=False)[0]
        return picture_loss(found, noise, t, "x0").mean()


def one(task: str) -> None:
    """Prints seconds a step and gigabytes of the GPU."""
    asked = json.loads(task)
    cuda = asked["device"].startswith("cuda")
    step = Step(asked["kind"], asked["device"], asked["small"])
    for _ in range(WARM):
        step()
    _wait(cuda)
    start = time.perf_counter()
    for _ in range(asked["steps"]):
        step()
    _wait(cuda)
    print(json.dumps({
        "seconds": (time.perf_counter() - start) / asked["steps"],
        "memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else 0.0,
        "million_weights": round(sum(p.numel() for p in step.net.parameters()) / 1e6, 1),
        "device_name": torch.cuda.get_device_name() if cuda else "cpu",
    }))  # fmt: skip


def _wait(cuda: bool) -> None:
    if cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2])
    else:
        fire.Fire(main)
