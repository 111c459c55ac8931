"""Makes the pictures of a plan: this process's share; packs each shard that is whole.

Target number n of the plan belongs to process n modulo their number; with batches, batch n does. A
picture is staged as soon as it is made, and whoever finishes the last one of a shard packs it: so
neither an interruption nor the number of processes changes a byte of what comes out.
"""

import fcntl
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folders, write_atomic
from toolkit.packing.resume import finished_shard
from toolkit.pairing.plan import Target, plan_length, read_plans
from toolkit.store.keys import check_dataset_name
from toolkit.store.layout import Layout
from toolkit.store.manifest import to_json
from toolkit.teaching.attempts import Maker
from toolkit.teaching.making import Making, Summary
from toolkit.teaching.pack import Part, Taught, finish, identity_of, pack_part
from toolkit.teaching.recover import recover, take_over

_FOLLOWS = ("name", "protocol_sha256")


@dataclass(frozen=True)
class Job:
    """What is to be made. source: the dataset and its stage; description: everything that decides
    its bytes besides the plan; plans: its files, in their order; batch_size: first attempts that
    are made together; rank, world: this process among all that share the work; limit: stop after so
    many targets, and pack nothing; overwrite: whether another dataset of that name is replaced;
    keep_refused: folder for pictures that are refused, to look at."""

    source: Taught
    layout: Layout
    description: dict[str, Any]
    plans: tuple[Path, ...]
    targets_per_shard: int
    batch_size: int = 1
    rank: int = 0
    world: int = 1
    limit: int | None = None
    overwrite: bool = False
    keep_refused: Path | None = None


def teach(job: Job, maker: Maker) -> Summary:
    """Makes what is missing and packs what is whole.

    Args:
        job: what is wanted.
        maker: with the teacher of the job's protocol.

    Raises:
        UserError: another process at the same work, a dataset of that name made in another way,
            a content or style that is not there.
    """
    dataset, layout, stage = job.source.dataset, job.layout, job.source.stage
    check_dataset_name(dataset)
    _refuse_other_data(job)
    folders = (layout.shards / dataset, layout.manifests / dataset, stage.folder)
    make_folders(folders)
    summary = Summary(num_planned=sum(map(plan_length, job.plans)))
    with ExitStack() as stack:
        lock = stage.folder / f"process-{job.rank}.lock"
        lock.touch()
        busy = f"another process makes {dataset} (as number {job.rank}): wait for it"
        stack.enter_context(held(lock, busy))
        _refuse_other(job)
        with _alone(job):
            _take_over(job)
        packed: set[int] = set()  # to tell it, a whole tar is hashed
        for part in parts(job):
            if _is_packed(job, part):
                packed.add(part.index)
                stage.drop(part.index)  # a kill may have come between
                summary.num_kept += sum(map(len, blocks(job, part)))
                continue
            with _alone(job):
                recover(layout, dataset, part, stage)
            _make(job, part, maker, summary)
            if job.limit is None:
                _pack(job, part)
            elif summary.num_made + summary.num_kept >= job.limit:
                break
        if job.limit is None and all(
            part.index in packed or _is_packed(job, part) for part in parts(job)
        ):
            with _alone(job):
                summary.packed = finish(job.source, layout, job.description, parts(job))
    return summary


def _take_over(job: Job) -> None:
    """What another plan made under this name, once for each plan; whichever process comes first."""
    stage, layout, dataset = job.source.stage, job.layout, job.source.dataset
    note, digest = stage.folder / "planned_by.txt", _digest(job)
    if note.exists() and note.read_text("utf-8") == digest:
        return
    if layout.manifests_of(dataset) or any(stage.kept()):
        found: dict[int, bool] = {}

        def is_packed(number: int) -> bool:
            if not found:
                found.update({part.index: _is_packed(job, part) for part in parts(job)})
            return found.get(number, False)

        take_over(layout, dataset, parts(job), stage, is_packed, job.overwrite)
    write_atomic(note, digest)


def _digest(job: Job) -> str:
    """Of the plan, and of how it is cut into shards."""
    digest = hashlib.sha256(f"{job.targets_per_shard}\n".encode())
    for target in read_plans(job.plans):
        digest.update(to_json(asdict(target)).encode() + b"\n")
    return digest.hexdigest()


