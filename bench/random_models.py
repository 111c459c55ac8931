"""Models of published sizes with random weights, in the place of the pretrained ones that a
configuration names: for measurements that values do not change."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch


@contextmanager
def with_random_models(settings: Any) -> Iterator[Any]:
    """The configuration with folders of such models in the place of its hub ids."""
    from toolkit.encoders.loading import PLANNED
    from train.planning.architectures import skeleton

    own = settings.method_config
    names = {field.name for field in fields(own)}
    with TemporaryDirectory(prefix="random-models-") as root:
        changed = {}
        for name in ("backbone", "image_encoder"):
            value = getattr(own, name, "") if name in names else ""
            if "/" in value and not _comes_along(settings.method, value):
                folder = skeleton(value, Path(root) / name, "cpu")
                for marker in folder.rglob(PLANNED):
                    _fill(marker.parent, settings)
                    marker.unlink()
                changed[name] = str(folder)
        yield replace(settings, method_config=replace(own, **changed))


def _comes_along(method: str, name: str) -> bool:
    import train.methods

    return (Path(train.methods.__path__[0]) / method / "weights" / name).is_dir()


def _fill(folder: Path, settings: Any) -> None:
    """Random weights beside a configuration; text encoders of several billions are left out where
    what they say is stored."""
    import diffusers
    import transformers

    path = folder / "config.json"
    if not path.exists():
        return
    config = json.loads(path.read_text())
    torch.manual_seed(0)
    if "_class_name" in config:
        kind = getattr(diffusers, config["_class_name"])
        if hasattr(kind, "parameters"):
            kind.from_config(config).save_pretrained(folder)
        return
    if config["model_type"] == "t5" and getattr(settings.method_config, "stored", False):
        return
    kinds = {"t5": "T5EncoderModel", "clip": "CLIPModel", "clip_text_model": "CLIPTextModel"}
    name = kinds[config["model_type"]]
    if folder.name == "text_encoder_2":
        name = "CLIPTextModelWithProjection"
    kind = getattr(transformers, name)
    kind(kind.config_class.from_pretrained(folder)).save_pretrained(folder)
