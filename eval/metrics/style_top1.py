"""WikiArt style Top-1: does a classifier of real paintings take the picture for its style?

The classifier is a linear probe of DINOv2 features (`eval.probe`), frozen and hashed. Its accuracy
on held-out real paintings bounds what a score means, and always stands beside it; so do the scores
of the unchanged contents, and of the style references themselves.
"""

from collections.abc import Mapping
from pathlib import Path

from eval.features.api import CannotLook, Features, MissingWeights
from eval.linear_probe import FACTS, load
from eval.metrics.api import Metric, Tools
from toolkit.core.errors import UserError


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights without the probe, UserError for one of other features."""
    extractor = tools.extractors["dinov2"]
    folder = tools.probe or Path("manifests/probe")
    if not (folder / FACTS).is_file():
        raise MissingWeights(
            f"style_top1: a probe in {folder}", "python -m eval.probe", "trained here"
        )
    probe = load(folder)
    if probe.facts["extractor"] != dict(extractor.identity):
        raise UserError(f"the probe in {folder} was trained with other dinov2 weights: train anew")

    def score(output: Features, label: str) -> float:
        """1 where the style is named first, 0 otherwise."""
        if label not in probe.labels:
            raise CannotLook(f"the probe does not know the style {label}")
        return float(probe.best(output[0]) == label)

    return Metric(
        "style_top1", "higher", "label", extractor, score, "share taken for its style, 0 to 1",
        settings={"probe": probe.sha256}, beside=_beside(probe.facts["accuracy"]),
    )  # fmt: skip


def _beside(accuracy: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """What the probe is right about on real pictures that it was not trained on."""
    found = {}
    for split, right in accuracy.items():
        if split != "train":
            bounds = f"chance {right['chance']:.3f}, most frequent {right['majority']:.3f}"
            found[f"accuracy on real pictures, {split}"] = f"{right['top1']:.3f} ({bounds})"
    return found or {"accuracy on real pictures": "unknown, none was held out"}
