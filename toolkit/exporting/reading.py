"""From manifest rows to samples with their bytes, checked against their hashes."""

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from toolkit.exporting.api import Linked, Reads, Sample, picture_name
from toolkit.exporting.chosen import Chosen, numbered_roles, rows_by_key
from toolkit.store.images import picture_extension
from toolkit.store.layout import Layout
from toolkit.store.samples import read_member

_AHEAD = 32  # samples
_THREADS = 4
_MAX_NAMED = 20


@dataclass
class Tally:
    """What was left out. counts: by what it was; named: the first samples of each."""

    counts: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, name: str, number: int = 1) -> None:
        """Counts one, and names it where few are named yet."""
        self.counts[what] += number
        named = self.named.setdefault(what, [])
        if name and len(named) < _MAX_NAMED:
            named.append(name)

    def update(self, other: "Tally") -> None:
        """Adds another one."""
        for what, number in other.counts.items():
            self.add(what, "", number)
            for name in other.named.get(what, ()):
                self.add(what, name, 0)


@dataclass(frozen=True)
class Planned:
    """A sample that is to be read. members: those of its own; linked: role, row and member of each
    picture that it is linked to; lacking: links without one; left: members that are not read;
    num_bytes: of all that is."""

    row: dict[str, Any]
    shard: str
    members: tuple[dict[str, Any], ...]
    linked: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...]
    lacking: tuple[str, ...]
    left: tuple[str, ...]
    num_bytes: int


class Planner:
    """Settles what is to be read of rows. with_links: whether linked pictures are."""

    def __init__(self, chosen: Chosen, reads: Reads, with_links: bool):
        self._chosen, self._reads = chosen, reads
        self._with_links = with_links and reads != "nothing"

    def planned(self, split: str, dataset: str, skip: int, limit: int) -> Iterator[Planned]:
        """What is to be read of one split of one dataset, in order."""
        for rows in self._chosen.rows(split, dataset, skip, limit):
            found = self._linked(rows) if self._with_links else {}
            for row in rows:
                yield self._plan(row, found)

    def _plan(self, row: dict[str, Any], found: dict[tuple[str, str], Any]) -> Planned:
        shard, every = row.pop("_shard"), row.pop("_members") or []
        if self._reads == "members":
            members = every
        elif self._reads == "pictures":
            members = [m for m in every if picture_extension(m["ext"])]
        else:
            members = []
        texts = ("json", "txt")  # what they say is in the row
        left = [m["ext"] for m in every if m not in members and m["ext"] not in texts]
        linked, lacking = [], []
        taken = {picture_name(m["ext"]) for m in members}
        links = (row["links"] or []) if self._with_links else []
        for role, link in zip(numbered_roles([x["role"] for x in links]), links, strict=True):
            other = found.get((link["dataset"], link["key"]))
            if f"{role}_image" in taken:
                lacking.append(f"{role}: a picture of its own is called so")
            elif other is None:
                lacking.append(f"{role} {link['dataset']}/{link['key']}")
            else:
                linked.append((role, *other))
        size = sum(m["size"] for m in members) + sum(m["size"] for *_, m in linked)
        return Planned(
            row, shard, tuple(members), tuple(linked), tuple(lacking),
            tuple(left) if self._reads == "pictures" else (), size,
        )  # fmt: skip

    def _linked(self, rows: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
        wanted: dict[str, set[str]] = {}
        for row in rows:
            for link in row["links"] or ():
                wanted.setdefault(link["dataset"], set()).add(link["key"])
        found = {}
        for dataset, keys in wanted.items():
            for row in rows_by_key(self._chosen.catalog.layout, dataset, sorted(keys)).values():
                pictures = [m for m in row["members"] or () if picture_extension(m["ext"])]
                if pictures:
                    found[dataset, row["key"]] = (row, pictures[0])
        return found


def read_samples(layout: Layout, planned: Iterable[Planned], tally: Tally) -> Iterator[Sample]:
    """The samples with their bytes, in order, some read ahead by threads. One whose bytes are not
    what the manifest says is left out and counted, and so is what it is linked to.

    Raises UserError where a tar cannot be read at all.
    """
    waiting: deque[tuple[Planned, Future[Sample | str]]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for plan in planned:
                waiting.append((plan, pool.submit(_read, layout, plan)))
                if len(waiting) >= _AHEAD:
                    yield from _given(*waiting.popleft(), tally)
            while waiting:
                yield from _given(*waiting.popleft(), tally)
        finally:
            for _, future in waiting:
                future.cancel()


def _given(plan: Planned, future: Future[Sample | str], tally: Tally) -> Iterator[Sample]:
    name = f"{plan.row['dataset']}/{plan.row['key']}"
    found = future.result()
    if isinstance(found, str):
        tally.add("damaged samples", f"{name} ({found})")
        return
    for link in plan.lacking:
        tally.add("linked pictures that are not at hand", f"{name}: {link}")
    got = {x.role for x in found.linked}
    for role, row, _ in plan.linked:
        if role not in got:
            tally.add("damaged linked pictures", f"{name}: {role} {row['dataset']}/{row['key']}")
    for ext in plan.left:
        tally.add(f"members .{ext}, which are no pictures", "")
    yield found


def _read(layout: Layout, plan: Planned) -> Sample | str:
    """A sample, or which of its own members is damaged."""
    row = {"dataset": plan.row["dataset"], "shard": plan.shard}
    members = {}
    for member in plan.members:
        data = read_member(layout, row, member)
        if not _is_sound(member, data):
            return str(member["ext"])
        members[member["ext"]] = data
    linked = []
    for role, other, member in plan.linked:
        data = read_member(layout, other, member)
        if _is_sound(member, data):
            linked.append(Linked(role, other["dataset"], other["key"], member["ext"], data))
    return Sample(plan.row, members, tuple(linked))


def _is_sound(member: dict[str, Any], data: bytes) -> bool:
    if len(data) != member["size"]:
        return False
    return member["sha256"] in (None, hashlib.sha256(data).hexdigest())
