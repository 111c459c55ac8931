"""LPIPS to the content over VGG-16; see `eval/metrics/lpips.py`."""

from eval.metrics.api import Metric, Tools
from eval.metrics.lpips import lpips_to_content


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights without the trunk."""
    return lpips_to_content("lpips_vgg", tools.extractors["lpips_vgg"])
