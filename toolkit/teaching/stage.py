"""Where finished pictures wait until their shard is whole: two small files an attempt.

shards/<dataset>/.staged/<shard>/<key>.<hash>-<attempt>.png     the picture, unless it was refused
shards/<dataset>/.staged/<shard>/<key>.<hash>-<attempt>.json    what came of it, written last

The hash is of everything that the plan says of the target.

A target is finished when its last attempt says so. Whatever a kill leaves is either whole or
absent.
"""

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.pairing.plan import Target
from toolkit.store.layout import Layout
from toolkit.store.manifest import to_json

_NAME = re.compile(r"(.+)\.[0-9a-f]{8}-\d+\.(json|png|jpg)")


@dataclass(frozen=True)
class Attempt:
    """One attempt at a target. number: from 1; settings: the teacher's, as they were; grade: A, B
    or R; causes, doubts, weight: of the verdict; measures: by name; notes: of the teacher; is_last:
    whether nothing more is tried; ext: of the stored picture, empty where it was refused."""

    number: int
    settings: dict[str, Any]
    grade: str
    causes: tuple[str, ...]
    doubts: tuple[str, ...]
    weight: float
    measures: dict[str, Any]
    notes: tuple[str, ...]
    is_last: bool
    ext: str


class Stage:
    """The staged attempts of one dataset."""

    def __init__(self, layout: Layout, dataset: str):
        self.folder = layout.shards / dataset / ".staged"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps the other processes of this work from packing meanwhile; waits for them."""
        with open(self.folder / "packing.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def attempts(self, shard: int, target: Target) -> list[Attempt]:
        """The attempts that are there, in order."""
        found: list[Attempt] = []
        while (path := self._path(shard, target, len(found) + 1, "json")).exists():
            found.append(_read(path))
        return found

    def add(self, shard: int, target: Target, attempt: Attempt, data: bytes) -> None:
        """Keeps an attempt. data: of its picture, not looked at where it was refused."""
        make_folder(self._path(shard, target, attempt.number, "json").parent)
        if attempt.ext:
            write_atomic(self._path(shard, target, attempt.number, attempt.ext), data)
        text = to_json(asdict(attempt))
        write_atomic(self._path(shard, target, attempt.number, "json"), text)

    def picture(self, shard: int, target: Target, attempt: Attempt) -> bytes:
        """The picture of an attempt that was not refused."""
        return self._path(shard, target, attempt.number, attempt.ext).read_bytes()

    def kept(self) -> Iterator[tuple[int, Path]]:
        """Each file of each attempt, with the number of the shard that it waits for."""
        for folder in sorted(self.folder.glob("??????")):
            for path in sorted(folder.iterdir()):
                if _NAME.fullmatch(path.name):
                    yield int(folder.name), path

    def key_of(self, path: Path) -> str:
        """Of the target that a file is of."""
        return path.name.rpartition(".")[0].rpartition(".")[0]

    def is_of(self, path: Path, target: Target) -> bool:
        """Whether a file is of just this target."""
        return path.name.startswith(f"{target.key}.{_digest(target)}-")

    def is_whole(self, shard: int, targets: Sequence[Target]) -> bool:
        """Whether all of these targets are finished."""
        return all(
            (attempts := self.attempts(shard, target)) and attempts[-1].is_last
            for target in targets
        )

    def drop(self, shard: int) -> None:
        """Removes what was staged of a shard that is packed."""
        shutil.rmtree(self.folder / f"{shard:06d}", ignore_errors=True)

    def _path(self, shard: int, target: Target, attempt: int, ext: str) -> Path:
        return self.folder / f"{shard:06d}" / f"{target.key}.{_digest(target)}-{attempt}.{ext}"


def _digest(target: Target) -> str:
    return hashlib.sha256(to_json(asdict(target)).encode()).hexdigest()[:8]


def _read(path: Path) -> Attempt:
    try:
        tree = json.loads(path.read_text("utf-8"))
        for name in ("causes", "doubts", "notes"):
            tree[name] = tuple(tree[name])
        return Attempt(**tree)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it, it is made again") from None
