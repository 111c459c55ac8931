"""Which card each process of a queue works on."""

from toolkit.core.errors import UserError


def slots_of(cards: tuple[str, ...]) -> list[dict[str, str]]:
    """What each process finds in its environment: `CUDA_VISIBLE_DEVICES`. cards: numbers of GPUs,
    or cpu once for each process. Raises UserError."""
    if all(card == "cpu" for card in cards):
        return [{"CUDA_VISIBLE_DEVICES": ""} for _ in cards]
    if not all(card.isdigit() for card in cards):
        raise UserError(
            f"--cards={','.join(cards)}: takes numbers of GPUs, or cpu for each process"
        )
    if len(set(cards)) < len(cards):
        raise UserError(f"--cards={','.join(cards)}: a card takes one process at a time")
    return [{"CUDA_VISIBLE_DEVICES": card} for card in cards]
