"""What a Fréchet distance says of few pictures.

Its expectation is far above 0 for two samples of one and the same distribution: about the trace of
the covariance over the number of pictures, which for fewer pictures than features is most of what
is seen. So the distance is shown beside what two such samples of these sizes would give.
"""

import numpy as np

from eval.frechet import frechet_distance
from eval.moments import Moments
from toolkit.core.keyed import key64

DRAWS = 3


def variances(features: np.ndarray) -> np.ndarray:
    """The variances of features [N,D] along the axes of their covariance, those that are not 0."""
    centred = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    small = centred @ centred.T if len(centred) < features.shape[1] else centred.T @ centred
    found = np.linalg.eigvalsh(small)  # both have the same eigenvalues, but for zeros
    return found[found > 1e-12 * max(found[-1], 1e-300)]


def expected_distance(spread: np.ndarray, first: int, second: int) -> float:
    """The mean distance of two samples, of `first` and of `second` pictures, that are drawn from
    one normal distribution with the variances `spread` along its axes."""
    scales = np.sqrt(spread)
    rng = np.random.Generator(np.random.Philox(key=key64("frechet", first, second)))
    found = []
    for _ in range(DRAWS):
        if first + second < 2 * len(scales):
            a, b = (rng.standard_normal((n, len(scales))) * scales for n in (first, second))
            found.append(distance_of_samples(a, b))
        else:
            found.append(frechet_distance(*(drawn(rng, n, scales) for n in (first, second))))
    return float(np.mean(found))


def drawn(rng: np.random.Generator, count: int, scales: np.ndarray) -> Moments:
    """Mean and scatter of `count` samples of a normal distribution with deviations `scales` [D].

    Of more samples than features the scatter is drawn by itself, for it is Wishart's distribution
    (Bartlett 1933: a triangle of normal numbers with roots of χ² on its diagonal), so that memory
    does not grow with `count`.
    """
    dim = len(scales)
    if count <= dim:
        return Moments.of(rng.standard_normal((count, dim)) * scales)
    triangle = np.tril(rng.standard_normal((dim, dim)), -1)
    triangle[np.diag_indices(dim)] = np.sqrt(rng.chisquare(count - 1 - np.arange(dim)))
    triangle *= scales[:, None]
    mean = rng.standard_normal(dim) * scales / count**0.5
    return Moments(count, mean, triangle @ triangle.T)


def distance_of_samples(a: np.ndarray, b: np.ndarray) -> float:
    """The Fréchet distance of features [M,D] and [N,D], without their covariances where there are
    fewer samples than features: tr (C₁C₂)^½ is the sum of the singular values of A·Bᵀ, of centred
    features over the roots of M − 1 and N − 1."""
    (m, dim), n = a.shape, len(b)
    if m + n >= 2 * dim:
        return frechet_distance(Moments.of(a), Moments.of(b))
    apart = a.mean(0) - b.mean(0)
    first, second = (a - a.mean(0)) / (m - 1) ** 0.5, (b - b.mean(0)) / (n - 1) ** 0.5
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    total = apart @ apart + np.square(first).sum() + np.square(second).sum() - 2 * shared
    return float(max(0.0, total))
