"""CLIP-IQA: does the picture look like a good photograph, or a bad one?

Wang et al. 2023 (arXiv 2207.12396), Eq. 2: the softmax over 100 times the cosines to "Good photo."
and "Bad photo.". Noise can score high; it is a part of a competition's score more than a measure.
"""

import numpy as np

from eval.features.api import Features
from eval.features.clip_iqa import TEXTS
from eval.metrics.api import Metric, Tools

LOGIT_SCALE = 100.0


def share(picture: np.ndarray, texts: np.ndarray) -> float:
    """In [0,1]: how much nearer to the picture [D] the first of two texts [2,D] is; all of length
    1."""
    good, bad = LOGIT_SCALE * (texts.astype(np.float64) @ picture.astype(np.float64))
    return float(1 / (1 + np.exp(np.clip(bad - good, -700, 700))))


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights."""
    extractor = tools.extractors["clip_iqa"]
    assert extractor.text is not None
    texts = np.stack([extractor.text(text)[0] for text in TEXTS])

    def score(output: Features, _: None) -> float:
        return share(output[0], texts)

    return Metric(
        "clip_iqa", "higher", "nothing", extractor, score, "share of a softmax, 0 to 1",
        settings={"texts": list(TEXTS)},
    )  # fmt: skip
