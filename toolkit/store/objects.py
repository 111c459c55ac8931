"""Objects in stores: S3 and what speaks like it, gs://, az://, http(s):// through obstore; hf://
through huggingface_hub.

Credentials and endpoints are those that the libraries find: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL,
AWS_REGION and so on; HF_ENDPOINT, HF_TOKEN.
"""

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from toolkit.core.errors import UserError, one_line

RETRIES = 8
FIRST_PAUSE_S = 0.2
TIMEOUT_S = 30.0
Found = TypeVar("Found")


@dataclass(frozen=True)
class Entry:
    """One object. path: below the opened URL; version: changes when its bytes do."""

    path: str
    size: int
    version: str


class Objects(Protocol):
    """The objects below a URL. All raise what their libraries raise; see `retried`."""

    def entries(self) -> Iterator[Entry]:
        """All objects, in any order."""
        ...

    def entry(self, path: str) -> Entry:
        """One object's facts."""
        ...

    def read(self, path: str, offset: int, size: int) -> bytes:
        """A range of an object; shorter where it ends."""
        ...


def open_objects(url: str) -> Objects:
    """The objects below a URL. Raises UserError for a scheme that nobody here reads."""
    if url.startswith("hf://"):
        return _HubObjects(url)
    return _StoreObjects(url)


def retried(call: Callable[[], Found], what: str) -> Found:
    """The result of a call that may fail for a while: retried with growing, random pauses.

    Raises UserError naming `what` when it does not succeed, at once when there is no such object.
    """
    for attempt in range(RETRIES):
        try:
            return call()
        except UserError:
            raise
        except FileNotFoundError:
            raise UserError(f"{what} does not exist") from None
        except Exception as error:  # of several libraries, which share no class
            if attempt == RETRIES - 1 or _is_final(error):
                raise UserError(f"{what} cannot be read: {reason_of(error)}") from None
            time.sleep(FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1))
    raise AssertionError("unreachable")


def open_store(url: str, retries: int = 0, timeout_s: float = TIMEOUT_S) -> Any:
    """The store of obstore below a URL. Raises UserError for a URL that it does not know."""
    import obstore

    client: Any = {"timeout": f"{timeout_s}s", "allow_http": _uses_http(url)}
    try:
        return obstore.store.from_url(
            url, client_options=client, retry_config={"max_retries": retries}
        )
    except Exception as error:
        raise UserError(f"{url} cannot be opened: {reason_of(error)}") from None


class _StoreObjects:
    def __init__(self, url: str):
        import obstore

        self._store = open_store(url)  # retried here, where truncated answers are seen too
        self._library = obstore

    def entries(self) -> Iterator[Entry]:
        for chunk in self._library.list(self._store):
            yield from map(_entry, chunk)

    def entry(self, path: str) -> Entry:
        return _entry(self._library.head(self._store, path))

    def read(self, path: str, offset: int, size: int) -> bytes:
        return bytes(self._library.get_range(self._store, path, start=offset, length=size))


class _HubObjects:
    def __init__(self, url: str):
        from huggingface_hub import HfFileSystem

        self._files, self._root = HfFileSystem(), url.removeprefix("hf://").rstrip("/")

    def entries(self) -> Iterator[Entry]:
        found: Any = self._files.find(self._root, detail=True)
        for path, facts in found.items():
            name = path.removeprefix(self._root + "/")
            yield Entry(name, facts["size"], str(facts.get("blob_id") or facts["size"]))

    def entry(self, path: str) -> Entry:
        facts = self._files.info(f"{self._root}/{path}")
        return Entry(path, facts["size"], str(facts.get("blob_id") or facts["size"]))

    def read(self, path: str, offset: int, size: int) -> bytes:
        return bytes(self._files.cat_file(f"{self._root}/{path}", offset, offset + size))


def _entry(facts: Any) -> Entry:
    version = facts.get("e_tag") or facts.get("last_modified") or ""
    return Entry(facts["path"], facts["size"], str(version))


def _uses_http(url: str) -> bool:
    endpoints = (os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
    return url.startswith("http://") or any(e.startswith("http://") for e in endpoints)


def _is_final(error: Exception) -> bool:
    if "169.254.169.254" in str(error):
        return True
    final = ("PermissionDeniedError", "UnauthenticatedError", "InvalidPathError")
    return type(error).__name__ in final or bool(_refusal(error))


def _refusal(error: Exception) -> str:
    """What a store's answer of 403 or 404 means; empty for other answers."""
    text = str(error)
    code = "".join(re.findall(r"<Code>(\w+)</Code>", text)[:1])
    told = f" ({code})" if code else ""
    if "403 Forbidden" in text:
        return f"the store refuses access{told}: check the keys and what they may read"
    if "404 Not Found" in text:
        return f"there is no such bucket or object{told}: check the URL and the endpoint"
    return ""


def reason_of(error: Exception) -> str:
    """A library's complaint as one line that says what to do."""
    if "169.254.169.254" in str(error):  # a cloud's machine would have been asked for a role
        return (
            "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_SKIP_SIGNATURE=true for what is public"
        )
    if refusal := _refusal(error):
        return refusal
    return one_line(str(error).split("\n\n", maxsplit=1)[0] or type(error).__name__, 200)
