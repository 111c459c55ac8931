"""The method `style_adapter`: learns a teacher's style transfer from a style reference."""

from train.methods.base import Base
from train.methods.style_adapter.config import Config


def Method(config: Config, seed: int) -> Base:
    """An adapter beside a frozen backbone, or, without a backbone, a small network as a whole."""
    if config.trains == "backbone":
        from train.methods.style_adapter.backbone import Backbone

        return Backbone(config, seed)
    if config.backbone:
        from train.methods.style_adapter.distilled import Distilled

        return Distilled(config, seed)
    from train.methods.style_adapter.joint import Joint

    return Joint(config, seed)
