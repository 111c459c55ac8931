"""Mean and covariance of features that stream by, in bounded memory.

Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance": sums of squares about
each part's own mean are merged, so that features far from 0 lose no digits, and the order and size
of the parts change nothing but the last bits.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """count: samples. mean: float64 [D]. scatter: float64 [D,D], sum of (x − mean)(x − mean)ᵀ."""

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def none(cls, dim: int) -> "Moments":
        """Of no sample."""
        return cls(0, np.zeros(dim), np.zeros((dim, dim)))

    @classmethod
    def of(cls, features: np.ndarray) -> "Moments":
        """Of features [N,D], any float."""
        values = np.asarray(features, np.float64)
        mean = values.mean(0)
        about = values - mean
        return cls(len(values), mean, about.T @ about)

    def __add__(self, other: "Moments") -> "Moments":
        """Of both together."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        apart = other.mean - self.mean
        scatter = self.scatter + other.scatter
        scatter += np.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, self.mean + apart * (other.count / count), scatter)

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased, [D,D]. Raises ValueError for fewer than two samples."""
        if self.count < 2:
            raise ValueError(f"the covariance of {self.count} samples")
        return self.scatter / (self.count - 1)
