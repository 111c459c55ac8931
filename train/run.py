"""Trains a method.

    python -m train.run                                  style_adapter, smoke preset, sample data
    python -m train.run style_adapter --where="style='Cubism'" --optim.lr=5e-4 --name=cubism
    python -m train.run --name=cubism --resume
    python -m train.run style_adapter --config=3090 --device=cuda --plan --vram=24GB

    torchrun --nproc_per_node=4 -m train.run style_adapter --config=3090

Flags are checked here; `train.training` wires data, method, optimiser and loop together.
"""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.core.command import run
from toolkit.core.config import describe, to_toml
from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folder, write_atomic
from toolkit.core.log import note
from toolkit.store.layout import Layout
from toolkit.store.mirror import open_layout


def main(
    method: str = "style_adapter",
    *,
    config: str = "smoke",
    where: str | None = None,
    mix: str | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    seed: int | None = None,
    threads: int | None = None,
    device: str | None = None,
    resume: bool = False,
    force: bool = False,
    no_restore_optimizer: bool = False,
    overwrite: bool = False,
    limit: int | None = None,
    plan: bool = False,
    vram: str | None = None,
    name: str | None = None,
    runs: Path = Path("runs"),
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    **overrides: str,
) -> None:
    """Trains a method on packed data and writes runs/NAME.

    Any field of the configuration is a flag: --optim.lr=3e-4, --data.workers=0.

    Args:
        method: the method; a folder under train/methods.
        config: a preset of the method, or a TOML file such as a run's config.toml.
        where: SQL condition on the main task's samples, for example "style='Cubism'".
        mix: tasks and their weights, for example main:3,fill50k:1.
        steps: optimiser steps.
        epochs: instead of steps, how often to go through the main task.
        seed: of weights, order, noise and everything else.
        threads: intra-op threads; results are bit-identical at a fixed number.
        device: cpu, cuda, cuda:1 …
        resume: go on from the run's last checkpoint, as if it had never stopped; refused where
            anything differs that decides the weights.
        force: with --resume, accept what differs, and say what.
        no_restore_optimizer: with --resume, begin with an optimiser without memory.
        overwrite: delete an existing run of this name first.
        limit: do only so many steps, keep nothing, and say what the whole run will take.
        plan: only tell the memory that the run will take, from its configuration: no data are read,
            and no weights.
        vram: as --plan, and for this much memory of the card, as 24GB, or of the host for a run on
            the CPU, what has to be added for it to fit; exit code 1 where nothing makes it fit.
        name: the run's name; METHOD-PRESET otherwise.
        runs: folder of all runs.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
    """
    from train.launch import launched
    from train.methods import check_method
    from train.runs import RunFolder, check_run_name
    from train.settings import SHORT, Resume

    with launched() as launch:
        check_method(method)
        folder = RunFolder(runs / check_run_name(name or f"{method}-{Path(config).stem}"))
        changes = dict(overrides)
        named = {
            "where": where, "mix": mix, "steps": steps, "epochs": epochs, "seed": seed,
            "threads": threads, "device": device,
        }  # fmt: skip
        changes |= {SHORT.get(k, k): str(value) for k, value in named.items() if value is not None}
        _check_flags(resume, overwrite, force, no_restore_optimizer, steps, epochs, limit)
        if steps is not None:
            changes["epochs"] = "0"  # those of a preset
        how = Resume(force, not no_restore_optimizer) if resume else None
        asked = _Asked(method, config, changes, how, overwrite, limit)
        if plan or vram:
            _plan(asked, folder, vram)
        else:
            _train(asked, folder, open_layout(shards, manifests), launch)


@dataclass(frozen=True)
class _Asked:
    """What the flags ask for. changes: to the configuration; how: it resumes."""

    method: str
    config: str
    changes: dict[str, str]
    how: Any
    overwrite: bool
    limit: int | None

    def settings(self, folder: Any) -> Any:
        """The configuration, but for what the data decide. Raises UserError."""
        from train.training import settle

        force = self.how is not None and self.how.force
        return settle(folder, self.method, self.config, self.changes, self.how is not None, force)


