"""The processes of a run that torchrun started, and what they tell each other.

    torchrun --nproc_per_node=4 -m train.run style_adapter --config=3090

Each is a rank, with a card of its own and its slice of every global batch. Rank 0 writes what is
written, and speaks for all. Without torchrun there is one rank, and nothing here costs anything.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.stream.batch import Batch
from toolkit.stream.schedule import slice_of
from train.config import RanksConfig, RunConfig
from train.launch import Launch


class Ranks(Launch):
    """The processes of a run once they have met."""

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


def check_backend(backend: str, kind: str) -> str:
    """The backend for a type of device. Raises UserError."""
    if backend == "auto":
        return "nccl" if kind == "cuda" else "gloo"
    if backend == "nccl" and kind != "cuda":
        raise UserError(f"--backend=nccl works between GPUs: take gloo, or leave --device={kind}")
    return backend
