"""Makes the pictures of a plan: this process's share; packs each shard that is whole.

Target number n of the plan belongs to process n modulo their number; with batches, batch n does. A
picture is staged as soon as it is made, and whoever finishes the last one of a shard packs it: so
neither an interruption nor the number of processes changes a byte of what comes out.
"""

import hashlib
from contextlib import ExitStack
from dataclasses import asdict

from toolkit.core.files import held, make_folders, write_atomic
from toolkit.packing.resume import finished_shard
from toolkit.pairing.plan import plan_length, read_plans
from toolkit.store.keys import check_dataset_name
from toolkit.store.manifest import to_json
from toolkit.teaching.attempts import Maker
from toolkit.teaching.begun import begin, refuse_other
from toolkit.teaching.job import Job, blocks, parts
from toolkit.teaching.making import Making, Summary
from toolkit.teaching.pack import Part, finish, identity_of, pack_part
from toolkit.teaching.recover import recover, take_over


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
    refuse_other(job)
    folders = (layout.shards / dataset, layout.manifests / dataset, stage.folder)
    make_folders(folders)
    summary = Summary(num_planned=sum(map(plan_length, job.plans)))
    with ExitStack() as stack:
        lock = stage.folder / f"process-{job.rank}.lock"
        lock.touch()
        busy = f"another process makes {dataset} (as number {job.rank}): wait for it"
        stack.enter_context(held(lock, busy))
        begin(job)
        with stage.alone():
            _take_over(job)
        packed: set[int] = set()  # to tell it, a whole tar is hashed
        for part in parts(job):
            if _is_packed(job, part):
                packed.add(part.index)
                stage.drop(part.index)  # a kill may have come between
                summary.num_kept += sum(map(len, blocks(job, part)))
                continue
            with stage.alone():
                recover(layout, dataset, part, stage)
            _make(job, part, maker, summary)
            if job.limit is None:
                _pack(job, part)
            elif summary.num_made + summary.num_kept >= job.limit:
                break
        if job.limit is None and all(
            part.index in packed or _is_packed(job, part) for part in parts(job)
        ):
            with stage.alone():
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


def _pack(job: Job, part: Part) -> None:
    """Packs a part if it is whole; the process that finishes it last finds it so."""
    if not job.source.stage.is_whole(part.index, part.targets):
        return
    with job.source.stage.alone():
        if not _is_packed(job, part):
            pack_part(job.source, job.layout, job.description, part)
        job.source.stage.drop(part.index)


def _is_packed(job: Job, part: Part) -> bool:
    dataset = job.source.dataset
    identity = identity_of(dataset, job.description, part)
    return finished_shard(job.layout, dataset, part.index, identity, ()) is not None
