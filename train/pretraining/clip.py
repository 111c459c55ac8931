"""A CLIP of a million weights, from nothing (Radford et al. 2021): what a caption says of a
picture, its subject, its colours and its style, becomes what the picture's embedding tells."""

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from toolkit.store.layout import Layout
from toolkit.store.selection import select
from train.pretraining.fit import Recipe, fit
from train.pretraining.stream import held_out, pictures
from train.pretraining.words import write_clip_tokenizer

WIDTH, EMBEDDING = 128, 128
_MEAN, _STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def train_clip(
    layout: Layout, dataset: str, out: Path, size: int, steps: int, batch_size: int, seed: int
) -> float:
    """Trains one, writes it as `out`, and returns how often the nearest caption of 32 held-out
    pictures' is a picture's own."""
    from transformers import CLIPImageProcessor, CLIPTokenizer

    chosen = select(dataset, dataset, "true", layout)
    num_words = write_clip_tokenizer(chosen.table.column("caption").to_pylist(), out)
    tokenizer = CLIPTokenizer.from_pretrained(out)
    torch.manual_seed(seed)
    model = _model(size, num_words)

    def loss_of(pixels: torch.Tensor, captions: tuple[str, ...]) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = _logits(model, tokenizer, pixels, captions)
        return contrastive_loss(logits.float(), captions)

    with pictures(layout, dataset, size, batch_size, seed) as stream:
        fit(model, stream, loss_of, Recipe("CLIP", steps, 1e-3, 0.98, 0.1, rising=0.1))
    model.eval().half().save_pretrained(out)
    CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size},
        image_mean=_MEAN, image_std=_STD,
    ).save_pretrained(out)  # fmt: skip
    pixels, captions = held_out(layout, dataset, size, 160)
    with torch.no_grad():
        return _hits(_logits(model.float(), tokenizer, pixels, captions), captions)


def contrastive_loss(logits: torch.Tensor, captions: tuple[str, ...]) -> torch.Tensor:
    """Cross-entropy both ways, mean. Pictures with the same caption are each other's as well, in
    equal shares. logits: [N,N], pictures by captions."""
    same = torch.tensor([[float(a == b) for b in captions] for a in captions])
    wanted = same / same.sum(1, keepdim=True)
    ways = functional.cross_entropy(logits, wanted), functional.cross_entropy(logits.T, wanted)
    return (ways[0] + ways[1]) / 2


def _model(size: int, num_words: int) -> Any:
    from transformers import CLIPConfig, CLIPModel

    blocks = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4}
    return CLIPModel(
        CLIPConfig(
            projection_dim=EMBEDDING,
            text_config={
                **blocks, "num_hidden_layers": 2, "projection_dim": EMBEDDING,
                "vocab_size": num_words, "max_position_embeddings": 77,
                "bos_token_id": num_words - 2, "eos_token_id": num_words - 1,
                "pad_token_id": num_words - 1,
            },
            vision_config={
                **blocks, "num_hidden_layers": 4, "projection_dim": EMBEDDING, "image_size": size,
                "patch_size": size // 8,
            },
        )
    )  # fmt: skip


def _logits(
    model: Any, tokenizer: Any, pixels: torch.Tensor, captions: tuple[str, ...]
) -> torch.Tensor:
    """[N,N]: cosines of pictures and captions, at the learned temperature."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (_MEAN, _STD))
    tokens = tokenizer(
        list(captions), padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    )
    found = model(
        input_ids=tokens.input_ids[:, : int(tokens.attention_mask.sum(1).max())],
        pixel_values=((pixels + 1) / 2 - mean) / std,
    )
    logits: torch.Tensor = found.logits_per_image
    return logits


def _hits(logits: torch.Tensor, captions: tuple[str, ...], group: int = 32) -> float:
    hits = []
    for start in range(0, len(captions) - group + 1, group):
        part = logits[start : start + group, start : start + group]
        texts = captions[start : start + group]
        hits += [texts[best] == own for best, own in zip(part.argmax(1), texts, strict=True)]
    return sum(hits) / len(hits)
