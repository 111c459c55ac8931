"""Folders that may lie in an object store: paths for the disk, URLs for everything else."""

import re
from pathlib import Path, PurePosixPath
from typing import NoReturn, cast

from toolkit.core.errors import UserError


class RemotePath(PurePosixPath):
    """A URL that is taken apart and put together like a path: s3://bucket/shards, gs://…, hf://…"""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise UserError(f"{self} is remote: a folder or file of this machine is needed here")

    __fspath__ = is_dir = exists = mkdir = open = glob = rglob = iterdir = resolve = _refuse
    expanduser = stat = read_text = read_bytes = _refuse

    def is_file(self) -> bool:
        """Taken for granted: whoever reads it finds out."""
        return True

    def absolute(self) -> "RemotePath":
        """Itself."""
        return self


def is_remote(place: object) -> bool:
    """Whether a folder or file lies in an object store."""
    return "://" in str(place)


def folder(text: str) -> Path:
    """The folder that a text names. What lies in an object store has the methods of a path that
    need no disk. Raises UserError for a URL with one slash."""
    if re.match(r"(s3|gs|az|hf|https?):/[^/]", text):
        raise UserError(f"{text}: a URL has two slashes, {text.replace(':/', '://', 1)}")
    return cast(Path, RemotePath(text)) if is_remote(text) else Path(text)
