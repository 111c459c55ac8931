"""Many pictures, packed as a dataset, with what they cost."""

import json
import resource
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.core.files import write_atomic
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from train.pictures import Made
from train.trained import Trained


def make_many(
    trained: Trained,
    source: Made,
    layout: Layout,
    name: str,
    limit: int | None,
    checkpoint: Path | None,
) -> None:
    """Packs the pictures of `source`, which `trained` makes, as the dataset `name`, and says what
    comes next.

    Args:
        trained: the run.
        source: its pictures.
        layout: the data folders.
        name: of the dataset; what was made otherwise is made anew.
        limit: only so many, as the dataset NAME-rehearsal.
        checkpoint: that a person asked for.
    """
    from toolkit.packing.dataset import pack
    from train.methods.api import Translates

    method, folder, settings = trained.method, trained.folder, trained.settings
    if limit is not None:
        name = f"{name}-rehearsal"
        few = min(source.settings.batch_size, limit)
        source.settings = replace(source.settings, batch_size=few)
        result = pack(source, name, layout, samples_per_shard=64, limit=limit)
        print(f"a rehearsal: {result.num_ok} pictures in the dataset {name}")
        return
    differ = differences(layout, name, source.describe())
    result = pack(source, name, layout, samples_per_shard=64)
    if differ:
        print(f"{name} was made anew, with another {differ}; --name=… keeps both")
    if source.spent_s:
        cost = {
            **trained.identity,
            "pictures": result.num_ok,
            "seconds_per_picture": sorted(source.spent_s)[len(source.spent_s) // 2],
            "peak_memory_bytes": _peak_memory(settings.device),
            "parameters": sum(p.numel() for p in method.module().parameters()),
            "trainable": sum(t.numel() for t in method.trainable_state().values()),
            "solver_steps": source.settings.how.steps,
            "device": settings.device,
            "threads": settings.threads,
        }
        write_atomic(folder.cost_of(name), json.dumps(cost, indent=1) + "\n")
    print(f"{result.num_ok} pictures in the dataset {name}, {result.num_failed} failed")
    print(*source.notes(), sep="\n", end="\n" if source.notes() else "")
    key = read_manifest(layout.manifest(name, 0), ["key"])[0]["key"]
    print(f"one as a file: python -m toolkit.inspect show {name}/{key} --out=FOLDER")
    if not isinstance(method, Translates):
        which = "" if name == folder.dataset else f" --name={name}"
        print(f"next: python -m eval.run --run={folder.path}{which}")
        return
    if name != folder.dataset:
        return
    given = f" --checkpoint={checkpoint}" if checkpoint else ""
    print(f"next: python -m eval.translation --run={folder.path}{given}")


def _peak_memory(device: str) -> int:
    """Bytes: of the card where pictures are made on one, else of the process."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def differences(layout: Layout, dataset: str, now: Mapping[str, Any]) -> str:
    """Names of what differs between how a dataset was made and how it is now to be made."""
    try:
        then = json.loads(layout.card(dataset).read_text("utf-8"))["made_by"]
    except (OSError, ValueError, LookupError):
        return ""
    plain = json.loads(json.dumps(now))
    return ", ".join(key for key, value in plain.items() if then.get(key) != value)
