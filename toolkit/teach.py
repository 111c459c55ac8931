"""Makes a teacher's targets for a plan of pairs, looks at each, and packs them as a dataset.

python -m toolkit.teach --protocol=reinhard
python -m toolkit.teach --weights.base=DIR --weights.ip_adapter=DIR --limit=20
torchrun --nproc_per_node=4 -m toolkit.teach
python -m toolkit.teach protocol show a-fixed --sentence
"""

import resource
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.cluster.ranks import spread_over
from toolkit.core.checks import at_least
from toolkit.core.command import run
from toolkit.core.config import describe, nest
from toolkit.core.errors import UserError
from toolkit.core.log import hint, warn
from toolkit.store.layout import Layout, local_layout
from toolkit.teachers.api import teacher_module
from toolkit.teachers.protocol import Protocol, load_protocol, protocol_names


def main(
    *,
    plan: tuple[Path, ...] = (),
    protocol: str = "a-fixed",
    name: str = "targets",
    samples_per_shard: int = 1000,
    format: Literal["png", "jpg"] = "png",
    max_attempts: int = 5,
    batch_size: int = 1,
    compile: bool = False,
    thresholds: Path | None = None,
    keep_refused: Path | None = None,
    clip: str | None = None,
    limit: int | None = None,
    engine: Literal["local", "ray"] = "local",
    jobs: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    **options: str,
) -> None:
    """Makes the targets of a plan, one by one, and packs them in the plan's order.

    The same command goes on where it stopped; under torchrun every process has a GPU and a share of
    the plan, and the dataset is the same. A picture that quality control refuses is tried again in
    a gentler way; each attempt is a row, and a picture made by a retry has protocol_exact=false.

    Args:
        plan: of toolkit.pairs, .parquet or .jsonl, or the folder of one; several one after the
            other; manifests/pairs/pseudo_pairs_train.parquet otherwise.
        protocol: the name of a preset (`protocol list`), or a PATH.toml.
        name: the dataset's.
        samples_per_shard: targets in one tar.
        format: png or jpg, of the pictures.
        max_attempts: at one target, the first included.
        batch_size: first attempts that are made together, for a GPU with room; not the same to the
            last bit, but within 35 dB (PSNR), which the first ones are checked for.
        compile: torch.compile for the network, checked likewise; the first picture takes minutes.
        thresholds: a TOML file of limits for quality control, as `calibrate` and `limits` write it.
        keep_refused: a folder for the pictures that quality control refuses, to look at.
        clip: folder or hub id of CLIP, for content consistency; not measured otherwise.
        limit: a rehearsal: makes so many targets, packs nothing, and tells what all would take;
            what it made is kept for the run.
        engine: this process, or several of a Ray cluster whose machines see the same folders.
        jobs: with --engine=ray, how many; one on each GPU, or on every second core, otherwise.
        device: cpu, cuda, cuda:1; a GPU where there is one otherwise.
        overwrite: replace a dataset of that name that was made in another way.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    given = {**{k: v for k, v in locals().items() if k != "options"}, **options}
    if spread_over(engine, jobs, limit, "toolkit.teach", main, given):
        return
    at_least(1, samples_per_shard=samples_per_shard, max_attempts=max_attempts)
    at_least(1, batch_size=batch_size)
    at_least(1, limit=1 if limit is None else limit)
    layout = local_layout(shards, manifests)
    weights, changes = _options(options)
    chosen = load_protocol(protocol, changes)
    module = teacher_module(chosen.teacher)
    if unknown := [part for part in weights if part not in module.SOURCES]:
        parts = ", ".join(module.SOURCES) or "nothing: it has no weights"
        raise UserError(f"--weights.{unknown[0]}: the teacher {chosen.teacher} takes {parts}")
    for line in getattr(module, "warnings", lambda settings: [])(chosen.settings):
        warn(line)
    plans = tuple(map(_plan, plan))
    _teach(
        layout, plans or (layout.manifests / "pairs" / "pseudo_pairs_train.parquet",), chosen,
        weights, device,
        _How(
            name, samples_per_shard, format, max_attempts, batch_size, compile, thresholds,
            keep_refused, clip, limit, overwrite,
        ),
    )  # fmt: skip


def _plan(path: Path) -> Path:
    """A plan's file. Raises UserError for a folder that does not hold just one."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.parquet"))
    if len(found) != 1:
        there = ", ".join(p.name for p in found) or "none"
        raise UserError(f"--plan={path}: name a file of that folder; of plans it has {there}")
    return found[0]


@dataclass(frozen=True)
class _How:
    """Flags of a run besides what decides a single picture."""

    name: str
    samples_per_shard: int
    format: Literal["png", "jpg"]
    max_attempts: int
    batch_size: int
    compile: bool
    thresholds: Path | None
    keep_refused: Path | None
    clip: str | None
    limit: int | None
    overwrite: bool


