"""Which configuration a run has: of a preset and flags when it is new, its own when it resumes."""

import dataclasses
import inspect
from collections.abc import Mapping
from math import ceil
from operator import attrgetter
from pathlib import Path
from typing import Any

from toolkit.core.command import field_of
from toolkit.core.config import describe, load_layers, nest, resolve
from toolkit.core.errors import UserError
from toolkit.core.matrix import Resolved
from toolkit.stream.mix import parse_mix
from train.config import RunConfig, check_config
from train.methods import check_method, config_module, preset_path
from train.runs import RunFolder, default_config, load_config, open_run

# What does not change a run's result, and may therefore change when it is resumed.
_FREE = (
    "data.workers",
    "data.prefetch",
    "data.max_bytes",
    "data.max_failures",
    "checkpoint",
    "sample",
    "device",
    "memory_limit",
    "wandb",
    "ranks",
)


SHORT = {"where": "data.where", "mix": "data.mix"}  # flags of train.run with a name of their own


@dataclasses.dataclass(frozen=True)
class Resume:
    """How a run goes on. force: what differs from before is accepted; restore_optimizer: whether
    the optimiser's state comes back too."""

    force: bool = False
    restore_optimizer: bool = True


def fresh_config(method: str, config: str, changes: Mapping[str, str]) -> RunConfig:
    """The configuration of a new run.

    Args:
        method: the method's name.
        config: a preset of the method, or the path of a TOML file, either of which may say only
            what differs from the one it names as `like`; for some methods also of a JSON file of
            another program.
        changes: dotted names and texts that override it.

    Raises:
        UserError: an unknown name, a value of the wrong type, a file of another method.
    """
    path = Path(config)
    if path.suffix == ".json":
        return resolve(_foreign(method, path), nest(changes), "the flags")
    return resolve(_of_file(method, config), nest(changes), "the flags")


def resolved_flags(method: str, config: str, flags: Mapping[str, str]) -> Resolved:
    """Flags of train.run, and the configuration that a run of them has. Raises UserError for what
    the method does not take."""
    check_method(method)
    usual = fresh_config(method, config, {})
    known = list(describe(usual))
    whole = {SHORT.get(flag) or field_of(flag, SHORT, known): text for flag, text in flags.items()}
    ends = {"epochs": "0"} if "steps" in whole else {}  # instead of a preset's
    settings = resolve(usual, nest({**ends, **whole}), "the flags")
    check_config(settings)
    return Resolved(whole, {name: repr(attrgetter(name)(settings)) for name in known})


def check_stylize_flags(usual: Any, flags: Mapping[str, str]) -> None:
    """Raises UserError for flags that train.stylize does not take of runs whose options are as
    `usual`."""
    from train import stylize

    own = inspect.signature(stylize.main).parameters
    fields = list(describe(usual))
    whole = {field_of(flag, own, fields): text for flag, text in flags.items() if flag not in own}
    resolve(usual, nest(whole), "[stylize]")


def _of_file(method: str, config: str) -> RunConfig:
    """What a preset or TOML file says, upon those that it is like."""

    def find(name: str) -> Path:
        return Path(name) if name.endswith(".toml") else preset_path(method, name)

    found = default_config(method)
    for path, tree in load_layers(find(config), find):
        if tree.get("method", method) != method:
            other = tree["method"]
            raise UserError(f"{path} configures {other}: python -m train.run {other}")
        found = resolve(found, tree, path.name)
    return found


def _foreign(method: str, path: Path) -> RunConfig:
    """The configuration that another program's file stands for; says what has no counterpart."""
    read = getattr(config_module(method), "from_json", None)
    if read is None:
        raise UserError(f"{path}: {method} takes a preset or a TOML file")
    try:
        values, notes = read(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    for note in notes:
        print(f"{path}: {note}")
    return resolve(default_config(method), nest(values), path.name)


def stored_config(
    folder: RunFolder, method: str, changes: Mapping[str, str], force: bool = False
) -> RunConfig:
    """The configuration of a run that resumes: its own.

    Raises UserError for a run of another method; without force for a change that would change the
    result.
    """
    settings = load_config(open_run(folder.path).config)
    if settings.method != method:
        raise UserError(
            f"the checkpoint in {folder.path} is of the method {settings.method}, not {method}: "
            f"python -m train.run {settings.method} --name={folder.path.name} --resume"
        )
    changed = resolve(settings, nest(changes), "the flags")
    for name in () if force else changes:
        if not is_free(name) and attrgetter(name)(changed) != attrgetter(name)(settings):
            why = " (the learning rate follows it)" if name == "steps" else ""
            raise UserError(
                f"a resumed run keeps its {name}={attrgetter(name)(settings)}{why}: leave --{name} "
                "away, start another run with another --name, or add --force; free are "
                f"{', '.join(_FREE)}"
            )
    return changed


def is_free(name: str) -> bool:
    """Whether a field may change without changing the trained weights."""
    return any(name == free or name.startswith(f"{free}.") for free in _FREE)


def with_epochs(settings: RunConfig, num_main: int) -> RunConfig:
    """The configuration with steps for its epochs: as many as go through the main task so often."""
    weights = list(parse_mix(settings.data.mix).values())

    def steps_of(epochs: float) -> int:
        samples = epochs * num_main * sum(weights) / weights[0]
        return max(1, ceil(samples / settings.data.batch_size))

    saving = settings.checkpoint
    if settings.epochs:
        settings = dataclasses.replace(settings, steps=steps_of(settings.epochs))
    if saving.save_epochs:
        saving = dataclasses.replace(saving, save_interval=steps_of(saving.save_epochs))
    return dataclasses.replace(settings, checkpoint=saving)
