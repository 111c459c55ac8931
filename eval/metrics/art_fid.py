"""ArtFID: content kept and style matched, in one number.

Wright & Ommer 2022 (arXiv 2207.12280), Eq. 3: (1 + LPIPS to the content)·(1 + FID to the styles),
LPIPS over AlexNet, FID over a network that tells artists and styles apart. The paper extrapolates
FID to infinitely many pictures from 5,000 on; here it is of the pictures that are there, beside
what few pictures alone would give.
"""

from collections.abc import Mapping
from dataclasses import replace

from eval.metrics import fid
from eval.metrics.api import FeatureSet, SetMetric, SetScore, Tools


def distance(outputs: FeatureSet, references: FeatureSet, means: Mapping[str, float]) -> SetScore:
    """From 1. means: of `lpips`."""
    found = fid.distance(outputs, references, means)
    if found.value is None:
        return found
    factor = 1 + means["lpips"]
    expected = None if found.expected is None else factor * (1 + found.expected)
    return replace(found, value=factor * (1 + found.value), expected=expected)


def open_metric(tools: Tools) -> SetMetric:
    """Raises MissingWeights."""
    tools.extractors["lpips_alex"]
    return SetMetric(
        "art_fid", "lower", "style", tools.extractors["art_inception"], distance,
        "(1 + LPIPS)(1 + FID), from 1", needs=("lpips",),
    )  # fmt: skip
