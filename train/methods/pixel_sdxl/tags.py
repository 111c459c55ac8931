"""Captions that are lists of tags: some left out, the others in another order, by each sample's
seed."""

import random

from toolkit.core.keyed import key64
from train.methods.pixel_sdxl.config import TagsConfig


def varied(caption: str, seed: int, how: TagsConfig) -> str:
    """The caption with some of its tags.

    Each sample draws one probability, from 0 to `how.dropout`, with which each of its tags is left
    out, as long as `how.least` stay; then all are shuffled, fixed ones among them, since a text
    encoder reads 77 tokens and what always stands last would often not be read.
    """
    if not (how.shuffle or how.dropout):
        return caption
    tags = [tag.strip() for tag in caption.split(",") if tag.strip()]
    drawn = random.Random(key64("tags", seed))
    share = how.dropout * drawn.random()
    loose = tags[: len(tags) - how.fixed] if how.fixed else tags
    able = [number for number, tag in enumerate(loose) if tag not in how.keep]
    gone = [number for number in able if drawn.random() < share]
    drawn.shuffle(gone)
    out = set(gone[: max(0, len(tags) - how.least)])
    kept = [tag for number, tag in enumerate(tags) if number not in out]
    if how.shuffle:
        drawn.shuffle(kept)
    return ", ".join(kept)
