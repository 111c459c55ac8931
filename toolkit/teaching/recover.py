"""Takes pictures back out of a shard that is to be packed anew, as the last one of a plan that has
grown: what was made is never made twice."""

import json
from typing import Any

from toolkit.core.errors import UserError
from toolkit.pairing.plan import Target
from toolkit.store.images import picture_extension
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import read_member
from toolkit.teaching.pack import Part
from toolkit.teaching.stage import Attempt, Stage


def recover(layout: Layout, dataset: str, part: Part, stage: Stage) -> int:
    """Stages the attempts of a part's targets that an older shard of that number holds; returns how
    many targets. A shard that cannot be read holds none."""
    path = layout.manifest(dataset, part.index)
    if not path.exists() or not layout.tar(dataset, part.index).exists():
        return 0
    try:
        rows = read_manifest(path)
    except UserError:
        return 0
    attempts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        attempts.setdefault(row["parent"] or row["key"], []).append(row)
    count = 0
    for target in part.targets:
        found = attempts.get(target.key, [])
        if not found or not _is_of(found[0], target) or stage.attempts(part.index, target):
            continue
        for row in found:
            data, ext = _picture(layout, row)
            attempt = _attempt(row, ext, is_last=row is found[-1])
            stage.add(part.index, target, attempt, data)
        count += 1
    return count


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
