"""A command as several processes of a Ray cluster, each with its share: what torchrun does on one
machine. Each process goes on where an earlier one of its number stopped, so one that is lost is
simply started again."""

import contextlib
import inspect
import io
import os
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toolkit.cluster.connection import RETRIES, connect, cores
from toolkit.core.errors import UserError
from toolkit.core.log import VARIABLE

_OWN = ("engine", "jobs")


def flags_of(command: Callable[..., None], values: Mapping[str, Any]) -> list[str]:
    """The flags that give a command these values, without those of the engine."""
    usual = inspect.signature(command).parameters
    flags = []
    for name, value in values.items():
        if name in _OWN or (name in usual and value == usual[name].default):
            continue
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        kind = usual[name].kind if name in usual else inspect.Parameter.KEYWORD_ONLY
        is_place = kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
        flags.append(text if is_place else f"--{name}={text}")
    return flags


def spread_over(
    engine: str, jobs: int | None, limit: int | None, module: str,
    command: Callable[..., None], values: Mapping[str, Any],
) -> bool:  # fmt: skip
    """Runs a command on the cluster where its flags ask for it; whether they do.

    Args:
        engine, jobs, limit: its flags.
        module, command: where it is, and its function.
        values: all that it was given.

    Raises UserError: flags that do not go together; as `as_ranks`.
    """
    if engine == "local":
        if jobs is not None:
            raise UserError("--jobs goes with --engine=ray; torchrun starts several on one machine")
        return False
    if limit is not None:
        raise UserError("--limit rehearses in one process: leave --engine=ray away")
    as_ranks(module, flags_of(command, values), jobs, str(values.get("device", "cpu")))
    return True


def as_ranks(module: str, flags: list[str], jobs: int | None, device: str) -> None:
    """Runs a command as so many processes of the cluster, and prints what each says.

    Args:
        module: of the command.
        flags: of each.
        jobs: processes; on GPUs as many as there are, on cores half as many, otherwise.
        device: the flag; each process has a GPU of its own unless it is cpu, or there are none.

    Raises:
        UserError: no cluster; a process failed, and the others have ended.
    """
    ray = connect()
    gpus = int(ray.cluster_resources().get("GPU", 0)) if device != "cpu" else 0
    world = jobs or gpus or max(1, cores(ray) // 2)
    # a process each, so that nothing of one is left in the next; started anew where one dies
    remote = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_retries=RETRIES, max_calls=1)(
        _rank
    )
    asked = [remote.remote(module, flags, rank, world, str(Path.cwd())) for rank in range(world)]
    failed: dict[str, list[str]] = {}
    for rank, reference in enumerate(asked):
        try:
            code, out, errors = ray.get(reference)
        except ray.exceptions.RayError as error:
            code, out, errors = 1, "", f"{type(error).__name__}, {RETRIES + 1} times"
        for line in out.splitlines():
            print(f"[{rank + 1}/{world}] {line}", flush=True)
        if code:
            last = errors.strip().splitlines()[-1] if errors.strip() else f"exit code {code}"
            failed.setdefault(last.removeprefix("error: "), []).append(str(rank + 1))
    if failed:
        told = [f"process {' and '.join(who)} of {world}: {why}" for why, who in failed.items()]
        is_one = len(failed) == 1 and len(*failed.values()) == world
        raise UserError(*failed) if is_one else UserError("; ".join(told))


def _rank(module: str, flags: list[str], rank: int, world: int, folder: str) -> Any:
    """Exit code, and what was said on stdout and stderr."""
    os.chdir(folder)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": "0",
        VARIABLE: "plain",
    }
    before, sys.argv = sys.argv, [module, *flags]
    out, errors = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.argv = before
    return code, out.getvalue(), errors.getvalue()
