"""Files that are either whole or absent: written under a temporary name, flushed, renamed."""

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.log import warn

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` when the block succeeds.

    On any exception the temporary file is removed and `path` is as it was. Raises UserError when
    the file cannot be written, for example because the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def link_atomic(path: Path, target: Path) -> None:
    """Makes `path` a symbolic link to `target`, a relative one where the two share a folder.

    What was there is replaced; a link that is right already stays. Raises UserError.
    """
    folder, target = path.parent.resolve(), target.resolve()
    near = folder.parts[:2] == target.parts[:2]
    text = os.path.relpath(target, folder) if near else str(target)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        if path.is_symlink() and os.readlink(path) == text:
            return
        os.symlink(text, temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot make the link {path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def without_temporary(folders: Sequence[Path]) -> Iterator[None]:
    """Removes temporary files from `folders`: those of an earlier process that was killed, and at
    the end those of processes that were killed meanwhile. Nobody else may write there."""
    try:
        _remove_temporary(folders)
        yield
    finally:
        _remove_temporary(folders)


def _remove_temporary(folders: Sequence[Path]) -> None:
    for folder in folders:
        for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder last, as after a rename."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes `data` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def usual_mode(path: Path) -> Iterator[None]:
    """A file that is written inside may be read by whom others may: some libraries leave theirs to
    their owner alone."""
    path.touch()
    mode = path.stat().st_mode
    yield
    path.chmod(mode)


def make_folder(path: Path) -> Path:
    """Makes `path` and checks that it can be written. Raises UserError with the reason."""
    make_folders([path])
    return path


def make_folders(paths: Sequence[Path]) -> None:
    """Makes all of `paths`, or none: folders made for the first are removed when a later one fails.

    Raises UserError with the reason.
    """
    made: list[Path] = []
    for path in paths:
        missing = [p for p in (path, *path.parents) if not p.exists()]
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):  # without a name, so a kill leaves nothing
                pass
        except OSError as error:
            for folder in [p for p in missing if p.is_dir()] + made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            reason = error.strerror or error
            raise UserError(f"cannot write to {path}: {reason}; choose another folder") from None
        made = missing + made


@contextmanager
def held(folder: Path, busy: str) -> Iterator[int]:
    """Keeps other processes from holding the same folder until the block ends, or the process.

    Yields the descriptor that holds it: a process that inherits it holds the folder too.

    Raises UserError with the text `busy` when another process holds it. A file system without locks
    is used without one, which a line on stderr says.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(busy) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                raise UserError(f"cannot lock {folder}: {error.strerror}") from None
            warn(f"{folder} cannot be locked: let no second process work there")
        yield handle
    finally:
        os.close(handle)  # and with it the lock goes


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
