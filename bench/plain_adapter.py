"""A style adapter beside PixArt-alpha, trained as one would write it down first, a peer of
`bench.adapter`: diffusers' own modules, frozen weights in the run's precision, an attention
processor after IP-Adapter's, captions padded to 120 tokens, torch's AdamW, eager."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class StyleProcessor(nn.Module):
    """Text and style attention of one layer."""

    def __init__(self, width: int, gate: float):
        super().__init__()
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.gate = nn.Parameter(torch.full((1,), gate))
        self.tokens: torch.Tensor | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """Attention output [N,L,W]."""
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states

        def heads(x: torch.Tensor) -> torch.Tensor:
            return x.view(len(x), -1, attn.heads, x.shape[-1] // attn.heads).transpose(1, 2)

        if attention_mask is not None:
            length = text.shape[1]
            attention_mask = attn.prepare_attention_mask(attention_mask, length, len(text))
            attention_mask = attention_mask.view(len(text), attn.heads, -1, length)
        query = heads(attn.to_q(hidden_states))
        found = F.scaled_dot_product_attention(
            query, heads(attn.to_k(text)), heads(attn.to_v(text)), attn_mask=attention_mask
        )
        style = F.scaled_dot_product_attention(
            query, heads(self.key(self.tokens)), heads(self.value(self.tokens))
        )
        found = found + torch.tanh(self.gate) * style
        found = found.transpose(1, 2).flatten(2).to(hidden_states.dtype)
        for layer in attn.to_out:
            found = layer(found)
        return found


class Trainer:
    """Trains the last `layers` blocks' style attention, and the layer that makes the tokens."""

    def __init__(self, backbone: Path, layers: int, tokens: int, dim: int, how: dict[str, Any]):
        from diffusers import DDPMScheduler, PixArtTransformer2DModel

        self.device, self.precision = how["device"], how["precision"]
        self.model: Any = PixArtTransformer2DModel.from_pretrained(
            backbone / "transformer", torch_dtype=self.precision
        )
        self.model.requires_grad_(False).to(self.device)
        if how["checkpointing"]:
            self.model.enable_gradient_checkpointing()
        self.scheduler: Any = DDPMScheduler.from_pretrained(backbone / "scheduler")
        width = self.model.inner_dim
        self.num_tokens = tokens
        self.project = nn.Linear(dim, tokens * width).to(self.device)
        self.norm = nn.LayerNorm(width).to(self.device)
        self.processors = []
        for block in self.model.transformer_blocks[-layers:]:
            processor = StyleProcessor(width, 0.1).to(self.device)
            block.attn2.processor = processor
            self.processors.append(processor)
        trained = nn.ModuleList([self.project, self.norm, *self.processors])
        self.parameters = list(trained.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4)
        self.model.train()

    def step(self, rows: Iterator[dict[str, torch.Tensor]]) -> None:
        """One step on the next batch."""
        batch = {name: value.to(self.device) for name, value in next(rows).items()}
        mean, log_variance = batch["latent"].chunk(2, dim=1)
        noise = torch.randn_like(mean)
        latents = (mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)) * 0.18215
        steps = self.scheduler.config.num_train_timesteps
        t = torch.randint(0, steps, (len(latents),), device=self.device)
        noisy = self.scheduler.add_noise(latents, noise, t)
        with torch.autocast(torch.device(self.device).type, self.precision):
            tokens = self.norm(self.project(batch["style"]).unflatten(1, (self.num_tokens, -1)))
            for processor in self.processors:
                processor.tokens = tokens
            predicted = self.model(
                noisy.to(self.precision), encoder_hidden_states=batch["text"].to(self.precision),
                encoder_attention_mask=batch["mask"].to(self.precision), timestep=t,
                added_cond_kwargs={"resolution": None, "aspect_ratio": None}, return_dict=False,
            )[0]  # fmt: skip
        loss = F.mse_loss(predicted.chunk(2, dim=1)[0].float(), noise.float())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
