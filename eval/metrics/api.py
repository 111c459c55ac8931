"""What a metric is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np


class MissingWeights(Exception):
    """A metric's weights are not on this machine. command: what gets them; size: how much it is."""

    def __init__(self, what: str, command: str, size: str):
        super().__init__(f"{what} is missing ({size}); get it with: {command}")
        self.what, self.command, self.size = what, command, size


@dataclass(frozen=True)
class Metric:
    """A score of one picture against one reference.

    better: the direction of improvement. reference: which picture it is compared with. extractor:
    what looks at the pictures, weights included. settings: anything else that decides the value.
    score: (output, reference), both uint8 [S,S,3] of one size, to a number.
    """

    name: str
    better: Literal["higher", "lower"]
    reference: Literal["content", "style", "target"]
    extractor: str
    score: Callable[[np.ndarray, np.ndarray], float]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricResult:
    """A metric over a whole dataset.

    value: the mean. low, high: a 95% interval. baselines: the same metric for other pictures in
    the output's place (the unchanged content) or another reference (a shuffled style).
    """

    name: str
    value: float
    low: float
    high: float
    num_samples: int
    better: str
    reference: str
    extractor: str
    baselines: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
