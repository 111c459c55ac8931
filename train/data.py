"""What a run streams: selections, style partners and the loader, as its configuration says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from toolkit.core.errors import UserError
from toolkit.store.layout import Layout


def select_data(data: Any, layout: Layout) -> tuple[list[Any], Any]:
    """A selection for each task of the mix, the main task first, and one to validate on."""
    from toolkit.store.selection import select
    from toolkit.stream.tasks import dataset_of, tasks_of

    _, selections = tasks_of(data.mix, data.main, data.where, data.split, layout)
    first = selections[0].name
    for selection in selections:
        if selection.num_dropped:
            print(
                f"{selection.name}: {selection.num_dropped} samples left out: linked samples of "
                f"{' and '.join(selection.lacking)} are not packed"
            )
    try:
        held_out = f"split = '{data.val_split}'"
        return selections, select(
            first, dataset_of(first, data.main), [data.where, held_out], layout
        )
    except UserError as error:
        print(f"the loss is watched on samples of the training itself: {error}")
        return selections, selections[0]


@contextmanager
def open_loader(settings: Any, selections: list[Any], needs: Any, layout: Layout) -> Iterator[Any]:
    """The run's stream of batches, closed in the end. Says what it holds in memory."""
    from toolkit.stream.augment import Augment
    from toolkit.stream.loader import Loader
    from toolkit.stream.mix import parse_mix

    data = settings.data
    partners = _partners(data, selections[0], layout)
    loader = Loader(
        selections, parse_mix(data.mix), data.batch_size, needs.size, settings.seed,
        data.workers, data.prefetch, roles=needs.roles, block=data.shuffle_block,
        augment=Augment(data.crop, data.least_scale, data.flip, data.caption_dropout),
        partners=partners, max_bytes=data.max_bytes, max_failures=data.max_failures,
    )  # fmt: skip
    try:
        ahead = f"{loader.prefetch} batches ahead" if data.workers else "no batch ahead"
        print(
            f"loader: {data.workers} threads, {ahead}, at most "
            f"{loader.max_bytes_in_flight / 1e6:.1f} MB in flight"
        )
        yield loader
    finally:
        loader.close()


def _partners(data: Any, main: Any, layout: Layout) -> Any:
    """Draws style pictures as the configuration asks; None for the linked ones."""
    from toolkit.store.selection import select
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
