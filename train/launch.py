"""How torchrun started this process, and who of several says what. Imports torch only where there
are several."""

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import UserError, one_line
from toolkit.stream.ranks import rank_and_world

_GONE = re.compile(r"gloo|nccl|connection (closed|reset|refused)|timed? ?out|broken pipe", re.I)
_TOLD, _FAILED = "tessera/told/", "tessera/failed"


class LostRank(UserError):
    """Another rank of the run died or does not answer; what is needed to go on is kept."""

    exit_code = 75


@dataclass(frozen=True)
class Launch:
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

    def is_first_to_say(self, text: str) -> bool:
        """Whether no other rank has said it."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        return self.store is None or self.store.add(_TOLD + digest, 1) == 1


@contextlib.contextmanager
def launched() -> Iterator[Launch]:
    """This process among those that torchrun started.

    All but the first say nothing on stdout inside. What a user has to know is said once, by
    whichever rank comes first, and a rank that finds another one gone ends with exit code 75.
    """
    rank, world = rank_and_world()
    if world == 1:
        yield Launch()
        return
    import torch

    store, *_ = next(torch.distributed.rendezvous("env://", rank, world))
    local, local_world = (
        int(os.environ.get(name, default))
        for name, default in (("LOCAL_RANK", rank), ("LOCAL_WORLD_SIZE", world))
    )
    launch = Launch(rank, world, local, local_world, store)
    with contextlib.ExitStack() as stack:
        if not launch.is_first:
            silence = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(silence))
        try:
            yield launch
        except UserError as error:
            _leave(launch, error)
        except RuntimeError as error:
            if not is_gone(error):
                raise
            _leave(launch, LostRank(f"another rank is gone ({one_line(error, 120)})"))
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextlib.contextmanager
def telling_how_to_go_on(launch: Launch, advice: Callable[[], str]) -> Iterator[None]:
    """Inside, the message of a rank that finds another one gone says what to do."""
    try:
        yield
    except RuntimeError as error:
        if launch.world == 1 or not is_gone(error):
            raise
        raise LostRank(
            f"another of the {launch.world} ranks died or does not answer: {advice()}"
        ) from error


def is_gone(error: RuntimeError) -> bool:
    """Whether an error is that of a process that lost another one."""
    import torch

    found = isinstance(error, torch.distributed.DistError)
    return found or bool(_GONE.search(str(error)))


def _leave(launch: Launch, error: UserError) -> None:
    """Ends this process; its message is that of all ranks that have the same one, and none at all
    where ranks are gone because one of them has said why."""
    try:
        is_consequence = isinstance(error, LostRank) and launch.store.check([_FAILED])
        if not isinstance(error, LostRank):
            launch.store.set(_FAILED, "1")
        is_said = not is_consequence and launch.is_first_to_say(str(error))
    except RuntimeError:  # whoever keeps the notes is gone too
        is_said = True
    if is_said:
        raise error
    sys.stdout.flush()
    raise SystemExit(error.exit_code)