def _train(asked: _Asked, folder: Any, layout: Layout, launch: Any) -> None:
    """Holds the run's folder, opens data and method, and trains."""
    from train.allocator import give_back_large_tensors
    from train.launch import telling_how_to_go_on
    from train.parallel import check_spread
    from train.ranks import Ranks
    from train.resume import how_to_resume
    from train.runs import RunFolder, alone, claimed, refuse_existing
    from train.training import Training, build, open_settled, train_run

    ranks, is_new = Ranks(**vars(launch)), asked.how is None
    busy = f"another process is training the run {folder.path}: wait for it"
    with contextlib.ExitStack() as stack:
        if is_new and asked.limit is None and ranks.is_first:
            refuse_existing(folder, asked.overwrite)
        if asked.limit is not None:
            rehearsed = stack.enter_context(tempfile.TemporaryDirectory(prefix="tessera-"))
            folder = RunFolder(Path(rehearsed) / folder.path.name)
        there = folder.path.is_dir()
        if there and ranks.is_first:  # before anything slow
            stack.enter_context(held(folder.path, busy))
        settings = asked.settings(folder)
        check_spread(settings, ranks)
        give_back_large_tensors(settings)
        settings = replace(settings, device=ranks.join(settings.ranks, settings.device))
        with ranks.one_before_the_others():
            settings, data = open_settled(settings, layout, not is_new)
        stack.enter_context(alone(settings))
        built = build(settings, ranks)
        if not there and ranks.is_first:
            stack.enter_context(held(make_folder(folder.path), busy))
        begun = None
        if is_new and ranks.is_first:
            _refuse_own(settings.init_from, folder.path)
            begun = stack.enter_context(claimed(folder, asked.overwrite))
            write_atomic(folder.config, to_toml(settings))
        training = Training(settings, folder, data, layout, ranks)
        with telling_how_to_go_on(ranks, lambda: how_to_resume(settings, folder, ranks.world)):
            train_run(training, built, asked.how, begun, asked.limit)


def _plan(asked: _Asked, folder: Any, vram: str | None) -> None:
    from train.planning.forecast import forecast
    from train.planning.proposal import bytes_in, describe, propose

    memory = bytes_in(vram) if vram else 0
    settings = asked.settings(folder)
    plain = forecast(settings)
    if not vram:
        print(*plain.lines(), sep="\n")
        return
    proposal = propose(settings, memory, plain, note)
    print(*proposal.found.lines(" ".join(proposal.flags)), sep="\n")
    if proposal.flags:
        print(f"without {' '.join(proposal.flags)}: {plain.peak / 1e9:.2f} GB")
    print(describe(proposal, vram, settings.memory_limit))
    if not proposal.fits:
        raise SystemExit(1)


def _check_flags(
    resume: bool, overwrite: bool, force: bool, no_restore_optimizer: bool,
    steps: int | None, epochs: float | None, limit: int | None,
) -> None:  # fmt: skip
    if resume and (overwrite or epochs is not None):
        raise UserError("--resume goes on as it was: leave --overwrite and --epochs away")
    if steps is not None and epochs is not None:
        raise UserError("--steps and --epochs both say how long: keep one")
    if limit is not None and limit < 1:
        raise UserError(f"--limit={limit}: takes 1 or more")
    if limit is not None and (resume or overwrite):
        raise UserError("--limit keeps nothing: leave --resume and --overwrite away")
    if not resume and (force or no_restore_optimizer):
        raise UserError("--force and --no_restore_optimizer go with --resume")


def _refuse_own(init_from: str, run: Path) -> None:
    if init_from and Path(init_from).resolve().is_relative_to(run.resolve()):
        raise UserError(
            f"--init_from={init_from} lies in the run that --overwrite deletes: choose another "
            "--name"
        )


def _fields(positional: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The configuration's fields, the method's own included, as its preset sets them."""
    from train.settings import fresh_config

    method = positional[0] if positional else "style_adapter"
    config = flags.get("config", "smoke")
    if config.endswith(".json"):  # another program's, which says aloud what it leaves out
        config = "smoke"
    title = f"fields of {method}, --config={config} (--group.field=value):"
    return title, describe(fresh_config(method, config, {}))


def known_values(positional: list[str], flags: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of methods, presets, and what fields take."""
    from toolkit.core.described import choices_of
    from train.methods import method_names, preset_names
    from train.settings import fresh_config

    method = positional[0] if positional else "style_adapter"
    fields = choices_of(fresh_config(method, flags.get("config", "smoke"), {}))
    return {"method": method_names(), "config": preset_names(method), **fields}


if __name__ == "__main__":
    is_first = os.environ.get("RANK", "0") == "0"  # as torchrun sets it
    run(main, "python -m train.run", fields=_fields, is_first=is_first, values=known_values)
