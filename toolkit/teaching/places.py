"""Where the pictures of a plan lie, looked up by dataset and key, in little memory."""

import hashlib
from collections.abc import Iterable

import numpy as np

from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest
from toolkit.core.spool import SeenKeys, Spool
from toolkit.pairing.plan import Target
from toolkit.store.images import decode_rgb, picture_extension
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import read_member

_COLUMNS = ["key", "shard", "status", "members"]


class Places:
    """The primary pictures of some datasets. A context manager; what it keeps lies on disk."""

    def __init__(self, layout: Layout, datasets: Iterable[str]):
        """Reads their manifests. Raises UserError for a dataset that is not packed."""
        self._layout, self._spool = layout, Spool()
        known = layout.datasets()
        for dataset in sorted(set(datasets)):
            if dataset not in known:
                raise UserError(
                    f"the plan names the dataset {dataset!r}; packed are {', '.join(known)}"
                    f"{or_nearest(dataset, known)}"
                )
            for path in layout.manifests_of(dataset):
                self._spool.add(dataset, _places(read_manifest(path, _COLUMNS)))

    def __enter__(self) -> "Places":
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def check(self, targets: Iterable[Target]) -> set[int]:
        """The seeds of the targets. Raises UserError for the first one whose content or style is
        not there, or that is planned twice."""
        seeds = set()
        with SeenKeys() as seen:
            for target in targets:
                seeds.add(target.seed)
                if not seen.add(target.key):
                    raise UserError(f"the plan names {target.key} twice: leave one out")
                self._place(target.content_dataset, target.content_key)
                self._place(target.style_dataset, target.style_key)
        return seeds

    def pixels(self, dataset: str, key: str) -> np.ndarray:
        """The picture: uint8 [H,W,3]. Raises UserError where there is none, or other bytes than
        were packed; PictureError where it does not decode."""
        shard, offset, size, sha256 = self._place(dataset, key)
        row, member = {"dataset": dataset, "shard": shard}, {"offset": offset, "size": size}
        data = read_member(self._layout, row, member)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise UserError(
                f"{dataset}/{key} in {shard} is damaged: python -m toolkit.verify tells what "
                "else is"
            )
        return decode_rgb(data)

    def _place(self, dataset: str, key: str) -> tuple[str, int, int, str]:
        found = self._spool.get(dataset, key)
        if not found:
            raise UserError(
                f"the plan names {dataset}/{key}, which is not packed: pack it, or make the plan "
                "anew with python -m toolkit.pairs"
            )
        shard, offset, size, sha256 = found[0]
        return shard, offset, size, sha256


def datasets_of(targets: Iterable[Target]) -> set[str]:
    """The datasets of their contents and styles."""
    return {name for t in targets for name in (t.content_dataset, t.style_dataset)}


def _places(rows: list[dict[str, object]]) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for row in rows:
        members = row["members"] or ()
        first = next((m for m in members if picture_extension(m["ext"])), None)  # type: ignore[attr-defined]
        if row["status"] == "ok" and first is not None:
            found.append(
                (str(row["key"]), (row["shard"], first["offset"], first["size"], first["sha256"]))
            )
    return found
