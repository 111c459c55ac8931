"""KID: the squared maximum mean discrepancy of features, without bias.

Bińkowski et al. 2018, "Demystifying MMD GANs" (arXiv 1801.01401), section 4: the kernel
(x·y/d + 1)³ of Inception features. Unlike FID, its expectation does not depend on the number of
samples, so it may be negative.
"""

import numpy as np

_AT_ONCE = 1024  # rows of the kernel's matrix that are held


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Of features [M,D] and [N,D]. Raises ValueError for fewer than two on a side."""
    m, n = len(a), len(b)
    if min(m, n) < 2:
        raise ValueError(f"the kernel distance of {m} and {n} samples")
    within_a = (_kernel_sum(a, a) - _own(a)) / (m * (m - 1))
    within_b = (_kernel_sum(b, b) - _own(b)) / (n * (n - 1))
    return float(within_a + within_b - 2 * _kernel_sum(a, b) / (m * n))


def _kernel_sum(a: np.ndarray, b: np.ndarray) -> float:
    other = np.asarray(b, np.float64).T
    total = 0.0
    for start in range(0, len(a), _AT_ONCE):
        part = np.asarray(a[start : start + _AT_ONCE], np.float64)
        total += float(((part @ other / a.shape[1] + 1) ** 3).sum())
    return total


def _own(a: np.ndarray) -> float:
    squares = (np.asarray(a, np.float64) ** 2).sum(1)
    return float(((squares / a.shape[1] + 1) ** 3).sum())
