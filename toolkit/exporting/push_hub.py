"""Pushing to a dataset repository of the Hugging Face Hub, through huggingface_hub: commits of some
files each, so that one that was cut off goes on after the last; the card in a commit of its own.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from toolkit.core.errors import UserError, one_line
from toolkit.core.files import sha256_of
from toolkit.core.progress import Progress
from toolkit.exporting.sent import CARD, Local, Pushed

_FILES, _BYTES = 100, 5_000_000_000  # of a commit
_TRIES = 5
_PAUSE_S = 1.0
Found = TypeVar("Found")


def push_hub(
    files: list[Local], repository: str, public: bool, message: str, dry_run: bool
) -> Pushed:
    """Makes the repository where there is none, private unless told otherwise, and sends what is
    not there. Raises UserError."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import disable_progress_bars

    if get_token() is None:
        raise UserError("there is no token of the Hugging Face Hub: run `hf auth login`, or set "
                        "HF_TOKEN to one that may write")  # fmt: skip
    api = HfApi(library_name="tessera")
    disable_progress_bars()
    if not dry_run:
        _tried(repository, lambda: api.create_repo(
            repository, repo_type="dataset", private=not public, exist_ok=True
        ))  # fmt: skip
    there = _tried(repository, lambda: _there(api, repository, dry_run))
    wanted = [file for file in files if not _is_there(file, there.get(file.name))]
    names = {file.name for file in files}
    others = sum(name not in names and name != ".gitattributes" for name in there)
    if not dry_run:
        with Progress(len(files), f"push to {repository}", "files",
                      done=len(files) - len(wanted)) as progress:  # fmt: skip
            for part in _parts(wanted):
                _commit(api, repository, part, message)
                progress.advance(len(part))
    size = sum(file.size for file in wanted)
    to = f"hf://datasets/{repository}"
    return Pushed(to, len(wanted), size, len(files) - len(wanted), others)


def _parts(wanted: list[Local]) -> Iterator[list[Local]]:
    """Files that go together, the card alone."""
    part: list[Local] = []
    size = 0
    for file in wanted:
        if part and (len(part) == _FILES or size + file.size > _BYTES or file.name == CARD):
            yield part
            part, size = [], 0
        part.append(file)
        size += file.size
    if part:
        yield part


def _commit(api: Any, repository: str, part: list[Local], message: str) -> None:
    from huggingface_hub import CommitOperationAdd

    def send() -> None:
        # an operation cannot be used twice
        adds = [CommitOperationAdd(file.name, file.path) for file in part]
        api.create_commit(repository, adds, commit_message=message, repo_type="dataset")

    _tried(repository, send)


def _there(api: Any, repository: str, dry_run: bool) -> dict[str, tuple[int, bool, str]]:
    """Files of the repository: size, whether kept as LFS, and sha256 or git's hash."""
    from huggingface_hub import RepoFile
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    found = {}
    try:
        for x in api.list_repo_tree(repository, repo_type="dataset", recursive=True):
            if isinstance(x, RepoFile):
                hash_ = x.lfs.sha256 if x.lfs else x.blob_id
                found[x.path] = (x.size, bool(x.lfs), hash_)
    except EntryNotFoundError:  # nothing was committed yet
        return {}
    except RepositoryNotFoundError:
        if not dry_run:
            raise
    return found


def _is_there(file: Local, known: tuple[int, bool, str] | None) -> bool:
    if known is None or known[0] != file.size:
        return False
    return known[2] == (sha256_of(file.path) if known[1] else _git_hash(file))


def _git_hash(file: Local) -> str:
    """The hash by which git calls a file's bytes."""
    digest = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with open(file.path, "rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _tried(repository: str, call: Callable[[], Found]) -> Found:
    """The result of a call, tried again where the server or the network fails."""
    from huggingface_hub import constants

    for attempt in range(_TRIES):
        try:
            return call()
        except (UserError, FileNotFoundError):
            raise
        except Exception as error:  # the library lets errors of its transport through
            status = getattr(getattr(error, "response", None), "status_code", None)
            final = status is not None and 400 <= status < 500 and status not in (408, 429)
            if final or isinstance(error, ValueError) or attempt == _TRIES - 1:
                raise UserError(_told(repository, constants.ENDPOINT, status, error)) from None
            time.sleep(_PAUSE_S * 2**attempt)
    raise AssertionError("unreachable")


def _told(repository: str, endpoint: str, status: int | None, error: Exception) -> str:
    start = f"cannot push to {repository} at {endpoint}"
    if status in (401, 403):
        return f"{start}: the token may not write there (HTTP {status}): get one that may"
    cause = f" ({one_line(error.__cause__, 120)})" if error.__cause__ else ""
    return f"{start}: {one_line(error, 160)}{cause}"
