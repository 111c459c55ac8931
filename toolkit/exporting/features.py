"""What the columns of a repository are, in the words of its card: `datasets` then need not guess
them from the first samples, which may lack what later ones have."""

from collections.abc import Sequence
from typing import Any


def features_of(schema: Any, exts: Sequence[str]) -> list[dict[str, Any]]:
    """`dataset_info` of the configurations. schema: a pyarrow Schema of the facts; exts: of the
    pictures."""
    names = [{"name": name, "dtype": "string"} for name in ("__key__", "__url__")]
    pictures = [{"name": ext, "dtype": "image"} for ext in exts]
    facts = {"name": "json", "struct": [_field(x.name, x.type) for x in schema]}
    text = {"name": "txt", "dtype": "string"}
    return [
        {"config_name": "default", "features": [*pictures, text, facts, *names]},
        {"config_name": "metadata", "features": [facts, *names]},
    ]


def _field(name: str, kind: Any) -> dict[str, Any]:
    import pyarrow.types as pt

    if pt.is_list(kind):
        inner = _field("item", kind.value_type)
        return {"name": name, "list": inner.get("dtype") or inner["struct"]}
    if pt.is_struct(kind):
        return {"name": name, "struct": [_field(x.name, x.type) for x in kind]}
    return {"name": name, "dtype": _dtype(kind)}


def _dtype(kind: Any) -> str:
    import pyarrow.types as pt

    if pt.is_boolean(kind):
        return "bool"
    if pt.is_integer(kind):
        return str(kind)
    if pt.is_floating(kind):
        return {"float": "float32", "double": "float64", "halffloat": "float16"}[str(kind)]
    return "string"