def _teach(
    layout: Layout,
    plans: tuple[Path, ...],
    protocol: Protocol,
    weights: Mapping[str, str],
    device: str,
    how: _How,
) -> None:
    from toolkit.pairing.plan import plan_length, read_plans
    from toolkit.stream.ranks import rank_and_world
    from toolkit.teachers.grading import load_limits
    from toolkit.teaching.attempts import Maker
    from toolkit.teaching.begun import refuse_other
    from toolkit.teaching.clip import HOW_TO_GET, open_clip
    from toolkit.teaching.faster import Faster
    from toolkit.teaching.job import Job
    from toolkit.teaching.pack import Taught
    from toolkit.teaching.places import Places, datasets_of
    from toolkit.teaching.run import teach
    from toolkit.teaching.stage import Stage

    for plan in plans:
        if not plan.exists():
            raise UserError(f"there is no plan {plan}: python -m toolkit.pairs makes one")
        if not plan_length(plan):
            raise UserError(f"the plan {plan} is empty")
    limits = load_limits(how.thresholds)
    rank, world = rank_and_world()
    with Places(layout, datasets_of(read_plans(plans))) as places:
        seeds = places.check(read_plans(plans))
        if odd := sorted(seeds - set(protocol.seeds)):
            warn(
                f"the plan has seeds that the protocol {protocol.name} does not name: "
                f"{', '.join(map(str, odd))}; it names {', '.join(map(str, protocol.seeds))}"
            )
        description = {
            "kind": "taught", "protocol": protocol.fields(), "protocol_sha256": protocol.sha256,
            "format": how.format, "max_attempts": how.max_attempts, "batch_size": how.batch_size,
            "compile": how.compile, "samples_per_shard": how.samples_per_shard,
            "thresholds": {cause: asdict(limit) for cause, limit in limits.items()},
        }  # fmt: skip
        source = Taught(Stage(layout, how.name), how.name, protocol.tag, protocol.sha256)
        job = Job(
            source, layout, description, plans, how.samples_per_shard, how.batch_size, rank,
            world, how.limit, how.overwrite, how.keep_refused,
        )  # fmt: skip
        refuse_other(job, whole=False)  # before weights are loaded
        clip = open_clip(how.clip, device)
        with _opened(protocol, weights, device) as own, _interruptible():
            teacher = Faster(own, how.compile) if how.compile or how.batch_size > 1 else own
            maker = Maker(places, protocol, teacher, limits, how.format, how.max_attempts, clip)
            description["teacher"] = dict(teacher.identity)
            description["clip"] = clip and dict(clip.identity)
            summary = teach(job, maker)
    _print(job, summary)
    if clip is None:
        print(f"  CLIP's content consistency was not measured: {HOW_TO_GET}")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the work with a line that says how it goes on."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if is_main else None
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on after the last picture") from None
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _opened(protocol: Protocol, weights: Mapping[str, str], device: str) -> Iterator[Any]:
    """The teacher, on its device, which nothing else may use meanwhile where it has weights."""
    module = teacher_module(protocol.teacher)
    if not module.SOURCES:
        yield module.open_teacher(protocol.settings, {}, "cpu")
        return
    for part, place in weights.items():
        if place.startswith(("/", ".", "~")) and not Path(place).is_dir():
            raise UserError(f"--weights.{part}={place}: there is no such folder")
    from toolkit.encoders.alone import alone_on
    from toolkit.encoders.device import own_device, usable_device

    card = usable_device(own_device(device))
    with alone_on(card, protocol.teacher):
        yield module.open_teacher(protocol.settings, weights, str(card))


def _options(options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """--weights.PART=… and what changes the protocol."""
    tree = nest(options)
    weights = tree.pop("weights", {})
    if not isinstance(weights, dict):
        raise UserError("--weights: write --weights.PART=DIR, see --help")
    return weights, tree


def _fields(positional: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """What a protocol takes besides, for --help and for the check of names."""
    protocol = load_protocol(flags.get("protocol", "a-fixed"))
    found = describe(protocol)
    for name in ("name", "teacher", "version"):
        found.pop(name)
    for part, hub_id in teacher_module(protocol.teacher).SOURCES.items():
        found[f"weights.{part}"] = f"--weights.{part}={hub_id}"
    return f"of the protocol {protocol.name}; a change makes another protocol:", found


def _print(job: Any, summary: Any) -> None:
    made, planned = summary.num_made, summary.num_planned
    rate = summary.seconds / made if made else 0.0
    grades = ", ".join(f"{grade} {count}" for grade, count in sorted(summary.grades.items()))
    print(f"{made} targets made in {summary.seconds:.1f} s, {rate:.2f} s each; "
          f"{summary.num_kept} were there, of {planned} planned pictures")  # fmt: skip
    if made:
        print(f"  {grades}; {summary.retries} retries")
    for cause, count in sorted(summary.causes.items()):
        print(f"  refused attempts, {cause}: {count}")
    hint(f"  {_memory()}")
    name, packed = job.source.dataset, summary.packed
    if packed is not None:
        print(
            f"{name}: {packed.num_ok} pictures in {packed.num_shards} shards, "
            f"{packed.num_failed} refused attempts"
        )
    elif job.limit is not None:
        left = planned - summary.num_made - summary.num_kept
        print(
            f"a rehearsal, kept in {job.source.stage.folder}: the {left} that are left take about "
            f"{_duration(rate * left)} in one process"
        )
    else:
        print(f"{name}: its share is done; the last of the other processes finishes the dataset")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _memory() -> str:
    told = f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6:.0f} MB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        told += f", of the GPU {torch.cuda.max_memory_allocated() / 1e6:.0f} MB"
    return told


def _values(_: list[str], __: Mapping[str, str]) -> dict[str, list[str]]:
    return {"protocol": protocol_names()}


if __name__ == "__main__":
    from toolkit.teaching.commands import COMMANDS

    run({"": main, **COMMANDS}, "python -m toolkit.teach", fields=_fields, values=_values)
