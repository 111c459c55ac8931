"""Prompts as a Stable Diffusion pipeline reads them: by one text encoder, or by SDXL's two."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from toolkit.core.errors import UserError
from toolkit.encoders.loading import load, load_model, quiet, weights_hash
from train.methods.pipelines import pretrained

_SIZE = "5 GB"
_REMEMBERED = 1024
"""Prompts whose tokens are kept: up to 0.6 MB each."""


@dataclass(frozen=True)
class Embedded:
    """tokens: [N,77,D]; pooled: [N,P], of SDXL, None otherwise."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None

    def to(self, device: torch.device) -> "Embedded":
        """On a device."""
        pooled = None if self.pooled is None else self.pooled.to(device)
        return Embedded(self.tokens.to(device), pooled)

    def __getitem__(self, index: Any) -> "Embedded":
        return Embedded(self.tokens[index], None if self.pooled is None else self.pooled[index])

    @classmethod
    def stack(cls, several: Sequence["Embedded"]) -> "Embedded":
        """Several, each of one prompt without N, as one."""
        return cls._together(several, torch.stack)

    @classmethod
    def joined(cls, several: Sequence["Embedded"]) -> "Embedded":
        """Several with N of their own, one after the other."""
        return cls._together(several, torch.cat)

    @classmethod
    def _together(
        cls, several: Sequence["Embedded"], how: Callable[[list[torch.Tensor]], torch.Tensor]
    ) -> "Embedded":
        pooled = [one.pooled for one in several if one.pooled is not None]
        return cls(how([one.tokens for one in several]), how(pooled) if pooled else None)


class Words(nn.Module):
    """The text encoders of a pipeline.

    Args:
        backbone: the pipeline, by hub id or folder.
        trained: whether they are part of this module; otherwise they are loaded when they are
            first asked, and what they make of the last thousand prompts is kept.
        instead: other weights of text encoders, by name.
    """

    def __init__(
        self, backbone: str, trained: bool,
        instead: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
    ):  # fmt: skip
        super().__init__()
        self._backbone, self._instead = backbone, dict(instead or {})
        self.names = ("text_encoder", "text_encoder_2") if _has_two(backbone) else ("text_encoder",)
        self.towers: nn.ModuleList | None = None
        self._frozen: list[Any] | None = None
        self._tokenizers: list[Any] | None = None
        self._known: OrderedDict[str, Embedded] = OrderedDict()
        if trained:
            self.towers = nn.ModuleList(self._load().requires_grad_(False))

    def forward(self, prompts: Sequence[str], device: torch.device) -> Embedded:
        """What a UNet is given."""
        if self.towers is not None:
            return self._encode(list(self.towers), prompts, device)
        new = [text for text in dict.fromkeys(prompts) if text not in self._known]
        if new:
            still = self._still(device)
            for text in new:  # one by one: none of them depends on which others are new
                with torch.no_grad():
                    self._known[text] = self._encode(still, [text], device)[0]
        found = Embedded.stack([self._known[text] for text in prompts])
        for text in dict.fromkeys(prompts):
            self._known.move_to_end(text)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    def freeze_unread(self) -> None:
        """Freezes what nothing is read from: of SDXL's first text encoder all behind the last but
        one layer (its second gives the pooled embedding as well)."""
        if self.towers is None or len(self.towers) == 1:
            return
        tower: Any = self.towers[0]
        tower = getattr(tower, "text_model", tower)  # transformers < 5.6
        tower.encoder.layers[-1].requires_grad_(False)
        tower.final_layer_norm.requires_grad_(False)

    def asked(self, device: torch.device) -> dict[str, str]:
        """Hash of the text encoders, where they are no part of this module."""
        return {} if self.towers is not None else {"words": weights_hash(self._still(device))}

    def _still(self, device: torch.device) -> list[Any]:
        if self._frozen is None:
            self._frozen = [tower.to(device) for tower in self._load()]
        return self._frozen

    def _load(self) -> nn.ModuleList:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        found = nn.ModuleList()
        for name in self.names:
            build = CLIPTextModel if name == "text_encoder" else CLIPTextModelWithProjection
            place = f"{self._backbone}/{name}"
            tower = load_model(
                build.from_pretrained, place, pretrained(self._backbone, _SIZE), flag="--backbone",
                dtype=torch.float32,
            )  # fmt: skip
            if name in self._instead:
                _replace(tower, self._instead[name], name)
            found.append(tower.eval())
        return found

    def _encode(
        self, towers: Sequence[Any], prompts: Sequence[str], device: torch.device
    ) -> Embedded:
        states, pooled = [], None
        for tower, tokenizer in zip(towers, self._tokens(), strict=True):
            ids = tokenizer(
                list(prompts), padding="max_length", max_length=tokenizer.model_max_length,
                truncation=True, return_tensors="pt",
            ).input_ids  # fmt: skip
            found = tower(ids.to(device), output_hidden_states=len(towers) > 1)
            if len(towers) == 1:
                return Embedded(found.last_hidden_state, None)
            states.append(found.hidden_states[-2])
            pooled = getattr(found, "text_embeds", None)
        return Embedded(torch.cat(states, dim=-1), pooled)

    def _tokens(self) -> list[Any]:
        from transformers import CLIPTokenizer

        if self._tokenizers is None:
            places = [
                f"{self._backbone}/{n.replace('text_encoder', 'tokenizer')}" for n in self.names
            ]
            self._tokenizers = [
                load(CLIPTokenizer.from_pretrained, place, pretrained(self._backbone, _SIZE),
                     flag="--backbone")
                for place in places
            ]  # fmt: skip
        return self._tokenizers


def _replace(tower: Any, state: Mapping[str, torch.Tensor], name: str) -> None:
    """Puts other weights into a text encoder, with or without the `text_model.` that transformers
    5.6 took away. Raises UserError where they are of another one."""
    own = tower.state_dict()
    plain = {key.removeprefix("text_model."): value for key, value in state.items()}
    found = {key: plain.get(key.removeprefix("text_model.")) for key in own}
    for key, value in found.items():
        if key.endswith("position_ids"):
            found[key] = own[key]
        elif value is None or value.shape != own[key].shape:
            raise UserError(f"the file's {name} is another than the backbone's: see {key}")
    tower.load_state_dict(found)


def _has_two(backbone: str) -> bool:
    """Whether a pipeline is SDXL's, with a second text encoder."""
    if Path(backbone).is_dir():
        return (Path(backbone) / "text_encoder_2").is_dir()
    from diffusers import DiffusionPipeline

    with quiet():
        index = load(
            DiffusionPipeline.load_config, backbone, pretrained(backbone, _SIZE), flag="--backbone"
        )
    return "text_encoder_2" in index
