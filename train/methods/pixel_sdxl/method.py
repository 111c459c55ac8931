"""The method `pixel_sdxl`: SDXL that reads and writes pixels.

After kohya-ss/pixel-space-sdxl: patches in the place of an autoencoder, prediction of the picture
itself, three stages.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.stream.batch import Batch
from train.methods.api import LossOut, StylizeRequest
from train.methods.base import Base, seeded
from train.methods.pixel_sdxl.checkpoints import load_unet, read_checkpoint
from train.methods.pixel_sdxl.config import Config, Stylize
from train.methods.pixel_sdxl.network import PixelSDXL
from train.methods.pixel_sdxl.objective import draw_times, mixed, picture_loss
from train.methods.pixel_sdxl.perceptual import Perceptual, trunk_of
from train.methods.pixel_sdxl.sampling import denoise, guided, times_of
from train.methods.pixel_sdxl.tags import varied
from train.methods.pixel_sdxl.teacher import Teacher
from train.methods.prompt_words import Embedded
from train.parts.noise import normal, sample_generators


class Method(Base):
    """Trains the whole of it, or its patch encoder or decoder by a teacher."""

    def __init__(self, config: Config, seed: int):
        self.config = config
        if config.lpips_weight:
            trunk_of(config.lpips_weights)  # before anything large is loaded
        with seeded(seed):
            self.network = PixelSDXL(config)
        unet = self.network.unet
        if config.stage != "full":
            self.network.requires_grad_(False)
            part = unet.patch_encoder if config.stage == "distil_encoder" else unet.patch_decoder
            part.requires_grad_(True)

    def module(self) -> torch.nn.Module:
        """The U-Net, and text encoders where they are trained."""
        return self.network

    def param_groups(self) -> list[dict[str, Any]]:
        """Patches; SDXL's body; each text encoder: rates of their own by --optim.group_lr."""
        unet = self.network.unet
        parts: dict[str, list[torch.nn.Module]] = {
            "patches": [unet.patch_encoder, unet.patch_decoder],
            "sdxl_unet_body": [unet.body],
        }
        for number, tower in enumerate(self.network.words.towers or ()):
            parts[f"text_encoder{number + 1}"] = [tower]
        groups = {
            name: [p for module in modules for p in module.parameters() if p.requires_grad]
            for name, modules in parts.items()
        }
        return [
            {"name": name, "params": params, "lr_scale": 1.0}
            for name, params in groups.items()
            if params
        ]

    def loaded(self) -> list[str]:
        """Of the pipeline and of files."""
        return list(self.network.loaded)

    def training_loss(self, batch: Batch) -> LossOut:
        """Of the predicted pictures, or of what the teacher has between its levels."""
        device = batch.weights.device
        generators = sample_generators(batch.sample_seed)
        t = draw_times(generators, self.config.time, device)
        pictures = batch.images["target"].floats()
        seeds = batch.sample_seed.tolist()
        captions = [varied(text, seed, self.config.tags) for text, seed in
                    zip(batch.captions, seeds, strict=True)]  # fmt: skip
        text, sizes = self._text(captions), self._sizes(batch)
        noise = self.config.noise_scale * normal(generators, pictures.shape[1:], device)
        noisy = mixed(pictures, noise, t)
        if self.config.stage != "full":
            return self._distilled(pictures, noisy, t, text, sizes, generators)
        found = self.network(noisy, t, text, sizes)
        error = picture_loss(found, pictures, t, self.config.loss)
        logs = {"mse": picture_loss(found, pictures, t, "x0").detach()}
        if self.config.lpips_weight:
            apart = (1 - t) * self._perceptual(found, pictures)
            error = error + self.config.lpips_weight * apart
            logs["lpips"] = apart.detach()
        return LossOut(error, logs)

    @torch.no_grad()
    def stylize(self, request: StylizeRequest) -> torch.Tensor:
        """Pictures of texts, from noise or from noised contents."""
        how: Stylize = request.how
        device = next(self.network.parameters()).device
        count = len(request.captions)
        if how.init == "content" and request.content is None:
            raise UserError("--init=content: give a picture with --content")
        begin = request.content if how.init == "content" else None
        height, width = self._shape(how, begin)
        noise = self.config.noise_scale * normal(
            sample_generators(request.seeds), (3, height, width), device
        )
        x, first = noise, 1.0
        if begin is not None:
            first = how.strength
            x = mixed(begin, noise, torch.full((count,), first, device=device))
        whole = torch.tensor([[height, width, 0, 0, height, width]] * count)
        text, without = self._text(request.captions), self._text([how.negative] * count)

        def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            found = self.network(x, t, text, whole)
            if how.guidance != 1 and how.least <= float(t[0]) <= how.most:
                found = guided(found, self.network(x, t, without, whole), how.guidance)
            return found.float()

        times = times_of(how.steps, how.schedule, how.flow_shift, first)
        return denoise(predict, x, times).clamp(-1, 1)

    def request(self, batch: Batch, how: Any) -> StylizeRequest:
        """The captions."""
        none = torch.zeros(len(batch), dtype=torch.bool)
        content = batch.images["target"].floats() if how.init == "content" else None
        return StylizeRequest(content, None, none, batch.captions, batch.sample_seed, how)

    def asked(self) -> Mapping[str, str]:
        """The text encoders, where they are not trained."""
        return self.network.words.asked(self._text_device())

    def imported(self, path: Path) -> None:
        """Begins with weights of SDXL, or of pixel SDXL from any program."""
        lines = load_unet(self.network.unet, read_checkpoint(path), path)
        self.network.loaded += [f"{path.name}: {line}" for line in lines]

    def export(self, out: Path, about: Mapping[str, Any]) -> Sequence[str]:
        """Writes the weights by SDXL's names, with a card."""
        from train.methods.pixel_sdxl.exporting import write

        return write(self.network, self.config, out, about)

    def _distilled(
        self, pictures: torch.Tensor, noisy: torch.Tensor, t: torch.Tensor, text: Embedded,
        sizes: torch.Tensor, generators: Sequence[torch.Generator],
    ) -> LossOut:  # fmt: skip
        """The encoder's features beside the teacher's, or the decoder's picture of the teacher's
        beside the picture."""
        is_last = self.config.stage == "distil_decoder"
        wanted = self._teacher.features(pictures, t, text, sizes, generators, is_last)
        unet = self.network.unet
        if is_last:
            return LossOut(picture_loss(unet.patch_decoder(wanted), pictures, t, "x0"), {})
        found = unet.patch_encoder(noisy)
        if found.shape != wanted.shape:
            raise UserError(
                f"the teacher's features are {list(wanted.shape[1:])}, those of patches "
                f"{list(found.shape[1:])}: its autoencoder and levels make one feature of other "
                "pixels than a patch has"
            )
        return LossOut(picture_loss(found, wanted, t, "x0"), {})

    def _shape(self, how: Stylize, begin: torch.Tensor | None) -> tuple[int, int]:
        patch, usual = self.config.patch_size, self.config.image_size
        sides = (how.height or usual, how.width or usual)
        if begin is not None:
            sides = (begin.shape[2], begin.shape[3])
        for name, side in zip(("height", "width"), sides, strict=True):
            if side % patch:
                near = max(patch, round(side / patch) * patch)
                raise UserError(
                    f"--{name}={side}: takes a multiple of {patch}, the patch, as {near}"
                )
        return sides

    def _text(self, captions: Sequence[str]) -> Embedded:
        device = next(self.network.parameters()).device
        found: Embedded = self.network.words(captions, self._text_device())
        return found.to(device)

    def _text_device(self) -> torch.device:
        own = next(self.network.parameters()).device
        return torch.device(self.config.text_device) if self.config.text_device else own

    def _sizes(self, batch: Batch) -> torch.Tensor:
        """int64 [N,6], of `Body`: of pictures as they are when their box is made the batch's
        size."""
        images = batch.images["target"]
        shape = torch.tensor(images.pixels.shape[2:])
        scale = (shape / images.original_size).max(1, keepdim=True).values
        cut = (images.crop_offset * scale).round().long()
        return torch.cat([images.original_size, cut, shape.expand(len(cut), 2)], dim=1)

    @cached_property
    def _perceptual(self) -> Perceptual:
        return Perceptual(self.config.lpips_weights, next(self.network.parameters()).device)

    @cached_property
    def _teacher(self) -> Teacher:
        return Teacher(self.config, next(self.network.parameters()).device)
