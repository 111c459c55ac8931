"""From the order to the bytes: which pictures a wanted sample has, and where they lie."""

from collections.abc import Iterable, Sequence

from toolkit.core.errors import UserError
from toolkit.store.compile import ROLES
from toolkit.store.layout import Layout
from toolkit.store.selection import Selection
from toolkit.stream.partners import Partners
from toolkit.stream.rows import Rows, Sample
from toolkit.stream.schedule import Want


class Lookup:
    """Looks samples of several selections up, many at a time.

    Args:
        selections: the sources, in the order of their numbers.
        roles: the roles that are wanted; all that a selection has otherwise.
        partners: draws other style pictures than those that the samples are linked to.
        also: roles that are only looked up, for what is read in the place of their pictures.

    Raises:
        UserError: an unknown role.
    """

    def __init__(
        self,
        selections: Sequence[Selection],
        roles: Iterable[str] | None = None,
        partners: Partners | None = None,
        also: Iterable[str] = (),
    ):
        wanted = {role for selection in selections for role in selection.roles}
        wanted |= {"style"} if partners else set()
        wanted = wanted if roles is None else {roles} if isinstance(roles, str) else set(roles)
        if unknown := wanted - set(ROLES):
            raise UserError(f"there is no role {min(unknown)!r}: roles are {', '.join(ROLES)}")
        self.roles = tuple(role for role in ROLES if role in wanted)
        located = {*self.roles, *also}
        self.rows = tuple(Rows(selection, located) for selection in selections)
        self._partners = partners if "style" in located else None
        pools = [self._partners.pool] if self._partners else []
        self._layouts = {
            str(shard): selection.layout
            for selection in (*selections, *pools)
            for shard in selection.shards
        }

    def samples(self, wants: Sequence[Want], attempt: int = 0) -> list[Sample]:
        """The wanted samples. attempt: of finding a substitute."""
        found: dict[int, Sample] = {}
        for source, rows in enumerate(self.rows):
            numbers = [i for i, want in enumerate(wants) if want.source == source]
            if numbers:
                samples = rows.samples([wants[i].row for i in numbers])
                found.update(zip(numbers, samples, strict=True))
        samples = [found[number] for number in range(len(wants))]
        if self._partners:
            partners = self._partners.draw(samples, [want.seed for want in wants], attempt)
            for sample, partner in zip(samples, partners, strict=True):
                if partner is not None:
                    sample.pieces["style"] = partner
        return samples

    def layout_of(self, shard: str) -> Layout:
        """The data folders that a shard belongs to."""
        return self._layouts[shard]

    def num_bytes(self) -> list[int]:
        """Bytes of all pictures of each selection."""
        return [rows.num_bytes() for rows in self.rows]

    def largest(self) -> int:
        """Bytes of the largest picture."""
        pools = [self._partners.largest()] if self._partners else []
        return max(*(rows.largest() for rows in self.rows), *pools, 0)
