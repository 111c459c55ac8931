"""`dreambooth_lora` with trains=lora: adapters learn a style, beside a frozen Stable Diffusion.

Ruiz et al. 2023, "DreamBooth" (arXiv 2208.12242), section 3.2: pictures of the style train under a
prompt that names it, pictures that the model made itself before train under one that does not. Only
low-rank adapters are trained.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest
from toolkit.encoders.api import open_encoder
from toolkit.stream.batch import Batch
from train.methods.api import LossOut, StylizeRequest
from train.methods.base import Base, seeded
from train.methods.dreambooth_lora.config import Config, Stylize, prompt_of
from train.methods.dreambooth_lora.controlling import Controller
from train.methods.dreambooth_lora.injecting import Asked, injected
from train.methods.dreambooth_lora.network import Control, StableDiffusion
from train.methods.dreambooth_lora.turning import turned
from train.methods.objective import diffusion_loss
from train.methods.prompt_words import Embedded
from train.methods.schedule import denoise
from train.parts.noise import normal, sample_generators


class FewShot(Base):
    """Trains adapters beside a frozen Stable Diffusion."""

    def __init__(self, config: Config, seed: int):
        self.config = config
        with seeded(seed):
            self.network = StableDiffusion(config)
        self._controller: tuple[Stylize, Controller] | None = None

    def module(self) -> torch.nn.Module:
        """The UNet with its adapters, and text encoders with theirs."""
        return self.network

    def param_groups(self) -> list[dict[str, Any]]:
        """The adapters of the UNet, and of the text encoders, at a lower rate."""
        trained = {
            name: [p for n, p in self.network.named_parameters() if p.requires_grad
                   and n.startswith(name)]
            for name in ("unet", "words")
        }  # fmt: skip
        return [
            {"name": "unet", "params": trained["unet"], "lr_scale": 1.0},
            {"name": "text", "params": trained["words"],
             "lr_scale": self.config.lora.text_lr_scale},
        ]  # fmt: skip

    def survey(self, samples: Iterator[Batch]) -> None:
        """Takes the average of each style's pictures, by pixel and without rounding."""
        average = self.network.average
        sums, counts = torch.zeros_like(average), torch.zeros(len(average))
        for batch in samples:
            pictures = batch.images["target"].floats()
            for picture, style in zip(pictures, batch.style_names, strict=True):
                number = self.config.styles.index(str(style))
                sums[number] += picture.to(sums)
                counts[number] += 1
        average.copy_(sums / counts.clamp(min=1).to(sums)[:, None, None, None])

    def training_loss(self, batch: Batch) -> LossOut:
        """Squared error of what the UNet predicts; of samples without the style times the weight of
        the prior."""
        device = batch.weights.device
        generators = sample_generators(batch.sample_seed)
        is_prior = batch.task.to(device) > 0
        latents = self._latents(batch, is_prior, generators)
        styles = [None if prior else style for prior, style in
                  zip(is_prior.tolist(), batch.style_names, strict=True)]  # fmt: skip
        text = self._text(batch.captions, styles)
        sizes = self._sizes(batch)

        def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.network(x, t, text, sizes)
            return found

        diffusion = self.network.diffusion
        error = diffusion_loss(diffusion, network, latents, generators, "eps_mse").per_sample
        weight = torch.where(is_prior, self.config.prior_weight, 1.0)
        return LossOut(weight * error, {"mse": error.detach()})

    @torch.no_grad()
    def stylize(self, request: StylizeRequest) -> torch.Tensor:
        """Pictures of texts. Those of no style are the backbone's own."""
        how: Stylize = request.how
        ways = [
            (style is None, how.strength_of(text))
            for style, text in zip(self._styles(request), request.captions, strict=True)
        ]
        if len(set(ways)) == 1:
            return self._made(request, *ways[0])
        found: dict[int, torch.Tensor] = {}
        for way in dict.fromkeys(ways):  # each is the same beside others as alone
            numbers = [number for number, own in enumerate(ways) if own == way]
            chosen = torch.tensor([own == way for own in ways])
            found |= dict(zip(numbers, self._made(_some(request, chosen), *way), strict=True))
        return torch.stack([found[number] for number in range(len(ways))])

    def request(self, batch: Batch, how: Any) -> StylizeRequest:
        """The samples' captions, in their own style or the one that is asked for."""
        names = [batch.tasks[int(task)] for task in batch.task]
        content = batch.images.get("target")
        return StylizeRequest(
            content=None if content is None or how.init != "content" else content.floats(),
            style=None,
            has_style=torch.zeros(len(batch), dtype=torch.bool),
            captions=batch.captions,
            seeds=batch.sample_seed,
            how=how,
            styles=tuple(
                self.style_of(how, own, task)
                for own, task in zip(batch.style_names, names, strict=True)
            ),
        )

    def style_of(self, how: Any, own: str | None, task: str) -> str | None:
        """The style that is asked for, else its own, else the only one. Raises UserError."""
        known = self.config.styles
        if how.target_style:
            if how.target_style not in known:
                raise UserError(
                    f"--target_style={how.target_style}: the run knows {', '.join(known)}"
                    f"{or_nearest(how.target_style, known)}"
                )
            return str(how.target_style)
        if own in known:
            return own
        if len(known) > 1:
            raise UserError(f"--target_style=…: the run knows {', '.join(known)}")
        return known[0]

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """The adapters and the averages."""
        return self.network.trained()

    def imported(self, path: Path) -> None:
        """Begins with a LoRA of any program."""
        from train.lora.reading import read_lora

        self.network.load_lora(read_lora(path))

    def asked(self) -> Mapping[str, str]:
        """Autoencoder, and text encoders where they are not trained."""
        device = next(self.network.parameters()).device
        found = {"autoencoder": str(self.autoencoder.identity["weights"])}
        return found | self.network.words.asked(device)

    def export(self, out: Path, about: Mapping[str, Any]) -> Sequence[str]:
        """Writes the LoRA for diffusers and for kohya, ComfyUI and others, with a card."""
        from train.methods.dreambooth_lora.exporting import write

        return write(self.network.lora(), self.config, out, about)

    def _made(self, request: StylizeRequest, is_plain: bool, strength: float) -> torch.Tensor:
        """Pictures that all are of a style, or all of none, and of one strength."""
        how: Stylize = request.how
        device = next(self.network.parameters()).device
        styles = [None if is_plain else style for style in self._styles(request)]
        count = len(styles)
        side = self.config.image_size // self.autoencoder.factor
        shape = (self.network.channels, side, side)
        noise = normal(sample_generators(request.seeds), shape, device)
        begin = self._begin(request, styles)
        whole = [self.config.image_size] * 2
        sizes = torch.tensor([[*whole, 0, 0, *whole]] * count)
        with self.network.strength(0.0 if is_plain else how.scale):
            text = self._text(request.captions, styles)
            without = self._nothing(how.negative, count)
            strength = 1.0 if begin is None else strength
            if how.inject.layers and not is_plain:
                first = how.steps - min(max(int(how.steps * strength), 1), how.steps)
                latents = self._injected(
                    request, styles, (text, without), noise, begin, sizes, first
                )
                return self._decoded(latents)

            control = None if is_plain else self._control(request)

            def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
                found = self.network(x, t, text, sizes, control)
                if how.guidance != 1:
                    unguided = self.network(x, t, without, sizes, control)
                    found = unguided + how.guidance * (found - unguided)
                return found.float()

            schedule = self.network.schedule
            latents = denoise(predict, schedule, noise, how.steps, begin, strength)
        return self._decoded(latents)

    def _control(self, request: StylizeRequest) -> Control | None:
        """What adds edges or depth to the UNet's inputs; None where nothing is followed."""
        how: Stylize = request.how
        if how.control == "none":
            return None
        if self._controller is None or self._controller[0] != how:
            device = next(self.network.parameters()).device
            self._controller = (how, Controller(how, self.network.unet, device))
        controller, followed = self._controller[1], request.content
        if followed is None:
            plain = replace(how, init="noise", control="none", scale=0.0)
            nothing = (None,) * len(request.captions)
            followed = self._made(replace(request, how=plain, styles=nothing), True, 1.0)
        condition = controller.condition(followed)

        def residuals(x: torch.Tensor, t: torch.Tensor, text: Embedded, added: Any) -> Any:
            return controller.residuals(x, t, text, condition, added)

        return residuals

    def _injected(
        self, request: StylizeRequest, styles: Sequence[str | None],
        texts: tuple[Embedded, Embedded], noise: torch.Tensor, begin: torch.Tensor | None,
        sizes: torch.Tensor, first: int,
    ) -> torch.Tensor:  # fmt: skip
        """Latents of pictures made with the self-attention of a picture of the style."""
        how: Stylize = request.how
        if request.style is None:
            raise UserError("--inject.layers: give a picture of the style with --style")
        is_content = how.init == "content"
        asked = Asked(
            *texts, self._text([""] * len(styles), styles), sizes,
            self._encoded(request.style), noise, how.guidance, how.steps,
            first,
            begin=None if is_content else begin, content=begin if is_content else None,
        )  # fmt: skip
        return injected(self.network, asked, how.inject)[0]

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        pictures: torch.Tensor = self.autoencoder.decode(latents)
        return pictures.clamp(-1, 1).to(latents.device)

    def _begin(self, request: StylizeRequest, styles: Sequence[str | None]) -> torch.Tensor | None:
        """Latents that are noised to begin with; None for nothing but noise."""
        how: Stylize = request.how
        if how.init == "content":
            if request.content is None:
                raise UserError("--init=content: give a picture with --content")
            return self._encoded(request.content)
        if how.init == "noise" or styles[0] is None:
            return None
        numbers = [self.config.styles.index(str(style)) for style in styles]
        return self._encoded(self.network.average)[numbers]

    def _styles(self, request: StylizeRequest) -> list[str | None]:
        if request.styles:
            return list(request.styles)
        return [self.style_of(request.how, own, "") for own in
                (request.labels or [None] * len(request.captions))]  # fmt: skip

    def _latents(
        self, batch: Batch, is_prior: torch.Tensor, generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        """Of the pictures, drawn from the posterior."""
        pictures = batch.images["target"].floats()
        if self.config.rotate:
            angle = turned(pictures, batch.sample_seed, self.config.rotate)
            pictures = torch.where(is_prior[:, None, None, None], pictures, angle)
        side = pictures.shape[-1] // self.autoencoder.factor
        shape = (self.autoencoder.channels, side, side)
        return self._encoded(pictures, normal(generators, shape, pictures.device))

    def _encoded(self, pictures: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Latents of pictures, float [N,3,S,S] in [-1,1]."""
        found: torch.Tensor = self.autoencoder.latents_of(pictures, noise)
        return found

    def _text(self, things: Sequence[str], styles: Sequence[str | None]) -> Embedded:
        prompts = [prompt_of(self.config, *pair) for pair in zip(things, styles, strict=True)]
        found: Embedded = self.network.words(prompts, next(self.network.parameters()).device)
        return found

    def _nothing(self, negative: str, count: int) -> Embedded:
        """What guidance leads away from. SDXL was trained with zeros for no prompt."""
        device = next(self.network.parameters()).device
        found: Embedded = self.network.words([negative] * count, device)
        if negative or not self.network.is_sdxl:
            return found
        assert found.pooled is not None
        return Embedded(torch.zeros_like(found.tokens), torch.zeros_like(found.pooled))

    def _sizes(self, batch: Batch) -> torch.Tensor:
        """int64 [N,6], of `StableDiffusion.forward`."""
        images = batch.images["target"]
        scale = self.config.image_size / images.original_size.min(1, keepdim=True).values
        cut = (images.crop_offset * scale).round().long()
        size = torch.full((len(cut), 2), self.config.image_size)
        return torch.cat([images.original_size, cut, size], dim=1)

    @cached_property
    def autoencoder(self) -> Any:
        """The backbone's."""
        device = next(self.network.parameters()).device
        return open_encoder("autoencoder_kl", f"{self.config.pipeline}/vae", str(device))


def _some(request: StylizeRequest, chosen: torch.Tensor) -> StylizeRequest:
    """Some of what is asked for. chosen: bool [N]."""

    def texts(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value for value, keep in zip(values, chosen.tolist(), strict=True) if keep)

    return replace(
        request, captions=texts(request.captions), styles=texts(request.styles),
        labels=texts(request.labels) if request.labels else (), seeds=request.seeds[chosen],
        has_style=request.has_style[chosen],
        content=None if request.content is None else request.content[chosen],
        style=None if request.style is None else request.style[chosen],
    )  # fmt: skip
