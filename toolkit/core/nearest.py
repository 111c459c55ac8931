"""The known name that is nearest to one that is not known."""

import difflib
from collections.abc import Iterable

_MANY = 40  # names that are worth listing


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name that looks most like the word, whatever its capitals; None where none does.

    cutoff: likeness from 0 to 1 that it needs (difflib's ratio).
    """
    by_case: dict[str, str] = {}
    for name in known:
        by_case.setdefault(name.casefold(), name)
    found = difflib.get_close_matches(word.casefold(), by_case, n=1, cutoff=cutoff)
    return by_case[found[0]] if found else None


def suggestion(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Behind a name that is not known: the nearest one, or all where none is near."""
    names = list(known)
    found = nearest(word, names, cutoff)
    return f"did you mean {found}?" if found else f"known: {_listed(names)}"


def choices(word: str, known: Iterable[object], cutoff: float = 0.6) -> str:
    """As `suggestion`, of few names: all of them, and the nearest one behind."""
    names = [str(name) for name in known]
    return f"choose one of {_listed(names)}{or_nearest(word, names, cutoff)}"


def or_nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean …?`, to end a message with; nothing where no name is near."""
    found = nearest(word, known, cutoff)
    return f"; did you mean {found}?" if found else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more if names else "none"
