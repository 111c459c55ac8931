"""The Fréchet distance of two normal distributions, of which FID is one.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule" (arXiv 1706.08500), Eq. 6:
|m₁ − m₂|² + tr(C₁ + C₂ − 2·(C₁C₂)^½). The trace of the root is the sum of the roots of the
eigenvalues of C₁^½·C₂·C₁^½, which is symmetric: nothing complex can come up.
"""

import numpy as np

from eval.moments import Moments


def frechet_distance(a: Moments, b: Moments) -> float:
    """From 0, in squared units of the features; 0 for equal moments. Raises ValueError for fewer
    than two samples, or other features."""
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of {len(a.mean)} and of {len(b.mean)} numbers")
    first, second = a.covariance, b.covariance
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    apart = a.mean - b.mean
    return float(max(0.0, apart @ apart + np.trace(first) + np.trace(second) - 2 * shared))
