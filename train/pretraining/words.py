"""Tokenizers of a few hundred words, in the formats of T5's and CLIP's."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def words_of(captions: Iterable[str]) -> list[str]:
    """The words of captions, each once, in alphabetical order."""
    return sorted({word for text in captions for word in re.findall(r"[a-z0-9]+", text.lower())})


def write_t5_tokenizer(words: Iterable[str], folder: Path) -> int:
    """One piece a word, and letters for other words. Returns the size of the vocabulary."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -2.0)]
    pieces += [("▁" + word, -3.0) for word in words if len(word) > 1]
    pieces += [(letter, -9.0) for letter in _LETTERS]
    pieces += [("▁" + letter, -6.0) for letter in _LETTERS] + [("▁", -9.0)]
    T5Tokenizer(vocab=pieces, extra_ids=0).save_pretrained(folder)
    return len(pieces)


def write_clip_tokenizer(captions: Iterable[str], folder: Path, size: int = 1000) -> int:
    """Byte pairs learned from captions. Returns the size of the vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = ["<|startoftext|>", "<|endoftext|>"]
    tokenizer.train_from_iterator(
        sorted(set(captions)),
        trainers.BpeTrainer(
            vocab_size=size, end_of_word_suffix="</w>", initial_alphabet=list(_LETTERS),
            show_progress=False,
        ),
    )  # fmt: skip
    learned = json.loads(tokenizer.to_str())["model"]
    names = sorted(learned["vocab"], key=learned["vocab"].get)
    names += [c + "</w>" for c in _LETTERS if c + "</w>" not in learned["vocab"]]
    vocabulary = {name: number for number, name in enumerate([*names, *ends])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in learned["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(vocabulary)
