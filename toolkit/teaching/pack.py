"""From staged attempts to a dataset: one shard holds a slice of the plan, in the plan's order.

An attempt is a row: refused ones without bytes, so that a query can count them; the last one of a
target, where it is good, with its picture.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from toolkit.core.files import atomic_path
from toolkit.core.records import Link, Record, Ref
from toolkit.packing.plan import Input
from toolkit.packing.shard import ShardSummary, fingerprint, make_shard
from toolkit.packing.write import PackResult, Task, write_dataset
from toolkit.pairing.plan import Target
from toolkit.store.ingest import Policy
from toolkit.store.keys import make_key
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest, to_json
from toolkit.teaching.stage import Attempt, Stage

OVERRIDES = "qc_overrides.jsonl"
"""Beside the manifests: the parameters of every retry, a line each."""


@dataclass(frozen=True)
class Part:
    """The targets of one shard. index: the shard's."""

    index: int
    targets: Sequence[Target]


@dataclass(frozen=True)
class Taught:
    """What a teacher made, as the packer reads it."""

    stage: Stage
    dataset: str
    protocol: str
    protocol_sha256: str

    def inputs(self, part: Part) -> Iterator[Input]:
        """Every attempt that is staged, in order. Keys are the target's, and KEY-aN of retries."""
        for target in part.targets:
            for attempt in self.stage.attempts(part.index, target):
                key = attempt_key(target.key, attempt.number)
                yield Input(Ref(key, (part.index, target, attempt)), key)

    def read(self, ref: Ref) -> Record:
        """One attempt's facts, and its picture where it was not refused."""
        shard, target, attempt = ref.locator
        is_refused = attempt.grade == "R"
        return Record(
            members={}
            if is_refused
            else {attempt.ext: self.stage.picture(shard, target, attempt)},
            captions=(target.prompt,) if target.prompt else (),
            style=target.style,
            artist=target.artist,
            genre=target.genre,
            split=target.split,
            links=(
                Link("content", target.content_dataset, target.content_key),
                Link("style", target.style_dataset, target.style_key),
            ),
            protocol=self.protocol,
            protocol_exact=attempt.number == 1,
            attempt=attempt.number,
            parent=target.key if attempt.number > 1 else None,
            grade=attempt.grade,
            weight=attempt.weight,
            refused=_refused(attempt) if is_refused else None,
            extra={
                "teacher": {
                    **attempt.settings, "seed": target.seed,
                    "protocol_sha256": self.protocol_sha256, "notes": attempt.notes,
                },
                "quality": {
                    "measures": attempt.measures, "causes": attempt.causes,
                    "doubts": attempt.doubts,
                },
            },
        )  # fmt: skip


def attempt_key(key: str, number: int) -> str:
    """The key of an attempt's row."""
    return key if number == 1 else make_key(f"{key}-a{number}")


def _refused(attempt: Attempt) -> tuple[str, str]:
    numbers = ", ".join(f"{name} {attempt.measures.get(name)}" for name in attempt.causes)
    return attempt.causes[0], f"refused by quality control: {numbers}"


def identity_of(dataset: str, description: dict[str, Any], part: Part) -> str:
    """Of all that decides a shard; what the teacher made of it follows from that."""
    named = [Input(Ref(to_json(asdict(target))), target.key) for target in part.targets]
    return fingerprint(dataset, description, named)


def pack_part(
    source: Taught, layout: Layout, description: dict[str, Any], part: Part
) -> ShardSummary:
    """Writes the shard of a part whose targets are all finished."""
    inputs = list(source.inputs(part))
    identity = identity_of(source.dataset, description, part)
    return make_shard(source, source.dataset, part.index, inputs, layout, identity, Policy())


def finish(
    source: Taught,
    layout: Layout,
    description: dict[str, Any],
    parts: Iterator[Part],
) -> PackResult:
    """Writes what is missing beside the shards: the card, and the list of retries; removes surplus
    shards of an earlier, longer plan. Whoever calls it has looked whether the name is free."""

    def tasks() -> Iterator[Task]:
        for part in parts:
            identity = identity_of(source.dataset, description, part)
            yield Task(
                part.index, identity, (), partial(pack_part, source, layout, description, part)
            )

    result = write_dataset(
        layout, source.dataset, description, tasks(), 1, Counter(), overwrite=True
    )
    _write_overrides(layout, source.dataset)
    return result


def _write_overrides(layout: Layout, dataset: str) -> None:
    path = layout.manifests / dataset / OVERRIDES
    columns = ["key", "parent", "attempt", "grade", "status", "protocol", "extra"]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for manifest in layout.manifests_of(dataset):
            causes: dict[str, Any] = {}  # of the attempt before
            for row in read_manifest(manifest, columns):
                extra = json.loads(row.pop("extra"))
                target = row["parent"] or row["key"]
                if row["attempt"] > 1:
                    line = {**row, "after": causes[target], **extra}
                    file.write(to_json(line) + "\n")
                causes[target] = extra["quality"]["causes"]
