"""Draws pairs: every content as often as any other, every style as often as was asked for.

Contents are gone through in rounds, each round in another keyed order. Styles are taken in turns
from a tree: from the branches in turn, and inside a branch again from its branches. Whoever is
refused by one content (they were a pair before, or look alike) is offered to the next ones first.
Nothing is left to a generator's state: the same arguments give the same pairs everywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from toolkit.core.keyed import key64

Tree = Sequence[Any]
"""Numbers, or trees."""
_TRIES = 64  # turns, before all that is left is looked through


def draw(
    num_contents: int, styles: Tree, seed: int, may_pair: Callable[[int, int], bool]
) -> Iterator[tuple[int, int]]:
    """Yields different (content, style) until there are no more.

    Args:
        num_contents: contents are 0 .. num_contents - 1.
        styles: numbers of the styles, as a tree; every branch has its turn as often as the others.
        seed: another gives other pairs.
        may_pair: whether a content and a style may be a pair.
    """
    turns, every = _turns(styles, seed, "styles"), sorted(_leaves(styles))
    seen: set[tuple[int, int]] = set()
    waiting: list[int] = []
    is_full = [False] * num_contents
    number = 0
    while not all(is_full):
        for content in _shuffled(range(num_contents), seed, "contents", number):
            if is_full[content]:
                continue

            def suits(style: int, content: int = content) -> bool:
                return (content, style) not in seen and may_pair(content, style)

            style = _next(waiting, turns, every, suits)
            if style is None:
                is_full[content] = True
                continue
            seen.add((content, style))
            yield content, style
        number += 1


def _next(
    waiting: list[int], turns: Iterator[int], every: list[int], suits: Callable[[int], bool]
) -> int | None:
    """The first that suits: of those that wait, of the next turns, of all."""
    for place, style in enumerate(waiting):
        if suits(style):
            return waiting.pop(place)
    for _ in range(min(_TRIES, len(every))):
        style = next(turns)
        if suits(style):
            return style
        waiting.append(style)
    del waiting[: -len(every)]  # when few pairs are left, turns are no longer owed
    return next((style for style in every if suits(style)), None)


def _turns(tree: Tree, *key: int | str) -> Iterator[int]:
    """Leaves, without end: each branch once in every round, and so on downwards."""
    branches = [_turns(b, *key, i) if isinstance(b, Sequence) else None for i, b in enumerate(tree)]
    number = 0
    while True:
        for place in _shuffled(range(len(tree)), *key, "round", number):
            branch = branches[place]
            yield tree[place] if branch is None else next(branch)
        number += 1


def _leaves(tree: Tree) -> Iterator[int]:
    for branch in tree:
        if isinstance(branch, Sequence):
            yield from _leaves(branch)
        else:
            yield branch


def _shuffled(items: Sequence[int], *key: int | str) -> list[int]:
    return sorted(items, key=lambda item: (key64(*key, item), item))
