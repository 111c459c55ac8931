"""CLIP R-precision: is the picture's caption found among other texts?

Park et al. 2021, "Benchmark for Compositional Text-to-Image Synthesis", after Xu et al. 2018
(AttnGAN): texts are ranked by the cosine of CLIP's embeddings, the picture's own text among others.
Here the others are the lines of a file, and the caption counts as found among the first five, as a
competition counts it; published R-precision counts the first of a hundred. Case does not matter.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.features.api import Features
from eval.metrics.api import Metric, Tools
from toolkit.core.errors import UserError
from toolkit.core.files import sha256_of

TOP = 5
NOUNS = Path(__file__).parents[1] / "words" / "nouns.txt"


def found(output: np.ndarray, own: np.ndarray, others: np.ndarray, top: int = TOP) -> bool:
    """Whether fewer than `top` of the others are nearer to the picture than its own text.

    output, own: [D]; others: [N,D]; all of length 1. Others that are the own text do not count.
    """
    different = np.abs(others - own).max(axis=1) > 1e-6
    return bool(((others[different] @ output) > own @ output).sum() < top)


def words_of(path: Path) -> list[str]:
    """The lines of a file, in lower case, without repetitions. Raises UserError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--words={path}: cannot be read ({error}); a text a line") from None
    words = list(dict.fromkeys(line.strip().lower() for line in lines if line.strip()))
    if len(words) < TOP:
        raise UserError(f"--words={path}: {len(words)} texts, and {TOP} are needed")
    return words


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights, or UserError for a file of words that is none."""
    path = tools.words or NOUNS
    words = words_of(path)
    return retrieval("clip_r", tools.extractors["clip_large"], words, {
        "top": TOP, "words": path.name, "words_sha256": sha256_of(path), "texts": len(words) + 1,
    })  # fmt: skip


def retrieval(name: str, extractor: Any, words: Sequence[str], settings: dict[str, Any]) -> Metric:
    """The metric among some texts."""
    others = np.stack([extractor.text(word)[0] for word in words])

    def score(output: Features, caption: Features) -> float:
        return float(found(output[0], caption[0], others))

    return Metric(
        name, "higher", "caption", extractor, score, "share that is found, 0 to 1",
        settings=settings, lower_case=True,
    )  # fmt: skip
