"""One run while it trains: what happens behind each step, and how it ends."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from toolkit.core.config import to_toml
from toolkit.core.errors import OutOfMemory
from toolkit.core.files import write_atomic
from train.averages import Averages
from train.config import RunConfig
from train.guard import Feed, Guard
from train.identity import Facts
from train.interrupt import Interrupts, exit_code
from train.loop import StepResult, train
from train.methods.api import Method
from train.numerics import Numerics
from train.parallel import Alone
from train.runs import RunFolder
from train.speed import Rehearsal
from train.state import TrainState, optimizer_tensors, save_checkpoint
from train.watch import Watch


@dataclass(frozen=True)
class Parts:
    """What is trained, and how."""

    method: Method
    numerics: Numerics
    optimizer: torch.optim.Optimizer
    parallel: Alone


class Session:
    """Trains a run and keeps what is to be kept of it.

    Args:
        settings, folder, parts: of the run.
        facts: what decides its weights.
        averages, watch: what sees each step.
        loader: gives the batches.
        first: finished steps.
        rehearsal: times everything.
        limit: steps after which a rehearsal ends; None for a run.
    """

    def __init__(
        self, settings: RunConfig, folder: RunFolder, parts: Parts, facts: Facts,
        averages: Averages, watch: Watch, loader: Any, first: int, rehearsal: Rehearsal,
        limit: int | None,
    ):  # fmt: skip
        self._settings, self._folder, self._parts, self._facts = settings, folder, parts, facts
        self._averages, self._watch, self._rehearsal = averages, watch, rehearsal
        self._first, self._limit = first, limit
        self._feed, self._interrupts = Feed(loader), Interrupts(parts.parallel.ranks.is_first)
        self._guard = Guard(settings.memory_limit, self._feed, settings.device)
        self.done, self.shortage, self._leaves_with = first, "", 0

    def train(self) -> None:
        """Trains to the end, to a signal, or until memory runs short."""
        parts, settings = self._parts, self._settings
        with self._interrupts:
            train(
                parts.method, parts.optimizer, self._feed, settings.optim, parts.numerics,
                self._first, settings.steps, self._after_step, self._in_more_parts,
                parts.parallel,
            )  # fmt: skip
        self._watch.close()

    @property
    def early_exit(self) -> int:
        """What the program leaves with where the run was stopped, by whichever rank: 130 for
        Ctrl-C, 143 for SIGTERM, 75 for want of memory; 0 where it was not."""
        return self._leaves_with if self.done < self._settings.steps else 0

    def _wants_to_leave(self) -> int:
        """The exit code, of all ranks together."""
        own = OutOfMemory.exit_code if self.shortage else 0
        if self._interrupts.received:
            own = exit_code(self._interrupts.received)
        return self._parts.parallel.ranks.most(own)

    def _in_more_parts(self, number: int) -> None:
        """Notes it: a run that resumes adds up in the same order."""
        print(f"out of memory: going on with each batch in {number} parts", flush=True)
        optim = replace(self._settings.optim, gradient_accumulation_steps=number)
        self._settings = replace(self._settings, optim=optim)
        write_atomic(self._folder.config, to_toml(self._settings))
        self._facts = {**self._facts, "optim.gradient_accumulation_steps": str(number)}

    def _after_step(self, result: StepResult) -> bool:
        self.done, self.shortage = result.step, self._guard.stops()
        self._leaves_with = self._wants_to_leave()
        is_rehearsed = self.done - self._first == self._limit
        goes_on = not (self._leaves_with or is_rehearsed)
        self._rehearsal.add("step", result.step_s)
        self._watch.step(result)
        self._averages.step(self.done, self._weights)
        saving = self._settings.checkpoint
        is_kept = bool(saving.keep_every) and self.done % saving.keep_every == 0
        is_due = is_kept or self.done % saving.save_interval == 0
        if is_due or not goes_on or self.done == self._settings.steps:
            with self._rehearsal.timed("checkpoint"):
                self._save(result)
        return goes_on

    def _save(self, result: StepResult) -> None:
        """All ranks put weights and the optimiser's state together, the first writes them."""
        parts, saving = self._parts, self._settings.checkpoint
        ranks = parts.parallel.ranks
        weights = self._weights()
        optimizer = parts.parallel.whole(optimizer_tensors(parts.optimizer))
        if not ranks.is_first:
            return
        state = TrainState(
            self._settings.method, result.step, result.cursor, self._facts,
            parts.numerics.scaler.state_dict(), ranks.world,
        )  # fmt: skip
        save_checkpoint(
            self._folder.checkpoints, state, weights, optimizer,
            saving.keep, saving.keep_every, self._averages.state(),
        )  # fmt: skip

    def _weights(self) -> dict[str, torch.Tensor]:
        return self._parts.parallel.whole(self._parts.method.trainable_state())
