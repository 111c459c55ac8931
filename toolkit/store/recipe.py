"""How a sidecar of tensors was made: manifests/<dataset>/sidecars/<name>/sidecar.json."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.core.nearest import or_nearest
from toolkit.store.layout import Layout

VERSION = 1
FLIPPED = "_flipped"  # ends the name of an output of mirrored pictures
COMMAND = "command"  # in an identity: what makes such sidecars where toolkit.encode does not


@dataclass(frozen=True)
class Recipe:
    """How a sidecar is made: all that decides its bytes. encoder: its identity; outputs: which of
    its outputs; settings: size, fit, flips, number format and so on; all JSON values."""

    encoder: Mapping[str, Any]
    outputs: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "version": VERSION, "encoder": dict(self.encoder), "outputs": list(self.outputs),
            "settings": dict(self.settings),
        }  # fmt: skip

    @property
    def sha256(self) -> str:
        """Hex hash of the values."""
        text = json.dumps(self.values(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: "Recipe") -> list[str]:
        """Names of what differs between the two, as encoder.precision or settings.size."""
        found = []
        for part in ("encoder", "settings"):
            mine, theirs = getattr(self, part), getattr(other, part)
            found += [
                f"{part}.{key}"
                for key in sorted({*mine, *theirs})
                if mine.get(key) != theirs.get(key)
            ]
        return found + (["outputs"] if self.outputs != other.outputs else [])


def variants(output: str, settings: Mapping[str, Any]) -> list[str]:
    """The names under which an output is stored: of the plain cut, of each view of it, and each of
    them followed by its mirror image, where the settings of a recipe have those."""
    views = [output, *(f"{output}_view{n}" for n in range(1, settings.get("views", 0) + 1))]
    mirrored = ("", FLIPPED) if settings.get("flip") else ("",)
    return [view + suffix for view in views for suffix in mirrored]


def check_name(name: str) -> str:
    """Returns the name of a sidecar. Raises UserError for one that is no plain folder name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UserError(f"--sidecar={name}: write letters, digits, dots, dashes and underscores")
    return name


def recipe_path(layout: Layout, dataset: str, name: str) -> Path:
    """Where it is said how a dataset's sidecar is made."""
    return layout.manifests / dataset / "sidecars" / name / "sidecar.json"


def write_recipe(layout: Layout, dataset: str, name: str, recipe: Recipe) -> None:
    """Says how a sidecar is made, before anything of it is."""
    path = recipe_path(layout, dataset, name)
    make_folder(path.parent)
    write_atomic(path, json.dumps(recipe.values(), indent=1, sort_keys=True) + "\n")


def read_recipe(layout: Layout, dataset: str, name: str, command: str = "") -> Recipe:
    """How a sidecar was made. command: as for `how_to_make`. Raises UserError when there is none,
    or none with tensors."""
    path = recipe_path(layout, dataset, name)
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["version"] != VERSION:
            raise UserError(f"{path} is of version {values['version']}: encode anew")
        return Recipe(values["encoder"], tuple(values["outputs"]), values["settings"])
    except FileNotFoundError:
        raise missing(layout, [dataset], name, command) from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): encode anew") from None


def common_recipe(places: Iterable[tuple[Layout, str]], name: str, command: str = "") -> Recipe:
    """How the sidecars of a name in several datasets were made, all in the same way. command: as
    for `how_to_make`.

    Raises UserError: one that is missing or damaged, or two that were made in different ways.
    """
    (first, recipe), *others = [
        (dataset, read_recipe(layout, dataset, name, command)) for layout, dataset in places
    ]
    for dataset, other in others:
        if recipe.sha256 != other.sha256:
            differ = ", ".join(recipe.differences(other))
            raise UserError(
                f"the sidecars {name} of {first} and {dataset} were made in different ways "
                f"({differ} differ): make one anew with --overwrite"
            )
    return recipe


def how_to_make(datasets: Sequence[str], name: str, command: str = "") -> str:
    """The command that makes a sidecar, as far as it is known. command: what makes those of the
    name, or, beginning with `--`, the flags by which `toolkit.encode` does."""
    if command and not command.startswith("--"):
        return f"python -m {command} --sidecar={name}"
    one = f"dataset='{datasets[0]}'"
    where = one if len(datasets) == 1 else f"dataset in {tuple(datasets)}"
    return f'python -m toolkit.encode "{where}" --sidecar={name} {command or "--encoder=…"}'


def missing(layout: Layout, datasets: Sequence[str], name: str, command: str = "") -> UserError:
    """That datasets lack a sidecar, with the command that makes it, and one of nearly that name."""
    *first, last = datasets
    have = f"{', '.join(first)} and {last} have" if first else f"{last} has"
    how = how_to_make(datasets, name, command)
    there = [folder.name for dataset in datasets for folder in layout.sidecars(dataset)]
    return UserError(f"{have} no sidecar {name}: make it with {how}{or_nearest(name, there)}")
