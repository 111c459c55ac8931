"""Checks of the settings that a caller gives in Python."""

import operator
from typing import Any

from toolkit.core.errors import UserError


def at_least(least: int, **settings: Any) -> None:
    """Raises UserError for the first setting that is no whole number of at least `least`."""
    for name, value in settings.items():
        try:
            number = operator.index(value)
        except TypeError:
            raise UserError(f"{name}={value!r}: takes a whole number") from None
        if number < least:
            raise UserError(f"{name}={value}: takes {least} or more")
