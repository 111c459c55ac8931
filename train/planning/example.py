"""Data as a configuration describes them, where there are none yet: what is stored, and a batch."""

import math
import re
from collections.abc import Mapping, Sequence

import torch

from toolkit.core.errors import UserError
from toolkit.encoders.loading import PLANNED
from toolkit.stream.batch import Batch, ImageSet
from toolkit.stream.mix import parse_mix
from train.config import RunConfig
from train.methods.needs import DataFacts, Feature, FeatureFacts
from train.runs import needs_of

_CAPTION = "a photograph of a thing that stands in the middle of a room beside another thing"
_STYLES = ("first", "second", "third", "fourth")
_TOKENS = 32
"""Of a caption: those of COCO are shorter."""
_WIDTHS = {"laion/CLIP-ViT-H-14-laion2B-s32B-b79K": (1024, 1280)}
"""Of a CLIP's embedding and of its tokens; those of ViT-L/14 otherwise."""


def assumed(settings: RunConfig) -> DataFacts:
    """What the data of a run would be, by the commands that make them. Raises UserError for an
    encoder whose outputs are not known here."""
    features = {feature.name: _stored(feature, settings) for feature in needs_of(settings).features}
    styles: dict[str, tuple[str | None, ...]] = dict.fromkeys(parse_mix(settings.data.mix), _STYLES)
    return DataFacts(styles, features)


def batch_of(
    settings: RunConfig, facts: DataFacts, roles: Sequence[str], count: int, device: str = "meta"
) -> Batch:
    """A batch of the run's largest shape, of the main task.

    facts: what is stored; roles: whose pictures there are.
    """
    side = _side(settings)
    images = {role: _pictures(count, side, device) for role in roles}
    there = torch.ones(count, dtype=torch.bool, device=device)
    features = {}
    for name, found in facts.features.items():
        values = torch.empty((count, *found.shape), dtype=torch.float16, device=device)
        is_ragged = name == "text"
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=device)
        features[name] = (values, mask if is_ragged else there)
    empty = {
        name: torch.zeros(1, found.shape[-1])
        for name, found in facts.features.items()
        if name == "text"
    }
    return Batch(
        tasks=tuple(parse_mix(settings.data.mix)),
        task=torch.zeros(count, dtype=torch.int64),
        images=images,
        keys=("key",) * count,
        captions=(_CAPTION,) * count,
        style_names=tuple(_STYLES[number % len(_STYLES)] for number in range(count)),
        weights=torch.ones(count),
        sample_seed=torch.arange(count),
        features=features,
        empty=empty,
    )


def _side(settings: RunConfig) -> int:
    """Pixels a side; of buckets, of a square with the most pixels that there may be."""
    how, needs = settings.data.buckets, needs_of(settings)
    if not how.multiple:
        return max(needs.size, 1)
    return (how.size or needs.size) // how.multiple * how.multiple


def _pictures(count: int, side: int, device: str) -> ImageSet:
    return ImageSet(
        pixels=torch.zeros(count, 3, side, side, dtype=torch.uint8, device=device),
        present=torch.ones(count, dtype=torch.bool, device=device),
        keys=("key",) * count,
        original_size=torch.full((count, 2), side),
        crop_offset=torch.zeros(count, 2, dtype=torch.int64),
        flipped=torch.zeros(count, dtype=torch.bool),
    )


def _stored(feature: Feature, settings: RunConfig) -> FeatureFacts:
    """Of the sidecar that a feature's command makes."""
    flags = dict(re.findall(r"--(\w+)=(\S+)", feature.command))
    name = flags.get("encoder", "")
    size = int(flags["target_size"]) if flags.get("target_size", "").isdigit() else 0
    size = size or needs_of(settings).size or 512
    weights = "" if name == "haar" else PLANNED
    encoder: dict[str, object] = {"encoder": name, "precision": "fp32", "weights": weights}
    encoder.update(_identity(name))
    return FeatureFacts(encoder, {"size": size}, _shape(feature, flags, size))


def _identity(encoder: str) -> Mapping[str, object]:
    """What `to_latents` reads of an encoder's identity."""
    known: Mapping[str, Mapping[str, object]] = {
        "autoencoder_kl": {"scaling_factor": 0.18215, "shift_factor": 0.0}, "haar": {"levels": 3},
    }  # fmt: skip
    return known.get(encoder, {})


def _shape(feature: Feature, flags: Mapping[str, str], size: int) -> tuple[int, ...]:
    encoder, side = flags.get("encoder", ""), size // 8
    embedding, tokens = _WIDTHS.get(flags.get("weights", ""), (768, 1024))
    places = 1 + (224 // 14) ** 2
    is_one = feature.output in (None, "embedding")
    shapes: dict[str, tuple[int, ...]] = {
        "autoencoder_kl": (8, side, side), "taef2": (32, side, side), "haar": (192, side, side),
        "t5": (_TOKENS, 4096), "clip_text": (embedding,),
        "clip_image": (embedding,) if is_one else (places, tokens),
    }  # fmt: skip
    if encoder not in shapes:
        raise UserError(
            f"the stored {feature.name} is not known before it is made: make it first, then plan"
        )
    return shapes[encoder]


def bytes_of(facts: DataFacts, settings: RunConfig) -> int:
    """Bytes of one sample in a batch."""
    pictures = len(needs_of(settings).roles) * 3 * _side(settings) ** 2
    return pictures + sum(2 * math.prod(found.shape) for found in facts.features.values())
