"""Which settings make a run fit a memory, without changing what it learns."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from toolkit.core.errors import UserError
from train.config import RunConfig
from train.planning.forecast import Forecast, forecast, with_optim


@dataclass(frozen=True)
class Proposal:
    """flags: what has to be added, none where it fits as it is; found: the forecast with them;
    fits: whether that is enough."""

    flags: tuple[str, ...]
    found: Forecast
    fits: bool


def bytes_in(text: str) -> int:
    """Bytes in 24GB, 24G, 500MB or 24GiB. Raises UserError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT])(i?)B?", text.strip(), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise UserError(f"--vram={text}: write it as 24GB")
    power = "kmgt".index(match[2].lower()) + 1
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def propose(
    settings: RunConfig,
    memory: int,
    plain: Forecast | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Proposal:
    """Settings by which a run keeps within the share of a memory that it is allowed.

    plain: the forecast without any; tell: is told of each try, which may take long.

    Activations are computed twice before batches are parted; then looks show less. Each of them
    leaves the trained weights what they are, but for the order of sums.
    """
    limit = int(memory * settings.memory_limit)
    found, flags = plain or forecast(settings), dict[str, object]()

    def tries(changed: RunConfig, **named: object) -> bool:
        nonlocal settings, found
        before = found
        try:
            now = forecast(changed)
        except UserError:  # nothing of this method can be computed twice
            return False
        if now.peak >= before.peak and now.peaks.step >= before.peaks.step:
            return False
        settings, found = changed, now
        flags.update(named)
        words = " ".join(f"--{name}={value}" for name, value in flags.items())
        tell(f"with {words}: {now.peak / 1e9:.2f} GB")
        return True

    if _training(found) > limit and not settings.optim.gradient_checkpointing:
        tries(with_optim(settings, gradient_checkpointing=True), gradient_checkpointing="true")
    parts = max(settings.optim.gradient_accumulation_steps, 1)
    while _training(found) > limit and parts < settings.data.batch_size:
        parts = min(2 * parts, settings.data.batch_size)
        changed = with_optim(settings, gradient_accumulation_steps=parts)
        if not tries(changed, gradient_accumulation_steps=parts):
            break
    look = settings.sample
    while found.peak > limit and (look.eval_size > 1 or look.num_pairs > 1):
        look = replace(
            look, eval_size=max(look.eval_size // 2, 1), num_pairs=max(look.num_pairs // 2, 1)
        )
        sizes = {"eval_size": look.eval_size, "num_pairs": look.num_pairs}
        if not tries(replace(settings, sample=look), **sizes):
            break
    if found.peak > limit and look.sample_every:
        tries(replace(settings, sample=replace(look, sample_every=0)), sample_every=0)
    texts = tuple(f"--{name}={value}" for name, value in flags.items())
    return Proposal(texts, found, found.peak <= limit)


def _training(found: Forecast) -> int:
    """What is compared with the limit while only training steps are made smaller."""
    besides = found.peak - found.peaks.peak if found.device == "cpu" else 0
    return found.peaks.step + besides


def describe(proposal: Proposal, memory: str, share: float) -> str:
    """For people. memory: as `bytes_in` takes it; share: of it that is allowed."""
    room = f"{memory}, of which {share:.0%} are allowed (--memory_limit)"
    peak = f"{proposal.found.peak / 1e9:.2f} GB"
    flags = " ".join(proposal.flags)
    if not proposal.fits:
        tried = f" even with {flags}" if flags else ""
        cards = "several cards with --parallel=fsdp share weights and what belongs to them, "
        return (
            f"does not fit {room}: {peak}{tried}; {cards if proposal.found.device != 'cpu' else ''}"
            "a smaller --batch_size trains otherwise"
        )
    if not flags:
        return f"fits {room}: {peak}"
    return f"fits {room} with {flags}: {peak}"
