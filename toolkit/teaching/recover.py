"""What was made is never made twice, and never lost unasked: a plan that has grown takes over the
pictures of the smaller one, wherever they lie; a plan that leaves some out is refused."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from itertools import chain
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import make_folder
from toolkit.core.spool import SeenKeys, Spool
from toolkit.pairing.plan import Target
from toolkit.store.images import picture_extension
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import read_member
from toolkit.teaching.pack import Part
from toolkit.teaching.stage import Attempt, Stage


def take_over(
    layout: Layout,
    dataset: str,
    parts: Iterable[Part],
    stage: Stage,
    is_packed: Callable[[int], bool],
    overwrite: bool,
) -> int:
    """Puts what was made by another plan where this one has it; returns how many targets that were.

    Args:
        parts: of the plan.
        is_packed: whether the shard of that number holds what the plan has there.
        overwrite: whether what the plan does not name may be lost.

    Raises:
        UserError: it names less than what was made.
    """
    with Spool() as planned:
        planned.add("", ((t.key, [p.index, asdict(t)]) for p in parts for t in p.targets))
        if not overwrite:
            _refuse_less(layout, dataset, stage, planned)
        for number, path in stage.kept():
            _move(stage, number, path, planned)
        shards = (path.stem for path in layout.manifests_of(dataset))
        numbers = [int(stem.rpartition("-")[2]) for stem in shards]
        old = [number for number in numbers if not is_packed(number)]
        return sum(_restage(layout, dataset, number, stage, planned, is_packed) for number in old)


def recover(layout: Layout, dataset: str, part: Part, stage: Stage) -> int:
    """Stages the attempts of a part's targets that an older shard of that number holds; returns how
    many targets. A shard that cannot be read holds none."""
    attempts = _rows_of(layout, dataset, part.index)
    return sum(
        _stage_rows(layout, attempts.get(target.key, []), part.index, target, stage)
        for target in part.targets
    )


def _refuse_less(layout: Layout, dataset: str, stage: Stage, planned: Spool) -> None:
    staged = (stage.key_of(path) for _, path in stage.kept())
    packed = (
        row["parent"] or row["key"]
        for path in layout.manifests_of(dataset)
        for row in read_manifest(path, ["key", "parent"])
    )
    with SeenKeys() as seen:
        first, count = "", 0
        for key in chain(packed, staged):
            if not planned.get("", key) and seen.add(key):
                first, count = first or key, count + 1
    if count:
        raise UserError(
            f"{dataset} holds {count} targets that this plan does not name, as {first}: choose "
            "another --name, name the plan that does as well (--plan=ONE,OTHER), or give "
            "--overwrite to lose them"
        )


def _move(stage: Stage, number: int, path: Any, planned: Spool) -> None:
    """Puts one file of the stage into the folder of the shard that the plan has it in."""
    for part, facts in planned.get("", stage.key_of(path)):
        if part != number and stage.is_of(path, Target(**facts)):
            path.rename(make_folder(stage.folder / f"{part:06d}") / path.name)


def _restage(
    layout: Layout,
    dataset: str,
    number: int,
    stage: Stage,
    planned: Spool,
    is_packed: Callable[[int], bool],
) -> int:
    count = 0
    for key, rows in _rows_of(layout, dataset, number).items():
        for part, facts in planned.get("", key):
            if not is_packed(part):
                count += _stage_rows(layout, rows, part, Target(**facts), stage)
    return count


def _rows_of(layout: Layout, dataset: str, number: int) -> dict[str, list[dict[str, Any]]]:
    """The attempts that a shard holds, by target."""
    path = layout.manifest(dataset, number)
    if not path.exists() or not layout.tar(dataset, number).exists():
        return {}
    try:
        rows = read_manifest(path)
    except UserError:
        return {}
    attempts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        attempts.setdefault(row["parent"] or row["key"], []).append(row)
    return attempts


def _stage_rows(
    layout: Layout, rows: list[dict[str, Any]], part: int, target: Target, stage: Stage
) -> bool:
    """Stages a target's attempts, unless some are there, or they were made for another one."""
    if not rows or not _is_of(rows[0], target) or stage.attempts(part, target):
        return False
    for row in rows:
        data, ext = _picture(layout, row)
        stage.add(part, target, _attempt(row, ext, is_last=row is rows[-1]), data)
    return True


def _is_of(row: dict[str, Any], target: Target) -> bool:
    """Whether a row was made for just this target: its pair may have been planned with another
    caption then."""
    links = [(link["dataset"], link["key"]) for link in row["links"]]
    wanted = [
        (target.content_dataset, target.content_key),
        (target.style_dataset, target.style_key),
    ]
    return links == wanted and row["caption"] == (target.prompt or None)


def _picture(layout: Layout, row: dict[str, Any]) -> tuple[bytes, str]:
    for member in row["members"] or ():
        if picture_extension(member["ext"]):
            return read_member(layout, row, member), member["ext"]
    return b"", ""


def _attempt(row: dict[str, Any], ext: str, is_last: bool) -> Attempt:
    extra = json.loads(row["extra"])
    teacher, quality = extra["teacher"], extra["quality"]
    settings = {k: v for k, v in teacher.items() if k not in ("seed", "protocol_sha256", "notes")}
    return Attempt(
        row["attempt"], settings, row["grade"], tuple(quality["causes"]), tuple(quality["doubts"]),
        round(row["weight"], 4), quality["measures"], tuple(teacher["notes"]), is_last, ext,
    )  # fmt: skip
