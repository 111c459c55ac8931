"""Which input becomes which sample: keys are given out once, in the order of the inputs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from toolkit.core.records import Ref
from toolkit.core.spool import SeenKeys
from toolkit.store.keys import make_key


@dataclass(frozen=True)
class Input:
    """A ref and its key. clash: whether an earlier input has that key, so that this one cannot be
    stored under it."""

    ref: Ref
    key: str
    clash: bool = False


def plan(refs: Iterable[Ref]) -> Iterator[Input]:
    """Gives every ref its key. Runs in one process, so the answer does not depend on shards."""
    with SeenKeys() as seen:
        for ref in refs:
            key = make_key(ref.key or ref.source_id)
            yield Input(ref, key, clash=not seen.add(key))
