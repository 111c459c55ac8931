"""The processes of a run that torchrun started: what they tell each other, and what they do when
one of them is gone.

    torchrun --nproc_per_node=4 -m train.run style_adapter --config=3090

Each is a rank, with a card of its own and its slice of every global batch. Rank 0 writes what is
written, and speaks for all. Without torchrun there is one rank, and nothing here costs anything.
"""

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch

from toolkit.core.errors import UserError, one_line
from toolkit.stream.batch import Batch
from toolkit.stream.ranks import rank_and_world
from toolkit.stream.schedule import slice_of
from train.config import RanksConfig, RunConfig

_GONE = re.compile(r"gloo|nccl|connection (closed|reset|refused)|timed? ?out|broken pipe", re.I)
_TOLD, _FAILED = "tessera/told/", "tessera/failed"


class LostRank(UserError):
    """Another rank of the run died or does not answer; what is needed to go on is kept."""

    exit_code = 75


@dataclass(frozen=True)
class Ranks:
    """One process among those of a run. rank: from 0 to world − 1; local, local_world: its number
    on its machine, of how many there; store: what the processes of a run leave notes in, None where
    there is one alone."""

    rank: int = 0
    world: int = 1
    local: int = 0
    local_world: int = 1
    store: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes and speaks."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of float64 tensors of one shape, on the CPU, over all ranks."""
        if self.world > 1:
            torch.distributed.all_reduce(values)
        return values

    def most(self, value: int) -> int:
        """The largest number of all ranks."""
        if self.world == 1:
            return value
        found = torch.tensor(value)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return int(found)

    def each(self, value: Any) -> list[Any]:
        """The values of all ranks, by rank; of what pickle takes."""
        found: list[Any] = [value]
        if self.world > 1:
            found *= self.world
            torch.distributed.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Until all ranks are here."""
        self.most(0)

    @contextlib.contextmanager
    def one_before_the_others(self) -> Iterator[None]:
        """The first rank of each machine does what is inside, then the others, who find its
        files."""
        if self.local:
            self.wait()
        yield
        if not self.local:
            self.wait()

    def join(self, config: RanksConfig, device: str) -> str:
        """Lets the ranks meet. Returns the device of this one.

        Raises UserError: a backend that does not do for the device, more ranks than GPUs.
        """
        if self.world == 1:
            return device
        kind = torch.device(device).type
        backend = check_backend(config.backend, kind)
        if kind == "cuda":
            if self.local >= torch.cuda.device_count():
                raise UserError(
                    f"{self.local + 1} ranks or more on this machine and "
                    f"{torch.cuda.device_count()} GPUs: --nproc_per_node takes at most as many"
                )
            torch.cuda.set_device(self.local)
            device = "cuda"  # which is now its own
        torch.distributed.init_process_group(
            f"cpu:gloo,cuda:{backend}" if kind == "cuda" else backend,
            store=self.store, rank=self.rank, world_size=self.world,
            timeout=timedelta(seconds=config.timeout_s),
        )  # fmt: skip
        return device

    def share_of(self, batch: Batch) -> Batch:
        """This rank's part of a batch that all ranks have."""
        part = slice_of(len(batch), self.rank, self.world)
        mine = batch.part(part.start, part.stop)
        return mine if self.is_first else replace(mine, num_substituted=0)  # counted once

    def describe(self, settings: RunConfig) -> Iterator[str]:
        """What the ranks do, a line each."""
        how, backend = settings.ranks, torch.distributed.get_backend()
        least, more = divmod(settings.data.batch_size, self.world)
        each = f"{least} or {least + 1}" if more else f"{least}"
        yield (
            f"{self.world} ranks, {how.parallel} over {backend}: {each} of "
            f"{settings.data.batch_size} samples each; one that does not answer for "
            f"{how.timeout_s:g} s counts as gone"
        )
        asked, cores = self.local_world * settings.threads, len(os.sched_getaffinity(0))
        if settings.device == "cpu" and asked > cores:
            yield (
                f"{self.local_world} ranks of {settings.threads} threads on {cores} cores wait for "
                f"each other: --threads={max(1, cores // self.local_world)} is faster"
            )

    def refuse_differing(self, facts: Mapping[str, str]) -> None:
        """Raises UserError, on all ranks, where the facts of one are not those of the first: its
        machine has other data, weights or another program."""
        found = self.each(facts)
        for rank, others in enumerate(found):
            odd = [name for name in found[0] if others.get(name) != found[0][name]]
            if odd:
                raise UserError(
                    f"rank {rank} would train on something else than rank 0: {', '.join(odd)} "
                    "differ; give all machines the same data, weights and program"
                )

    def is_first_to_say(self, text: str) -> bool:
        """Whether no other rank has said it."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        return self.store is None or self.store.add(_TOLD + digest, 1) == 1


def check_backend(backend: str, kind: str) -> str:
    """The backend for a type of device. Raises UserError."""
    if backend == "auto":
        return "nccl" if kind == "cuda" else "gloo"
    if backend == "nccl" and kind != "cuda":
        raise UserError(f"--backend=nccl works between GPUs: take gloo, or leave --device={kind}")
    return backend


@contextlib.contextmanager
def open_ranks() -> Iterator[Ranks]:
    """This process among those that torchrun started.

    All but the first say nothing on stdout inside. What a user has to know is said once, by
    whichever rank comes first, and a rank that finds another one gone ends with exit code 75.
    """
    rank, world = rank_and_world()
    if world == 1:
        yield Ranks()
        return
    store, *_ = next(torch.distributed.rendezvous("env://", rank, world))
    ranks = Ranks(
        rank, world, int(os.environ.get("LOCAL_RANK", rank)),
        int(os.environ.get("LOCAL_WORLD_SIZE", world)), store,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        if not ranks.is_first:
            stack.enter_context(contextlib.redirect_stdout(open(os.devnull, "w")))  # noqa: SIM115
        try:
            yield ranks
        except UserError as error:
            _leave(ranks, error)
        except RuntimeError as error:
            if not is_gone(error):
                raise
            _leave(ranks, LostRank(f"another rank is gone ({one_line(error, 120)})"))
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextlib.contextmanager
def telling_how_to_go_on(ranks: Ranks, advice: Callable[[], str]) -> Iterator[None]:
    """Inside, the message of a rank that finds another one gone says what to do."""
    try:
        yield
    except RuntimeError as error:
        if ranks.world == 1 or not is_gone(error):
            raise
        raise LostRank(
            f"another of the {ranks.world} ranks died or does not answer: {advice()}"
        ) from error


def is_gone(error: RuntimeError) -> bool:
    """Whether an error is that of a process that lost another one."""
    found = isinstance(error, torch.distributed.DistError)
    return found or bool(_GONE.search(str(error)))


def _leave(ranks: Ranks, error: UserError) -> None:
    """Ends this process; its message is that of all ranks that have the same one, and none at all
    where ranks are gone because one of them has said why."""
    try:
        is_consequence = isinstance(error, LostRank) and ranks.store.check([_FAILED])
        if not isinstance(error, LostRank):
            ranks.store.set(_FAILED, "1")
        is_said = not is_consequence and ranks.is_first_to_say(str(error))
    except RuntimeError:  # whoever keeps the notes is gone too
        is_said = True
    if is_said:
        raise error
    sys.stdout.flush()
    raise SystemExit(error.exit_code)
