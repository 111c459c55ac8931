"""How the pictures of a name were begun: what goes on with them has to go on in the same way."""

import json
import shutil
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import write_atomic
from toolkit.store.manifest import to_json
from toolkit.teaching.job import Job

_FOLLOWS = ("name", "protocol_sha256")


def refuse_other(job: Job, whole: bool = True) -> None:
    """Raises UserError where the name is that of a dataset which no teacher made, or its pictures
    are being made in another way than the job's description says. whole: whether that description
    is all of it; otherwise only what it has is compared."""
    if job.overwrite:
        return
    dataset, layout = job.source.dataset, job.layout
    before = _description(_note(job)) or _description(layout.card(dataset), "made_by")
    if layout.manifests_of(dataset) and (before or {}).get("kind") != "taught":
        raise UserError(
            f"the dataset {dataset} holds other data: choose another --name, or give --overwrite "
            "to replace it"
        )
    if before is None:
        return
    known = before if whole else {name: before.get(name) for name in job.description}
    now = json.loads(to_json(job.description))
    if known != now:
        raise UserError(
            f"the dataset {dataset} was begun in another way ({_changed(known, now)}): "
            "choose another --name, or give --overwrite to make it anew"
        )


def begin(job: Job) -> None:
    """Notes how the pictures are made. What was made in another way goes, if it is to be
    overwritten.

    Raises:
        UserError: as `refuse_other`.
    """
    refuse_other(job)
    note, text = _note(job), to_json(job.description)
    with job.source.stage.alone():
        if note.exists() and note.read_text("utf-8") == text:
            return
        if job.overwrite:
            _clear(job)
        write_atomic(note, text)


def _note(job: Job) -> Path:
    return job.source.stage.folder / "made_by.json"


def _clear(job: Job) -> None:
    job.layout.card(job.source.dataset).unlink(missing_ok=True)
    for manifest in job.layout.manifests_of(job.source.dataset):
        manifest.unlink()  # a shard without its manifest does not exist
    for folder in job.source.stage.folder.glob("??????"):
        shutil.rmtree(folder, ignore_errors=True)


def _description(path: Path, name: str | None = None) -> Any:
    try:
        tree = json.loads(path.read_text("utf-8"))
        return tree[name] if name else tree
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _changed(old: Any, new: Any, place: str = "") -> str:
    """The first thing that differs; of what follows from other things, last."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys(), key=lambda n: (n in _FOLLOWS, n)):
            if old.get(name) != new.get(name):
                return _changed(old.get(name), new.get(name), f"{place}.{name}" if place else name)
    return f"{place} was {old}, is {new}"
