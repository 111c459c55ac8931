"""What a run streams: selections, stored tensors, style partners and the loader, as its
configuration says."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import UserError
from toolkit.store.layout import Layout
from toolkit.store.selection import Selection, select
from train.config import DataConfig, RunConfig, augment_of
from train.methods.needs import DataFacts, Feature, FeatureFacts, Needs


@dataclass(frozen=True)
class Data:
    """What was chosen. selections: one for each task of the mix, the main task first; validation:
    held-out samples of those tasks that have some, the main task first; features: readers of
    stored tensors, of all of these; notes: what whoever trains on them should know."""

    selections: list[Selection]
    validation: list[Selection]
    features: tuple[Any, ...]
    notes: tuple[str, ...] = ()


def open_data(data: DataConfig, needs: Needs, layout: Layout) -> Data:
    """Compiles the selections and opens the sidecars. Raises UserError where the data lack what the
    method needs."""
    from toolkit.stream.tasks import dataset_of, tasks_of
    from toolkit.stream.tensors import TensorReader

    _, selections = tasks_of(data.mix, data.main, data.where, data.split, layout)
    notes = [
        f"{selection.name}: {selection.num_dropped} samples left out: linked samples of "
        f"{' and '.join(selection.lacking)} are not packed"
        for selection in selections
        if selection.num_dropped
    ]
    notes += [
        f"{selection.name}: its pictures were made by {len(selection.protocols)} protocols, "
        f"{', '.join(selection.protocols)}: --where=\"protocol='…'\" takes those of one"
        for selection in selections
        if len(selection.protocols) > 1
    ]
    main = selections[0]
    wanted = [*needs.roles, *(feature.role for feature in needs.features)]
    if lacking := [role for role in wanted if role not in main.roles]:
        dataset = dataset_of(main.name, data.main)
        raise UserError(
            f"the method needs {' and '.join(lacking)} pictures, the samples of {dataset} have "
            "none: train on a dataset linked to them, such as teacher"
        )
    validation = _held_out(data, selections, layout, notes)
    used = [*selections, *(v for v in validation if v not in selections)]
    try:
        readers = [
            TensorReader(
                f.name, f.role, f.sidecar, used, f.output, command=f.command, otherwise=f.otherwise
            )
            for f in needs.features
        ]
    except UserError:
        _check_encoded(needs.features, used)  # where several are missing, all are told
        raise
    return Data(selections, validation, tuple(readers), tuple(notes))


def _check_encoded(features: Sequence[Feature], used: Sequence[Selection]) -> None:
    """Raises UserError with all commands that make what is not there."""
    from toolkit.store.recipe import missing, recipe_path
    from toolkit.stream.tensor_index import used_shards
    from toolkit.stream.tensors import sources_of

    absent: dict[tuple[Layout, str, str], set[str]] = {}
    for feature in features:
        for layout, dataset in used_shards(sources_of(used, feature.role, feature.otherwise)):
            if not recipe_path(layout, dataset, feature.sidecar).exists():
                which = (layout, feature.sidecar, feature.command)
                absent.setdefault(which, set()).add(dataset)
    if absent:
        raise UserError(
            "; ".join(
                str(missing(layout, sorted(names), *which))
                for (layout, *which), names in absent.items()
            )
        )


def facts_of_data(data: Data) -> DataFacts:
    """What a method settles its configuration by."""
    return DataFacts(
        styles={s.name: tuple(s.table.column("style").unique().to_pylist())
                for s in data.selections},
        features={
            reader.name: FeatureFacts(
                reader.recipe.encoder, reader.recipe.settings, reader.shape, reader.recipe.sha256
            )
            for reader in data.features
        },
    )  # fmt: skip


@contextmanager
def open_loader(
    settings: RunConfig, data: Data, needs: Needs, layout: Layout, rank: int = 0, world: int = 1
) -> Iterator[Any]:
    """The run's stream of batches, closed in the end. rank, world: this process among all; each
    takes its slice of every batch."""
    from toolkit.stream.loader import Loader
    from toolkit.stream.mix import parse_mix

    how, buckets = settings.data, buckets_of(settings.data, needs)
    loader = Loader(
        data.selections, parse_mix(how.mix), how.batch_size, max(needs.size, 1), settings.seed,
        how.workers, how.prefetch, roles=needs.roles, features=data.features,
        block=how.shuffle_block,
        augment=augment_of(how),
        partners=_partners(how, data.selections[0], layout), max_bytes=how.max_bytes,
        max_failures=how.max_failures, buckets=buckets, rank=rank, world=world,
    )  # fmt: skip
    try:
        yield loader
    finally:
        loader.close()


def describe_loader(loader: Any) -> Iterator[str]:
    """What a loader holds in memory and leaves out, a line each."""
    ahead = f"{loader.prefetch} batches ahead" if loader.workers else "no batch ahead"
    yield (
        f"loader: {loader.workers} threads, {ahead}, at most "
        f"{loader.max_bytes_in_flight / 1e6:.1f} MB in flight"
    )
    for name, count in loader.left_out.items():
        if count:
            yield f"left out, smaller than any bucket: {count} of {name}"


def buckets_of(data: DataConfig, needs: Needs) -> Any:
    """The shapes of the batches; None for squares. Raises UserError where the method takes none
    such."""
    from toolkit.stream.buckets import Buckets

    how = data.buckets
    if not how.multiple:
        return None
    if not needs.multiple:
        raise UserError("--buckets.multiple: the method takes squares alone")
    if how.multiple % needs.multiple:
        raise UserError(
            f"--buckets.multiple={how.multiple}: the method takes multiples of {needs.multiple}"
        )
    return Buckets(how.multiple, how.size or needs.size, how.least)


def samples_per_epoch(data: Data, settings: RunConfig, needs: Needs) -> int:
    """Positions of the main task in which each of its samples is seen once: one each, or, with
    buckets, those of its batches, which are not all full."""
    from toolkit.stream.buckets import BucketIndex

    main, buckets = data.selections[0], buckets_of(settings.data, needs)
    if buckets is None:
        return len(main)
    size = settings.data.batch_size
    return size * int((-(-BucketIndex(main, buckets).counts // size)).sum())


def each_sample(data: Data, settings: RunConfig, needs: Needs) -> Iterator[Any]:
    """Batches of all samples of the main task, once, in stored order, the middle of each picture;
    on the run's device."""
    from toolkit.stream.assemble import Assembler
    from toolkit.stream.schedule import Want

    main, size = data.selections[0], settings.data.batch_size
    assembler = Assembler([main], max(needs.size, 1), needs.roles, features=data.features)
    try:
        for start in range(0, len(main), size):
            rows = range(start, min(start + size, len(main)))
            batch = assembler.assemble([Want(0, row, 0) for row in rows])
            yield batch.to(settings.device)
    finally:
        assembler.close()


def _held_out(
    data: DataConfig, selections: Sequence[Selection], layout: Layout, notes: list[str]
) -> list[Selection]:
    from toolkit.stream.tasks import dataset_of

    found, held_out = [], f"split = '{data.val_split}'"
    for task in selections:
        is_main = task is selections[0]
        where = [data.where, held_out] if is_main else held_out
        try:
            found.append(select(task.name, dataset_of(task.name, data.main), where, layout))
        except UserError as error:
            if is_main:
                notes.append(f"the loss is watched on samples of the training itself: {error}")
                found.append(task)
    return found


def _partners(data: DataConfig, main: Selection, layout: Layout) -> Any:
    """Draws style pictures as the configuration asks; None for the linked ones."""
    from toolkit.stream.partners import Partners
    from toolkit.stream.tasks import in_split

    if data.style_partner == "same_picture":
        return None
    pool = select("style_pool", data.style_pool, in_split(data.split), layout)
    partners = Partners(pool, data.style_partner)
    print(
        f"style pictures: {data.style_partner} among {len(pool)} of {data.style_pool}; "
        f"{partners.num_without(main)} of {len(main)} samples keep their own"
    )
    return partners
