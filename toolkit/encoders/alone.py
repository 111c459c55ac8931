"""A lock for each GPU: two large models on one card, of one process or of two, end in out-of-memory
errors hours later, so the second is refused at once."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from toolkit.core.errors import UserError
from toolkit.core.files import held


@contextmanager
def alone_on(device: torch.device, what: str) -> Iterator[None]:
    """Holds a GPU for `what` until the block ends, or the process. A CPU is not held.

    Raises UserError, naming who holds it, when another process does, or this one does already.
    """
    if device.type != "cuda":
        yield
        return
    index = torch.cuda.current_device() if device.index is None else device.index
    uuid = torch.cuda.get_device_properties(index).uuid
    with held_card(str(uuid), f"GPU {index}", what):
        yield


@contextmanager
def held_card(identity: str, name: str, what: str) -> Iterator[None]:
    """As `alone_on`, of the card with this identity; the lock lies in the folder for temporary
    files, where all users of the machine see it."""
    path = Path(tempfile.gettempdir()) / f"tessera-card-{identity}.lock"
    try:
        path.touch()
        if os.stat(path).st_uid == os.getuid():
            path.chmod(0o666)
        holder = path.read_text("utf-8", errors="replace") or "another process"
    except OSError as error:
        raise UserError(f"cannot lock {name} by {path}: {error.strerror}") from None
    with held(path, f"{name} is held by {holder}: wait for it, or choose another --device"):
        path.write_text(f"{what} (process {os.getpid()})", "utf-8")
        yield
