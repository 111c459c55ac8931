"""Latents as folders of one `.pt` a picture, as preprocessing scripts keep them: read into a
sidecar, or written from one.

A picture `style_0/image1.jpg` has its tensor [C,h,w] in `style_0/image1.pt`: of an `autoencoder_kl`
the mean, scaled, as models see it; of other encoders what they gave. Of a sample of several
pictures it is the target's. Files are read with `weights_only=True`, so nothing in them runs.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.core.errors import UserError, one_line
from toolkit.core.files import atomic_path
from toolkit.encoding.inputs import caption_of
from toolkit.encoding.plan import ShardTask, refuse_other, shards_of, tasks, wanted_keys
from toolkit.store.catalog import Catalog
from toolkit.store.manifest import read_manifest
from toolkit.store.recipe import Recipe, read_recipe, write_recipe
from toolkit.store.tensors import Encoded, Tensor, read_rows, tensors_path, write_tensors
from toolkit.stream.reader import RangeReader

IMPORTED = "imported"


def import_folder(
    catalog: Catalog, condition: str, name: str, folder: Path, overwrite: bool = False
) -> dict[str, int]:
    """Writes the sidecar `name` of the samples for which a checked condition holds, from files.

    Returns how many were read, were there already, and have no file. Raises UserError: no folder, a
    file that holds no tensor; without `overwrite`, a sidecar of that name made in another way.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: name the one that holds the .pt files")
    recipe = Recipe({"encoder": IMPORTED, "weights": "", "precision": ""}, ("latent",), {})
    shards, counts = shards_of(catalog, condition), {"read": 0, "kept": 0, "without a file": 0}
    if not overwrite:
        refuse_other(catalog.layout, (shard[0] for shard in shards), name, recipe)
    for task in tasks(catalog, condition, shards, name, recipe.sha256):
        if isinstance(task, int):
            counts["kept"] += task
            continue
        ids, _ = _facts(catalog, task.dataset, task.stem)
        paths = {key: folder / file_name(ids[key], key) for key in task.wanted if key in ids}
        if not any(path.is_file() for path in paths.values()):
            counts["without a file"] += len(paths)
            continue
        write_recipe(catalog.layout, task.dataset, name, recipe)
        samples = _imported(task, paths, counts)
        write_tensors(catalog.layout, task.dataset, task.stem, name, recipe.sha256, samples)
    if not counts["read"] + counts["kept"]:
        raise UserError(
            f"no sample has its file below {folder}: they are looked for under the samples' source "
            "ids, as style/name.pt for style/name.jpg"
        )
    return counts


def export_folder(
    catalog: Catalog, condition: str, name: str, folder: Path
) -> tuple[int, Counter[str]]:
    """Writes one `.pt` for each sample for which a checked condition holds and that has a latent.

    Returns how many, and by output how many tensors stay behind, which a file has no place for.
    Raises UserError: no such sidecar, two samples of one name.
    """
    reader, written, left = RangeReader(), dict[Path, str](), Counter[str]()
    for dataset, stem, _ in shards_of(catalog, condition):
        recipe = read_recipe(catalog.layout, dataset, name)
        rows = read_rows(catalog.layout, dataset, stem, name, recipe.sha256).to_pylist()
        tar = tensors_path(catalog.layout, dataset, stem, name)
        wanted = wanted_keys(catalog, condition, dataset, stem)
        ids, pictures = _facts(catalog, dataset, stem)
        for row in rows:
            found = [t for t in row["tensors"] or () if t["output"] == "latent"]
            if row["key"] not in wanted or not found:
                continue
            path = folder / file_name(ids[row["key"]], row["key"])
            if path in written:
                raise UserError(
                    f"{written[path]} and {row['key']} would both be {path}: export fewer at once"
                )
            written[path] = row["key"]
            tensor = next((t for t in found if t["picture"] == pictures[row["key"]]), found[0])
            left.update(t["output"] for t in row["tensors"] if t != tensor)
            data = reader.read(str(tar), tensor["offset"], tensor["size"])
            _save(path, _scaled(_array(data, tar), recipe))
    reader.close()
    return len(written), left


def file_name(source_id: str, key: str) -> Path:
    """Where a sample's file lies in the folder: as its picture did in its own, or by its key."""
    path = Path(source_id)
    is_plain = source_id and not path.is_absolute() and ".." not in path.parts
    return path.with_suffix(".pt") if is_plain else Path(f"{key}.pt")


def _imported(task: ShardTask, paths: dict[str, Path], counts: dict[str, int]) -> Iterator[Encoded]:
    for row in task.rows:
        if row["status"] != "ok" or row["key"] not in task.wanted:
            yield Encoded(row["key"])
            continue
        path, picture = paths[row["key"]], caption_of(row)[0].picture
        if not path.is_file():
            counts["without a file"] += 1
            yield Encoded(row["key"])  # as if nobody had asked: a later import may find it
            continue
        counts["read"] += 1
        yield Encoded(row["key"], (picture,), (Tensor("latent", picture, "latent", _load(path)),))


def _load(path: Path) -> np.ndarray:
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises anything on files of another kind
        raise UserError(f"{path} cannot be read: {one_line(error, 100)}") from None
    if isinstance(found, torch.Tensor) and found.ndim == 4 and len(found) == 1:
        found = found[0]
    if not isinstance(found, torch.Tensor) or found.ndim != 3:
        raise UserError(f"{path} holds no latent: it takes one tensor [C,h,w] or [1,C,h,w]")
    values = found.float() if found.dtype == torch.bfloat16 else found
    return values.numpy()


def _scaled(values: np.ndarray, recipe: Recipe) -> torch.Tensor:
    """As models see them; an `autoencoder_kl` stores mean and log-variance, unscaled."""
    latent = torch.from_numpy(values.copy())
    if recipe.encoder["encoder"] != "autoencoder_kl":
        return latent
    mean = latent.float().chunk(2)[0]
    scale, shift = recipe.encoder["scaling_factor"], recipe.encoder["shift_factor"]
    return ((mean - shift) * scale).to(latent.dtype)


def _array(data: bytes, tar: Path) -> np.ndarray:
    import io

    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError):
        raise UserError(f"{tar} is damaged: python -m toolkit.verify tells what to do") from None


def _save(path: Path, values: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        torch.save(values, temporary)


def _facts(catalog: Catalog, dataset: str, stem: str) -> tuple[dict[str, str], dict[str, int]]:
    """By key the source id and the target's offset of each usable sample of a shard."""
    manifest = catalog.layout.manifest_named(dataset, stem)
    columns = ["key", "status", "source_id", "caption", "members"]
    rows = [row for row in read_manifest(manifest, columns) if row["status"] == "ok"]
    ids = {row["key"]: row["source_id"] or "" for row in rows}
    return ids, {row["key"]: caption_of(row)[0].picture for row in rows}