def parts(job: Job) -> Iterator[Part]:
    """The plan, a shard's targets at a time."""
    targets = read_plans(job.plans)
    for index in itertools.count():
        chunk = list(itertools.islice(targets, job.targets_per_shard))
        if not chunk:
            return
        yield Part(index, chunk)


def _make(job: Job, part: Part, maker: Maker, summary: Summary) -> None:
    """Makes this process's share of a part, no more than the limit leaves."""
    mine, done = [], summary.num_made + summary.num_kept
    for block in blocks(job, part):
        if job.limit is not None and done >= job.limit:
            break
        mine.append(block)
        done += len(block)
    making = Making(job.source.stage, part.index, maker, summary, job.keep_refused)
    making.run(mine, f"teach {job.source.dataset} {part.index}")


def blocks(job: Job, part: Part) -> Iterator[Sequence[Target]]:
    """The targets of a part that are this process's, by `batch_size` neighbours in the plan."""
    size = job.batch_size
    earlier = part.index * -(-job.targets_per_shard // size)
    for number, start in enumerate(range(0, len(part.targets), size), earlier):
        if number % job.world == job.rank:
            yield part.targets[start : start + size]


@contextmanager
def _alone(job: Job) -> Iterator[None]:
    """Keeps the other processes of this work from packing meanwhile; waits for them."""
    with open(job.source.stage.folder / "packing.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pack(job: Job, part: Part) -> None:
    """Packs a part if it is whole; the process that finishes it last finds it so."""
    if not job.source.stage.is_whole(part.index, part.targets):
        return
    with _alone(job):
        if not _is_packed(job, part):
            pack_part(job.source, job.layout, job.description, part)
        job.source.stage.drop(part.index)


def _is_packed(job: Job, part: Part) -> bool:
    dataset = job.source.dataset
    identity = identity_of(dataset, job.description, part)
    return finished_shard(job.layout, dataset, part.index, identity, ()) is not None


def _refuse_other_data(job: Job) -> None:
    """Raises UserError where the name is that of a dataset which no teacher made."""
    dataset = job.source.dataset
    if job.overwrite or not job.layout.manifests_of(dataset):
        return
    begun = _description(job.source.stage.folder / "made_by.json")
    if (begun or _description(job.layout.card(dataset), "made_by") or {}).get("kind") != "taught":
        raise UserError(
            f"the dataset {dataset} holds other data: choose another --name, or give --overwrite "
            "to replace it"
        )


def refuse_other(job: Job) -> None:
    """Raises UserError where the name is taken, or its pictures are being made in another way than
    the job's description says, as far as it goes."""
    _refuse_other_data(job)
    if not job.overwrite:
        before = _made_by(job)
        if before is not None:
            known = {name: before.get(name) for name in job.description}
            _refuse_changed(job, known)


def _refuse_other(job: Job) -> None:
    """Raises UserError where pictures of this name are being made in another way."""
    path = job.source.stage.folder / "made_by.json"
    text = to_json(job.description)
    if job.overwrite:
        with _alone(job):
            _clear_other(job, path, text)
    else:
        before = _made_by(job)
        if before is not None:
            _refuse_changed(job, before)
    if not path.exists() or path.read_text("utf-8") != text:
        write_atomic(path, text)


def _made_by(job: Job) -> Any:
    path = job.source.stage.folder / "made_by.json"
    return _description(path) or _description(job.layout.card(job.source.dataset), "made_by")


def _refuse_changed(job: Job, before: Any) -> None:
    now = json.loads(to_json(job.description))
    if before != now:
        raise UserError(
            f"the dataset {job.source.dataset} was begun in another way ({_changed(before, now)}): "
            "choose another --name, or give --overwrite to make it anew"
        )


def _clear_other(job: Job, path: Path, text: str) -> None:
    """Removes what was made in another way; whichever process comes first."""
    if path.exists() and path.read_text("utf-8") == text:
        return
    job.layout.card(job.source.dataset).unlink(missing_ok=True)
    for manifest in job.layout.manifests_of(job.source.dataset):
        manifest.unlink()  # a shard without its manifest does not exist
    for folder in job.source.stage.folder.glob("??????"):
        shutil.rmtree(folder, ignore_errors=True)
    write_atomic(path, text)


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
