"""Which pretrained weights there are to get, whether they are on this machine, and what gets them.

A room of the program that takes pretrained weights has a module `inventory` with

    wanted() -> list[Weights]

Nothing is downloaded and no weights are loaded.
"""

import fnmatch
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.core.errors import UserError

_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Weights:
    """Weights of somebody else's. used_by: what of this program takes them; name: hub id, with a
    folder inside perhaps, or file; size: of the download, for people; command: gets them; place:
    where they are on this machine, None where they are not."""

    used_by: tuple[str, ...]
    name: str
    size: str
    command: str
    place: str | None


def wanted() -> list[Weights]:
    """Those that encoders take without `--weights`."""
    from toolkit.encoders.api import encoder_module, encoders

    found = []
    for name in encoders():
        default = getattr(encoder_module(name), "DEFAULT", None)
        if default is not None:
            found.append(of_hub(f"encoder {name}", default))
    return found


def of_hub(used_by: str, default: "object") -> Weights:
    """Weights of the hub. default: `toolkit.encoders.loading.Pretrained`."""
    from toolkit.encoders.loading import Pretrained

    assert isinstance(default, Pretrained)
    return Weights(
        (used_by,), default.hub_id, default.size, default.command,
        _on_this_machine(default.hub_id, default.files),
    )  # fmt: skip


def of_command(used_by: str, flags: Iterable[str]) -> Weights | None:
    """Those that `toolkit.encode` with these flags takes; None for an encoder without weights, and
    for a folder of this machine."""
    from toolkit.encoders.api import encoder_module
    from toolkit.encoders.loading import Pretrained

    given = dict(flag.lstrip("-").partition("=")[::2] for flag in flags)
    default = getattr(encoder_module(given["encoder"]), "DEFAULT", None)
    place = given.get("weights", "")
    if default is None or Path(place).is_dir():
        return None
    is_usual = place in ("", default.hub_id)
    return of_hub(used_by, default if is_usual else Pretrained(place, "size unknown"))


def merged(several: Iterable[Weights]) -> list[Weights]:
    """The same weights, got in the same way, once, with all that takes them; in the order in which
    they come."""
    found: list[Weights] = []
    for one in several:
        for place, before in enumerate(found):
            if before.name == one.name and _is_same_way(before.command, one.command):
                users = tuple(dict.fromkeys([*before.used_by, *one.used_by]))
                found[place] = replace(
                    before, used_by=users, size=before.size or one.size,
                    command=before.command or one.command,
                )  # fmt: skip
                break
        else:
            found.append(one)
    return found


def _is_same_way(one: str, other: str) -> bool:
    return one == other or not one or not other


def bytes_of(place: str) -> int:
    """Of a file, or of all files in a folder, links followed."""
    path = Path(place)
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files)


def holds_weights(place: Path) -> bool:
    """Whether a file is there, or in a folder one with weights."""
    return place.is_file() or any(
        path.name.endswith(_ENDINGS) for path in place.rglob("*") if path.is_file()
    )


def rooms_of(names: Iterable[str]) -> list[Weights]:
    """What the modules of these names want, merged."""
    return merged(one for name in names for one in importlib.import_module(name).wanted())


def _on_this_machine(hub_id: str, files: Iterable[str]) -> str | None:
    """The folder in the hub's cache that has a file for each pattern of weights, or any weights
    where there are no patterns."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    if Path(hub_id).is_dir():
        return hub_id
    parts = hub_id.split("/")
    try:
        root = Path(snapshot_download("/".join(parts[:2]), local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise UserError(f"{hub_id} is no hub id: {error}") from None
    folder = root.joinpath(*parts[2:])
    there = [p.relative_to(root).as_posix() for p in folder.rglob("*") if p.is_file()]
    patterns = [pattern for pattern in files if not pattern.endswith((".json", ".txt"))]
    if not patterns:
        return str(folder) if holds_weights(folder) else None
    is_whole = all(fnmatch.filter(there, pattern) for pattern in patterns)
    return str(folder) if is_whole else None
