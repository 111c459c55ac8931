"""What is evaluated: a run's pictures, or those of somebody else's program."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Subject:
    """A dataset of pictures, and what is known of how they came about.

    name: of the results. method: of the run, "" for pictures of a folder. dataset: of the pictures.
    scores: folder of the results. cost: of making the pictures, empty if unknown. references: SQL
    of pictures that stand for styles; label: for which, see `eval.roster.pool_of`. trained_on:
    dataset and condition of each task; None if unknown. split: what was trained on, "" if unknown.
    log, config: of the training.
    """

    name: str
    method: str
    dataset: str
    scores: Path
    cost: dict[str, Any] = field(default_factory=dict)
    references: str = ""
    label: dict[str, Any] = field(default_factory=dict)
    trained_on: list[tuple[str, str]] | None = None
    split: str = ""
    log: list[dict[str, Any]] = field(default_factory=list)
    config: str = ""
