"""Which process this is among those of a run."""

import os
import sys

from toolkit.core.errors import UserError


def rank_and_world() -> tuple[int, int]:
    """(rank, number of ranks): of torch.distributed where it is initialised, as Accelerate does;
    else as `torchrun` says in the variables RANK and WORLD_SIZE; else (0, 1).

    Raises UserError: variables that are no numbers.
    """
    distributed = sys.modules.get("torch.distributed")  # whoever initialised it has imported it
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    try:
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        raise UserError(
            f"RANK={os.environ.get('RANK')} and WORLD_SIZE={os.environ.get('WORLD_SIZE')}: "
            "launch with torchrun, which sets both to numbers, or unset them"
        ) from None
