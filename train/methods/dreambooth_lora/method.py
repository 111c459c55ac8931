"""The method `dreambooth_lora`: a style from few pictures, without forgetting everything else."""

from train.methods.base import Base
from train.methods.dreambooth_lora.config import Config


def Method(config: Config, seed: int) -> Base:
    """Adapters beside a frozen Stable Diffusion, or a Stable Diffusion itself."""
    if config.trains == "backbone":
        from train.methods.dreambooth_lora.backbone import Backbone

        return Backbone(config, seed)
    from train.methods.dreambooth_lora.few_shot import FewShot

    return FewShot(config, seed)
