"""Reading dataset.json, the sign that a dataset was packed to its end."""

import json
from typing import Any

from toolkit.core.errors import UserError
from toolkit.store.layout import PACK_FIRST, Layout


def read_card(layout: Layout, dataset: str) -> dict[str, Any]:
    """The whole card. Raises UserError when it is missing or damaged."""
    try:
        card: dict[str, Any] = json.loads(layout.card(dataset).read_text("utf-8"))
        if not isinstance(card["root_sha256"], str) or not isinstance(card["parents"], list):
            raise TypeError("a field has another type")
    except FileNotFoundError:
        raise UserError(f"the pack of {dataset} did not finish: {PACK_FIRST}") from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{layout.card(dataset)} is damaged ({error}): pack it again") from None
    return card


def root_sha256(layout: Layout, dataset: str) -> str:
    """Hex hash over all tars and manifests: equal ones hold equal data. Raises UserError."""
    return str(read_card(layout, dataset)["root_sha256"])
