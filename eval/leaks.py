"""Pictures that are evaluated with and were trained on: the same bytes, or nearly the same picture.

What a model has seen it may have learnt by heart, so scores on it say little. The same bytes are
found by their sha256, other copies of a picture by perceptual hashes that differ in a few bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from eval.roster import ROLES, Roster
from toolkit.core.errors import UserError
from toolkit.store.catalog import Catalog
from toolkit.store.layout import Layout
from toolkit.store.near import SAME_BITS, near_hashes

_EXAMPLES = 5
_NEAR_ALL = "SELECT DISTINCT phash FROM evaluated"


@dataclass(frozen=True)
class Leaks:
    """trained: pictures that were trained on, those linked to samples too; None where nothing is
    known of the training. checked, same, near: by role, how many pictures were looked at, have the
    bytes of one that was trained on, or are nearly the same as one. examples: some of them."""

    trained: int | None
    checked: dict[str, int] = field(default_factory=dict)
    same: dict[str, int] = field(default_factory=dict)
    near: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    @property
    def any(self) -> int:
        """How many pictures in all."""
        return sum(self.same.values()) + sum(self.near.values())

    def __str__(self) -> str:
        if self.trained is None:
            return "overlap with training: not checked, --trained_on=SQL says what was trained on"
        checked = ", ".join(f"{count} {role}" for role, count in self.checked.items())
        if not self.any:
            return f"overlap with training: none of {checked} is among {self.trained} pictures"
        parts = [
            f"{self.same[role]} {role} the same and {self.near[role]} nearly the same"
            for role in self.checked
            if self.same[role] or self.near[role]
        ]
        some = ", ".join(self.examples)
        return f"overlap with training: {'; '.join(parts)}, of {checked}; among them {some}"


def find_leaks(
    layout: Layout, roster: Roster, trained_on: Sequence[tuple[str, str]] | None
) -> Leaks:
    """Compares the references of a roster with what was trained on.

    trained_on: dataset ("" for any) and SQL condition of each task; None if not known. Raises
    UserError for a malformed condition.
    """
    if trained_on is None:
        return Leaks(None)
    catalog = Catalog(layout)
    _collect_trained(catalog, trained_on)
    trained = catalog.rows("SELECT count(*) FROM trained")[0][0]
    found = Leaks(trained)
    for role in ROLES[:2]:
        pictures = list(roster.all_references(role))
        if not pictures:
            continue
        catalog.con.execute(
            "CREATE OR REPLACE TEMP TABLE evaluated AS SELECT unnest($1::BIGINT[]) AS phash, "
            "unnest($2::VARCHAR[]) AS sha256, unnest($3::VARCHAR[]) AS name",
            [
                [p.phash for p in pictures], [p.sha256 for p in pictures],
                [f"{p.dataset}/{p.key}" for p in pictures],
            ],
        )  # fmt: skip
        same = "SELECT name FROM evaluated WHERE sha256 IN (SELECT sha256 FROM trained)"
        near = near_hashes(_NEAR_ALL, "SELECT phash FROM trained", SAME_BITS)
        exact = [name for (name,) in catalog.rows(f"{same} ORDER BY name")]
        alike = catalog.rows(
            f"SELECT name FROM evaluated WHERE phash IN ({near}) "
            "AND sha256 NOT IN (SELECT sha256 FROM trained) ORDER BY name"
        )
        found.checked[role] = len(pictures)
        found.same[role], found.near[role] = len(exact), len(alike)
        some = [*exact, *(name for (name,) in alike)][:_EXAMPLES]
        found.examples.extend(f"{role} {name}" for name in some)
    return found


def _collect_trained(catalog: Catalog, trained_on: Sequence[tuple[str, str]]) -> None:
    """The table `trained` of phash and sha256, of samples and of what they are linked to."""
    parts = []
    for dataset, condition in trained_on:
        if dataset and dataset not in catalog.datasets:
            raise UserError(f"the dataset {dataset}, which was trained on, is not packed here")
        checked = catalog.condition(condition)
        parts.append(
            "SELECT dataset, key, phash, members, links FROM samples "
            f"WHERE status = 'ok' AND dataset = '{dataset}' AND ({checked}\n)"
            if dataset
            else "SELECT dataset, key, phash, members, links FROM samples "
            f"WHERE status = 'ok' AND ({checked}\n)"
        )
    catalog.rows(f"CREATE OR REPLACE TEMP TABLE chosen AS {' UNION ALL '.join(parts)}")
    linked = (
        "SELECT s.phash, s.members FROM samples AS s JOIN (SELECT DISTINCT link.dataset AS d, "
        "link.key AS k FROM (SELECT unnest(links) AS link FROM chosen)) AS l "
        "ON s.dataset = l.d AND s.key = l.k WHERE s.status = 'ok'"
    )
    catalog.rows(
        "CREATE OR REPLACE TEMP TABLE trained AS SELECT DISTINCT phash, "
        f"members[1].sha256 AS sha256 FROM (SELECT phash, members FROM chosen UNION ALL {linked})"
    )
