"""`style_adapter` with a frozen backbone: an adapter learns from a teacher's targets."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from toolkit.core.errors import UserError
from toolkit.encoders.autoencoder_kl import to_latents
from toolkit.stream.batch import Batch
from train.methods.api import LossOut, StylizeRequest
from train.methods.base import Base, seeded
from train.methods.objective import diffusion_loss
from train.methods.schedule import denoise
from train.methods.style_adapter.config import Config, Stylize
from train.methods.style_adapter.encoders import Encoders, Text
from train.methods.style_adapter.student import Conditions, Student
from train.parts.noise import normal, sample_generators, uniform
from train.parts.style_schedule import style_strength

_CALIBRATION = 512  # samples that the mean embeddings of styles are taken from
_TEXT_STEP = 32
"""Captions are cut after the longest one of a batch, to a multiple of so many tokens: attention to
what is masked costs as much as to anything else."""


class Distilled(Base):
    """Trains what is beside the backbone, by the backbone's own objective."""

    def __init__(self, config: Config, seed: int):
        self.config = config
        with seeded(seed):
            self.student = Student(config)
        self._encoders: Encoders | None = None
        self._identity: dict[str, Any] = json.loads(config.encoders or "{}")
        learned = self.student.transformer.config.out_channels == 2 * self.student.channels
        if config.objective == "iddpm_vb" and not learned:
            raise UserError(
                "--objective=iddpm_vb: this backbone does not predict a variance, take eps_mse"
            )

    def module(self) -> torch.nn.Module:
        """Backbone, adapter and all."""
        return self.student

    def param_groups(self) -> list[dict[str, Any]]:
        """Matrices with weight decay; vectors and gates without. A gate's gradient is a single
        number, so it takes larger steps."""
        groups: dict[str, list[torch.nn.Parameter]] = {"matrices": [], "vectors": [], "gates": []}
        for name, parameter in self.student.named_parameters():
            if parameter.requires_grad:
                is_gate = name.endswith("processor.gate")
                kind = "gates" if is_gate else "matrices" if parameter.ndim > 1 else "vectors"
                groups[kind].append(parameter)
        return [
            {"name": "matrices", "params": groups["matrices"], "lr_scale": 1.0},
            {"name": "vectors", "params": groups["vectors"], "lr_scale": 1.0, "weight_decay": 0.0},
            {"name": "gates", "params": groups["gates"], "lr_scale": 10.0, "weight_decay": 0.0},
        ]

    def calibrate(self, batches: Iterator[Batch]) -> None:
        """Takes what the empty caption is encoded as, for samples without one, and, where the style
        itself tells what is content in it, the mean embedding of each style."""
        student, first = self.student, next(batches)
        empty = first.empty.get("text")
        if empty is None:
            empty = self._frozen().text([""])[0][0]
        student.no_text.copy_(empty[:1].to(student.no_text))
        if self.config.adapter.content_source != "style_mean":
            return
        sums, counts = torch.zeros_like(student.style_means), torch.zeros(len(student.style_means))
        numbers = {name: number for number, name in enumerate(self.config.styles)}
        for batch in chain([first], batches):
            style, present, _ = self._pictured(batch)
            for name, one, there in zip(batch.style_names, style, present.tolist(), strict=True):
                if there and name in numbers:
                    sums[numbers[name]] += one.to(sums)
                    counts[numbers[name]] += 1
            if counts.sum() >= _CALIBRATION:
                break
        student.style_means.copy_(sums / counts.clamp(min=1)[:, None])

    def training_loss(self, batch: Batch) -> LossOut:
        """The backbone's own loss, with style and content."""
        device = batch.weights.device
        generators = sample_generators(batch.sample_seed)
        latents = self._latents(batch, "target", generators)
        conditions = self._conditions(batch, uniform(generators, device))

        def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            strength = conditions.strength * self._strength(t)
            found: torch.Tensor = self.student(x, t, replace(conditions, strength=strength))
            return found

        diffusion = self.student.diffusion
        return diffusion_loss(diffusion, network, latents, generators, self.config.objective)

    @torch.no_grad()
    def stylize(self, request: StylizeRequest) -> torch.Tensor:
        """Pictures: from noise, or from the noised content, along the backbone's schedule."""
        how: Stylize = request.how
        if request.content is None:
            raise UserError("style_adapter works on pictures: give --content one")
        encoders, device = self._frozen(), request.content.device
        content = encoders.latents(request.content)
        style = request.content if request.style is None else request.style
        embedded = self._style(style)
        present = request.has_style.to(device)
        conditions = Conditions(
            text=self._text(request.captions),
            style=embedded,
            strength=present.float() * how.style_scale,
            proxy=self._proxy(request.content, embedded, request.captions),
            content=content,
        )
        plain = replace(
            conditions, text=self._text([""] * len(content)),
            strength=torch.zeros_like(conditions.strength),
        )  # fmt: skip

        def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            scheduled = replace(conditions, strength=conditions.strength * self._strength(t))
            found = self.student(x, t, scheduled)[:, : x.shape[1]]
            if how.guidance != 1:
                without = self.student(x, t, plain)[:, : x.shape[1]]
                found = without + how.guidance * (found - without)
            return found.float()

        noise = normal(sample_generators(request.seeds), content.shape[1:], device)
        latents = denoise(predict, self.student.schedule, noise, how.steps, content, how.strength)
        return encoders.pictures(latents).to(device)

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """What is trained."""
        return self.student.trained()

    def export(self, out: Path, about: Mapping[str, Any]) -> Sequence[str]:
        """Writes the folder that `StyleAdapterPipeline.from_pretrained` opens."""
        from train.methods.style_adapter.pipeline import StyleAdapterPipeline

        return StyleAdapterPipeline(self).save_pretrained(out, about)

    def _conditions(self, batch: Batch, draw: torch.Tensor) -> Conditions:
        """What trains with a batch. draw: [N] in [0,1), which decides what each goes without."""
        shares = self.config.dropout
        style_only, both = shares.style, shares.style + shares.both
        no_style, no_text = draw < both, (draw >= style_only) & (draw < both + shares.text)
        style, present, proxy = self._pictured(batch)
        content = None
        if self.config.content_path == "control":
            content = self._latents(batch, "content", None)
        return Conditions(
            self._without(self._tokens(batch), no_text), style, (present & ~no_style).float(),
            proxy, content,
        )  # fmt: skip

    def _latents(
        self, batch: Batch, role: str, generators: Sequence[torch.Generator] | None
    ) -> torch.Tensor:
        """Of a role's pictures, scaled; drawn from the posterior where there are generators."""
        device = batch.weights.device
        if self.config.stored:
            encoded = batch.features["latent" if role == "target" else role][0].float()
            noise = None
            if generators is not None:
                shape = (encoded.shape[1] // 2, *encoded.shape[2:])
                noise = normal(generators, shape, device)
            return to_latents(self._identity["latent"], encoded, noise)
        encoders = self._frozen()
        pictures = batch.images[role].floats()
        noise = None
        if generators is not None:
            side = pictures.shape[-1] // encoders.autoencoder.factor
            noise = normal(generators, (encoders.autoencoder.channels, side, side), device)
        return encoders.latents(pictures, noise)

    def _pictured(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """CLIP of the styles, bool [N] where there is one, and the proxy of the contents."""
        if self.config.stored:
            style, present = batch.features["style"]
            style = style.float()
            present = present if present.ndim == 1 else present.any(1)
            given = batch.features.get("proxy")
            proxy = None if given is None else (given[0].float(), given[1])
            return style, present, proxy or self._proxy(None, style, batch.captions)
        picture, there = batch.images["style"].floats(), batch.images["style"].present
        if self.config.content_path == "sdedit":  # what has no style learns from its own picture
            own = batch.images["target"].floats()
            picture, there = torch.where(there[:, None, None, None], picture, own), there | True
        style, content = self._style(picture), batch.images["content"]
        proxy = self._proxy(content.floats(), style, batch.captions)
        return style, there, proxy and (proxy[0], proxy[1] & content.present)

    def _proxy(
        self, content: torch.Tensor | None, style: torch.Tensor, captions: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """What stands for the contents, made now. content: their pictures."""
        how = self.config.adapter
        if how.purification == "none":
            return None
        if how.content_source == "style_mean":
            means = self.student.style_means
            nearest = functional.normalize(style, dim=-1) @ functional.normalize(means, dim=-1).T
            found = style - means[nearest.argmax(1)]
        elif how.content_source == "caption":
            found = self._frozen().embedded(captions)
        elif content is not None:
            found = self._frozen().styles(content)[0]
        else:
            return None
        return found, torch.ones(len(found), dtype=torch.bool, device=found.device)

    def _tokens(self, batch: Batch) -> Text:
        if not self.config.stored:
            return self._text(batch.captions)
        tokens, mask = batch.features["text"]
        longest = -(-int(mask.sum(1).max()) // _TEXT_STEP) * _TEXT_STEP
        return tokens[:, :longest].float(), mask[:, :longest].float()

    def _text(self, captions: Sequence[str]) -> Text:
        """T5's tokens; of no caption at all without T5."""
        if any(captions):
            return self._frozen().text(captions)
        tokens = self.student.no_text.float().expand(len(captions), -1, -1)
        return tokens, torch.ones(tokens.shape[:2], device=tokens.device)

    def _without(self, text: Text, chosen: torch.Tensor) -> Text:
        """Some captions replaced by none. chosen: bool [N]."""
        tokens, mask = text
        none, none_mask = torch.zeros_like(tokens), torch.zeros_like(mask)
        none[:, :1], none_mask[:, :1] = self.student.no_text.to(tokens), 1
        return (
            torch.where(chosen[:, None, None], none, tokens),
            torch.where(chosen[:, None], none_mask, mask),
        )

    def _strength(self, t: torch.Tensor) -> torch.Tensor:
        """The schedule's factor of the style's strength at steps t [N]."""
        how = self.config.adapter
        progress = 1 - t.float() / (self.student.diffusion.num_steps - 1)
        return style_strength(how.style_schedule, progress, how.low, how.begin, how.end)

    def _frozen(self) -> Encoders:
        if self._encoders is None:
            device = next(self.student.parameters()).device
            self._encoders = Encoders(self.config, str(device))
        return self._encoders

    def _style(self, pictures: torch.Tensor) -> torch.Tensor:
        embedding, patches = self._frozen().styles(pictures)
        return embedding if self.config.adapter.source == "embedding" else patches
