"""What a metric is: an extractor that looks, and a pure function of what it saw."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from eval.features.api import Extractor, Extractors, Features, fingerprint_of
from eval.moments import Moments

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Tools:
    """What metrics are opened with. words: file of texts that captions are retrieved among, the
    built-in one where None; probe: folder of a style probe, as `eval.probe` writes it."""

    extractors: Extractors = field(default_factory=Extractors)
    words: Path | None = None
    probe: Path | None = None


@dataclass(frozen=True)
class Metric:
    """A score of one picture against one reference.

    better: the direction of improvement. reference: what it is compared with: a picture, the
    picture's caption, the name of its style, or nothing. extractor: what looks at the pictures.
    score: the picture's features and those of the reference (of the caption the text's, of a label
    the text itself, of nothing None), to a number. unit: of the number, with its range. best: the
    score of a picture against itself, where that says anything. settings: anything else that
    decides the value. beside: numbers to be read with it, as the accuracy of a classifier. prefix,
    lower_case: how captions are given to the extractor.
    """

    name: str
    better: Better
    reference: Literal["content", "style", "target", "caption", "label", "nothing"]
    extractor: Extractor
    score: Callable[[Features, Any], float]
    unit: str
    best: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    lower_case: bool = False

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides a score."""
        facts = {"name": self.name, "extractor": dict(self.extractor.identity)}
        return fingerprint_of({**facts, "settings": dict(self.settings)})


class FeatureSet(Protocol):
    """Features of a set of pictures, in an order that depends on the pictures alone.

    count: pictures; dim: numbers of each.
    """

    count: int
    dim: int

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """float32 [size,dim] each, the last one with what is left."""
        ...

    def slice(self, start: int, stop: int) -> np.ndarray:
        """float32 [stop − start,dim]."""
        ...

    def moments(self) -> Moments:
        """Mean and scatter."""
        ...


@dataclass(frozen=True)
class SetScore:
    """A distance of two sets. value: None where there are too few pictures for any. low, high: a
    95% interval, None where no honest one is known. expected: what two samples of these sizes of
    one and the same distribution would give. notes: what a reader has to know."""

    value: float | None
    low: float | None = None
    high: float | None = None
    expected: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetMetric:
    """A distance of the set of all pictures from a set of references.

    which: of the extractor's features. needs: names of metrics of single pictures, whose means
    `distance` is given by name, after the features of pictures and of references.
    """

    name: str
    better: Better
    reference: Literal["content", "style", "target"]
    extractor: Extractor
    distance: Callable[[FeatureSet, FeatureSet, Mapping[str, float]], SetScore]
    unit: str
    which: int = 0
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricResult:
    """A metric over a whole dataset.

    kind: of single pictures, or of the set. value: the mean, or the distance. low, high: a 95%
    interval. num_samples: scored pictures; left_out: how many could not be scored, by reason.
    baselines: the same metric for other pictures in the output's place, or other references.
    expected, notes: of `SetScore`.
    """

    name: str
    kind: Literal["picture", "set"]
    value: float | None
    low: float | None
    high: float | None
    num_samples: int
    better: str
    reference: str
    unit: str
    identity: Mapping[str, Any]
    fingerprint: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    baselines: Mapping[str, float | None] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    expected: float | None = None
    notes: tuple[str, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)
