"""What a packed sample's `.json` member says besides what anybody's says: it names the sample, and
repeats the columns that only Tessera has."""

import json
from typing import Any

from toolkit.core.records import Link

_TEXTS = ("split_artist_disjoint", "protocol", "parent", "grade")
_KINDS: dict[str, tuple[type, ...]] = {
    "attempt": (int,), "protocol_exact": (bool,), "weight": (int, float),
}  # fmt: skip
_AGAIN = ("key", "dataset", "width", "height", "format", "phash", "sha256", "source_id")


def told_by_us(facts: dict[str, Any]) -> dict[str, Any]:
    """Takes the columns that only Tessera writes out of `facts`, as arguments of a Record; those
    that packing finds out again are dropped. Nothing, and `facts` as they were, where somebody else
    wrote them."""
    if not all(isinstance(facts.get(name), str) for name in ("key", "dataset")):
        return {}
    told: dict[str, Any] = {}
    try:
        told["links"] = tuple(_link(x) for x in facts.get("links") or ())
        for name in _TEXTS:
            told[name] = _typed(facts.get(name), (str,))
        for name, kinds in _KINDS.items():
            told[name] = _typed(facts.get(name), kinds)
        extra = json.loads(facts.get("extra") or "{}")
        if not isinstance(extra, dict):
            raise TypeError("extra is no object")
    except (TypeError, ValueError, RecursionError):
        return {}
    for name in (*told, *_AGAIN, "extra"):
        facts.pop(name, None)
    told = {name: value for name, value in told.items() if value not in (None, ())}
    if "weight" in told:
        told["weight"] = float(told["weight"])
    return {**told, "extra": extra}


def _link(value: Any) -> Link:
    link = Link(**value)
    for text in (link.role, link.dataset, link.key):
        _typed(text, (str,), may_lack=False)
    return link


def _typed(value: Any, kinds: tuple[type, ...], may_lack: bool = True) -> Any:
    if value is None and may_lack:
        return None
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{value!r} is not one of {kinds}")
    return value
