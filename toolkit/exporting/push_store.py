"""Pushing to an object store: several files at once, large ones in parts, and an index of what has
been sent, so that a push that was cut off goes on.

`.tessera-push.json` beside the files holds size, sha256 and ETag of each. What it does not tell,
because a push was killed before it was written, the ETag may: of what was sent whole it is the MD5.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import sha256_of
from toolkit.core.interrupts import OneInterrupt
from toolkit.core.progress import Progress
from toolkit.exporting.place import RECORD
from toolkit.exporting.sent import CARD, Local, Pushed
from toolkit.store.objects import Entry, Objects, open_objects, open_store, reason_of, retried

INDEX = ".tessera-push.json"
PART_BYTES = 16_000_000
_MOST_PARTS = 9000  # S3 takes 10,000
_THREADS = 8
_RETRIES, _TIMEOUT_S = 8, 300.0
_INDEX_EVERY_S = 5.0


def push_store(files: list[Local], url: str, dry_run: bool) -> Pushed:
    """Sends what is not there, everything else before the export's record and the card. Raises
    UserError."""
    objects = open_objects(url)
    there = {entry.path: entry for entry in retried(lambda: list(objects.entries()), url)}
    index = _Index(url, _read_index(objects, there))
    names = {file.name for file in files}
    others = sum(name not in names and name != INDEX for name in there)
    if dry_run:
        wanted = [file for file in files if not index.has(file, there.get(file.name))]
        size = sum(file.size for file in wanted)
        return Pushed(url, len(wanted), size, len(files) - len(wanted), others)
    last = [file for file in files if file.name in (RECORD, CARD)]
    sent: list[Local] = []
    with (
        OneInterrupt().caught(),
        Progress(len(files), f"push to {url}", "files") as progress,
    ):
        try:
            first = [file for file in files if file not in last]
            _send(index, first, there, sent, progress)
            index.save()
            for file in last:
                _send(index, [file], there, sent, progress)
        finally:
            index.save()
    size = sum(file.size for file in sent)
    return Pushed(url, len(sent), size, len(files) - len(sent), others)


def _send(
    index: "_Index", files: Iterable[Local], there: dict[str, Entry], sent: list[Local],
    progress: Progress,
) -> None:  # fmt: skip
    """Sends some files, in any order."""
    running: dict[Future[bool], Local] = {}

    def finish_some() -> None:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            file = running.pop(future)
            if future.result():
                sent.append(file)
            progress.advance()
            index.save_now_and_then()

    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for file in files:
                running[pool.submit(index.bring, file, there.get(file.name))] = file
                if len(running) >= 2 * _THREADS:
                    finish_some()
            while running:
                finish_some()
        finally:
            for future in running:
                future.cancel()


class _Index:
    """What has been sent to a store. files: name to size, sha256 and e_tag."""

    def __init__(self, url: str, files: dict[str, dict[str, Any]]):
        self._url, self._files = url, files
        self._store = open_store(url, _RETRIES, _TIMEOUT_S)
        self._saved, self._spent, self._is_new = time.monotonic(), 0.0, False

    def has(self, file: Local, there: Entry | None) -> bool:
        """Whether the store holds the same bytes under the name."""
        if there is None or there.size != file.size:
            return False
        known = self._files.get(file.name)
        if known and known.get("e_tag") == there.version:
            return bool(known.get("sha256") == sha256_of(file.path))
        tag = there.version.strip('"')
        if not re.fullmatch(r"[0-9a-f]{32}", tag):
            return False
        with open(file.path, "rb") as data:
            return hashlib.file_digest(data, "md5").hexdigest() == tag

    def bring(self, file: Local, there: Entry | None) -> bool:
        """Sends a file where it is not there; returns whether it was sent."""
        import obstore

        if self.has(file, there):
            return False
        digest = sha256_of(file.path)
        part = max(PART_BYTES, -(-file.size // _MOST_PARTS))
        try:
            found = obstore.put(
                self._store, file.name, file.path, use_multipart=file.size > part,
                chunk_size=part, max_concurrency=4,
            )  # fmt: skip
        except Exception as error:  # of several libraries, which share no class
            raise _unwritable(f"{self._url}/{file.name}", error) from None
        tag = str(found.get("e_tag") or "")
        self._files[file.name] = {"size": file.size, "sha256": digest, "e_tag": tag}
        self._is_new = True
        return True

    def save_now_and_then(self) -> None:
        """Writes the index where the last time is long ago, for how long writing it takes."""
        if time.monotonic() - self._saved > _INDEX_EVERY_S + 20 * self._spent:
            self.save()

    def save(self) -> None:
        """Writes the index where it has changed."""
        import obstore

        if not self._is_new:
            return
        start = time.monotonic()
        self._is_new = False
        text = json.dumps({"files": dict(sorted(self._files.copy().items()))}, ensure_ascii=False)
        try:
            obstore.put(self._store, INDEX, text.encode())
        except Exception as error:
            raise _unwritable(f"{self._url}/{INDEX}", error) from None
        self._saved = time.monotonic()
        self._spent = self._saved - start


def _read_index(objects: Objects, there: dict[str, Entry]) -> dict[str, dict[str, Any]]:
    if INDEX not in there or not there[INDEX].size:
        return {}
    data = retried(lambda: objects.read(INDEX, 0, there[INDEX].size), INDEX)
    try:
        found = json.loads(data)["files"]
        return {str(name): dict(facts) for name, facts in found.items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _unwritable(what: str, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.filename:
        return UserError(f"{error.filename} cannot be read: {error.strerror}")
    return UserError(f"{what} cannot be written: {reason_of(error)}")
