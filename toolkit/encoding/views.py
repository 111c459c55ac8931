"""Random cuts of pictures, encoded beside the plain one, for training with random crops."""

from dataclasses import dataclass

from toolkit.core.errors import UserError
from toolkit.core.keyed import key63
from toolkit.stream.augment import Augment, Cut


@dataclass(frozen=True)
class Views:
    """How many cuts there are beside the plain one, and how small they may be: least_scale, side of
    the smallest as a part of the picture's shorter side.

    A view is the same part of every picture, so content and target of a triplet stay aligned.
    """

    count: int = 0
    least_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UserError(f"--views={self.count}: takes 0 or more")
        Augment("random", self.least_scale)  # checks the range

    def cut(self, view: int) -> Cut:
        """The square of view 1 … count; of view 0 the central one."""
        if not view:
            return Cut()
        return Augment("random", self.least_scale).cut(key63("view", view), "target")
