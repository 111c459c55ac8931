"""LPIPS to the content over SqueezeNet; see `eval/metrics/lpips.py`."""

from eval.metrics.api import Metric, Tools
from eval.metrics.lpips import lpips_to_content


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights without the trunk."""
    return lpips_to_content("lpips_squeeze", tools.extractors["lpips_squeeze"])
