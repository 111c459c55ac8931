"""Which pretrained weights the metrics look with, see `toolkit.encoders.inventory`."""

import contextlib
import importlib
from collections import defaultdict
from pathlib import Path
from typing import Any

from eval.features.api import Extractor, Extractors, MissingWeights, extractor_names
from eval.metrics import metric_names, open_metric
from eval.metrics.api import Tools
from toolkit.core.errors import UserError
from toolkit.encoders.inventory import Weights, holds_weights


class _Asked(Extractors):
    """Notes which extractors are asked for, and opens none."""

    def __getitem__(self, name: str) -> Extractor:
        self._opened[name] = MissingWeights(name, "", "")
        return Extractor({}, kept=False, picture=lambda seen: (), text=lambda seen: ())

    def names(self) -> list[str]:
        """Of those asked for."""
        return list(self._opened)


def wanted() -> list[Weights]:
    """Those of every extractor that has any, with the metrics that use it."""
    users = _users()
    found = []
    for name in extractor_names():
        module = importlib.import_module(f"eval.features.{name}")
        find = getattr(module, "find", None)
        if find is None:
            continue
        used_by = tuple(f"metric {metric}" for metric in users[name]) or (f"extractor {name}",)
        try:
            place = Path(find(None))
        except MissingWeights as error:
            whose = error.what.partition(": ")[2]
            found.append(Weights(used_by, whose, error.size, error.command, None))
        else:
            found.append(_there(used_by, place, getattr(module, "PRETRAINED", None)))
    return found


def _there(used_by: tuple[str, ...], place: Path, default: Any) -> Weights:
    """Weights that were found; of a download that got no further than their configuration,
    missing."""
    if default is not None and not holds_weights(place):
        return Weights(used_by, default.hub_id, default.size, default.command, None)
    return Weights(used_by, _name_of(place), "", "", str(place))


def _users() -> dict[str, list[str]]:
    """Metrics by extractor."""
    users: dict[str, list[str]] = defaultdict(list)
    for metric in metric_names():
        asked = _Asked()
        with contextlib.suppress(UserError, LookupError):  # one that needs more, as a probe
            open_metric(metric, Tools(extractors=asked))
        for name in asked.names():
            users[name].append(metric)
    return users


def _name_of(place: Path) -> str:
    """The hub id of a folder in the hub's cache; of anything else the last part of its path."""
    for part in place.parts:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/")
    return place.name
