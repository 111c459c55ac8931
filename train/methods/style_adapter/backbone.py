"""`style_adapter` with trains=backbone: a PixArt from captions, which adapters are put beside."""

from collections.abc import Sequence

import torch

from train.methods.schedule import load_schedule
from train.methods.style_adapter.config import Config, place_of
from train.methods.style_adapter.encoders import Encoders, Text
from train.methods.style_adapter.student import PIXART, load_backbone
from train.methods.text_to_image import TextToImage


class Backbone(TextToImage):
    """Trains the whole transformer."""

    def __init__(self, config: Config, seed: int):
        shares = config.dropout
        super().__init__(
            load_backbone(config.backbone), load_schedule(place_of(config.backbone), PIXART),
            config.objective, shares.text + shares.both,
        )  # fmt: skip
        self.config = config
        self._encoders: Encoders | None = None

    def text(self, captions: Sequence[str]) -> Text:
        """Tokens and mask."""
        return self._frozen().text(captions)

    def predict(self, x: torch.Tensor, t: torch.Tensor, text: Text) -> torch.Tensor:
        """What the transformer predicts, of its variance too."""
        tokens, mask = text
        found: torch.Tensor = self.network(
            x, encoder_hidden_states=tokens, encoder_attention_mask=mask, timestep=t,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None}, return_dict=False,
        )[0]  # fmt: skip
        return found

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Latents."""
        return self._frozen().latents(pictures)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures."""
        return self._frozen().pictures(latents)

    def _frozen(self) -> Encoders:
        if self._encoders is None:
            self._encoders = Encoders(self.config, str(next(self.network.parameters()).device))
        return self._encoders
