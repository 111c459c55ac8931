"""Named ways of making targets: a teacher, its settings, seeds; hashed, so that no two are mixed.

A preset is a TOML file in `protocols/`, or anywhere: `--protocol=mine.toml`. With `like = "NAME"`
it says only what differs from another.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.core.checks import at_least
from toolkit.core.config import load_layers, resolve
from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest
from toolkit.store.manifest import to_json
from toolkit.teachers.api import teacher_module

PRESETS = Path(__file__).parent / "protocols"
_SIZES = (64, 4096)


@dataclass(frozen=True)
class Protocol:
    """name: of the file; version: counts up when the same settings come to mean something else;
    seeds: that a plan for it should have; size: side of the pictures in pixels, 0 for the content's
    own size; content_fit: crop or squash, of a content that has another shape; settings: of the
    teacher."""

    name: str
    teacher: str
    version: int
    seeds: tuple[int, ...]
    size: int
    content_fit: Literal["crop", "squash"]
    settings: Any

    @property
    def sha256(self) -> str:
        """Of everything that decides a picture besides its pair, its seed and the weights."""
        decisive = {**self.fields(), "name": None, "seeds": None}
        return hashlib.sha256(to_json(decisive).encode()).hexdigest()

    @property
    def tag(self) -> str:
        """What stands in the column `protocol` of a manifest: NAME-VERSION:HASH."""
        return f"{self.name}-{self.version}:{self.sha256[:8]}"

    def fields(self) -> dict[str, Any]:
        """All of it by name, without the hash."""
        return {
            "name": self.name, "teacher": self.teacher, "version": self.version,
            "seeds": list(self.seeds), "size": self.size, "content_fit": self.content_fit,
            **dataclasses.asdict(self.settings),
        }  # fmt: skip


def protocol_names() -> list[str]:
    """The presets."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_protocol(name: str, changes: Mapping[str, Any] | None = None) -> Protocol:
    """A preset by its name, or a TOML file by its path.

    Args:
        name: as `protocol_names` gives, or PATH.toml.
        changes: what replaces the file's, as a tree; the hash says so, and the name ends in `~`.

    Raises:
        UserError: no such preset or file, an unknown name in it, a value out of range.
    """
    first, *others = load_layers(_path_of(name), _path_of)
    found = _checked(_beginning(*first), first)
    for path, tree in others:
        if "teacher" in tree:
            raise UserError(f'{path}: write like = "NAME" of a protocol, and then no teacher')
        found = _checked(dataclasses.replace(found, name=path.stem), (path, tree))
    changed = _checked(found, (Path("the flags"), changes or {}))
    return dataclasses.replace(changed, name=found.name + ("~" if changed != found else ""))


def _path_of(name: str) -> Path:
    path = Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
    if not path.is_file():
        known = protocol_names()
        raise UserError(
            f"there is no protocol {name!r}: choose {', '.join(known)}, or give a PATH.toml"
            f"{or_nearest(name, known)}"
        )
    return path


def _beginning(path: Path, tree: dict[str, Any]) -> Protocol:
    """What a teacher does without settings; takes its name out of the tree."""
    teacher = tree.pop("teacher", None)
    if not isinstance(teacher, str):
        raise UserError(
            f'{path} must name its teacher, as in teacher = "sdxl_ip_adapter", or a protocol that '
            'it is like but for a few settings, as in like = "a-fixed"'
        )
    module = teacher_module(teacher)
    size = 512 if module.MULTIPLE > 1 else 0
    return Protocol(path.stem, teacher, 1, (0, 1, 2), size, "crop", module.Settings())


def _checked(base: Protocol, layer: tuple[Path, Mapping[str, Any]]) -> Protocol:
    """The protocol with what a file or the flags say."""
    path, tree = layer
    if "name" in tree:
        raise UserError(f"unknown name name in {path}: the file's own name is the protocol's")
    try:
        found = resolve(base, tree, str(path))
        at_least(0, **{f"seeds={seed}": seed for seed in found.seeds})
        _check_size(found)
    except (UserError, ValueError) as error:
        place = "" if str(path) in str(error) else f"{path}: "
        raise UserError(f"{place}{error}") from None
    return found


def _check_size(protocol: Protocol) -> None:
    """Raises UserError for a size that the teacher cannot make, or that cannot be looked at."""
    multiple, size = teacher_module(protocol.teacher).MULTIPLE, protocol.size
    if size == 0 and multiple == 1:
        return
    low, high = _SIZES
    if not low <= size <= high or size % multiple:
        own = "" if multiple > 1 else ", or 0 for the content's own"
        raise UserError(f"size={size}: takes a multiple of {multiple} from {low} to {high}{own}")


def difference(a: Protocol, b: Protocol) -> dict[str, tuple[Any, Any]]:
    """What the two say differently, their names left aside; a missing field is None."""
    left, right = a.fields(), b.fields()
    names = [name for name in (left | right) if name != "name"]
    return {
        name: (left.get(name), right.get(name))
        for name in names
        if left.get(name) != right.get(name)
    }
