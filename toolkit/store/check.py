"""Compares tars with manifests, bytes and all."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import sha256_of
from toolkit.core.spool import Spool
from toolkit.store.images import PictureError, decode_rgb, picture_extension
from toolkit.store.keys import readable
from toolkit.store.layout import Layout
from toolkit.store.manifest import MEMBER_NAMES, SHARD_SHA256, manifest_metadata, read_manifest
from toolkit.store.tar_samples import samples
from toolkit.store.tar_walk import TarRefused

MAX_LISTED = 1000
_HEADERS_ONLY = " (it was packed with --check=headers; packing with --check=full leaves it out)"


@dataclass(frozen=True)
class Problem:
    """Something that is not as the manifest says. where: a shard or sample."""

    where: str
    what: str


def check_shard(layout: Layout, dataset: str, manifest: Path) -> tuple[int, list[Problem]]:
    """Checks one shard: its hash, each member's place and hash, that pictures decode.

    Returns (number of samples checked, problems).
    """
    tar, where = layout.tar_named(dataset, manifest.stem), f"{dataset}/{manifest.stem}"
    try:
        all_rows, metadata = read_manifest(manifest), manifest_metadata(manifest)
        expected = metadata[SHARD_SHA256].decode()
        # the members of somebody else's tar are named after source ids, and failed ones are there
        in_place = metadata.get(MEMBER_NAMES) == b"source_id"
    except (UserError, KeyError, UnicodeDecodeError) as error:
        return 0, [Problem(where, f"unreadable manifest: {error}")]
    named_by = "source_id" if in_place else "key"
    rows = [row for row in all_rows if row["status"] == "ok"]
    failed = {row["source_id"] for row in all_rows if in_place and row["status"] != "ok"}
    if not tar.exists():
        return 0, [Problem(where, f"the shard {tar} is missing")]
    problems = []
    digest = sha256_of(tar)
    if digest != expected:
        if other := _shard_of(layout, dataset, digest):
            return 0, [Problem(where, f"its tar is that of {other}: swapped, or copied over it")]
        problems.append(Problem(where, "the tar's sha256 is not the one in the manifest"))
    try:
        found = {(name, ext): (offset, size) for name, ext, offset, size in _scan(tar)}
    except UserError as error:
        return 0, [*problems, Problem(where, str(error))]
    problems += _check_members(tar, dataset, rows, found, named_by)
    listed = {(row[named_by], member["ext"]) for row in rows for member in row["members"] or ()}
    unlisted = sorted(pair for pair in found.keys() - listed if pair[0] not in failed)
    for name, ext in unlisted:
        problems.append(Problem(f"{dataset}/{name}", f"{ext} is in the tar, not in the manifest"))
    return len(rows), problems


def _check_members(
    tar: Path,
    dataset: str,
    rows: list[dict[str, Any]],
    found: Mapping[tuple[str, str], tuple[int, int]],
    named_by: str,
) -> Iterator[Problem]:
    seen: set[str] = set()
    with open(tar, "rb") as file:
        for row in rows:
            sample = f"{dataset}/{row['key']}"
            if row["key"] in seen:
                yield Problem(sample, "duplicate key")
            seen.add(row["key"])
            for member in row["members"] or ():
                ext, place = member["ext"], (member["offset"], member["size"])
                if found.get((row[named_by], ext)) != place:
                    yield Problem(sample, f"{ext} is not at the offset of the manifest")
                    continue
                file.seek(member["offset"])
                data = file.read(member["size"])
                if hashlib.sha256(data).hexdigest() != member["sha256"]:
                    yield Problem(sample, f"{ext} has another sha256")
                elif picture_extension(ext):
                    try:
                        decode_rgb(data)
                    except PictureError as error:
                        hint = _HEADERS_ONLY if row["phash"] is None else ""
                        yield Problem(sample, f"{ext} does not decode: {error}{hint}")


def _shard_of(layout: Layout, dataset: str, digest: str) -> str | None:
    """The shard of the dataset whose tar has this sha256."""
    for path in layout.manifests_of(dataset):
        try:
            if manifest_metadata(path).get(SHARD_SHA256) == digest.encode():
                return path.stem
        except UserError:
            continue
    return None


def _scan(tar: Path) -> Iterator[tuple[str, str, int, int]]:
    """(sample, ext, offset, size) of every member. Raises UserError that names the damage."""
    try:
        for sample in samples(tar):
            for part in sample.parts:
                yield readable(sample.name), readable(part.ext), part.offset, part.size
    except TarRefused as error:
        raise UserError(f"{tar}: {error}") from None


def find_orphans(layout: Layout, dataset: str) -> list[Problem]:
    """Tars without a manifest: leftovers of an interrupted pack, which no command reads."""
    known = {path.stem for path in layout.manifests_of(dataset)}
    return [
        Problem(
            f"{dataset}/{tar.stem}",
            "a tar without a manifest: pack again, or rebuild it with --repair_manifest",
        )
        for tar in sorted((layout.shards / dataset).glob("*.tar"))
        if tar.stem not in known
    ]


def find_orphaned_datasets(layout: Layout) -> list[Problem]:
    """Tars of datasets that have no manifest at all."""
    known = set(layout.datasets())
    folders = sorted(p.name for p in layout.shards.glob("*") if p.is_dir())
    return [
        problem for name in folders if name not in known for problem in find_orphans(layout, name)
    ]


def find_duplicates(layout: Layout, dataset: str) -> list[Problem]:
    """Keys that stand in more than one shard; unreadable manifests are left out."""
    with Spool() as spool:
        for path in layout.manifests_of(dataset):
            spool.add("keys", ((key, path.stem) for key in sorted(_keys(path))))
        return [
            Problem(f"{dataset}/{key}", f"duplicate key, in {' and '.join(stems)}")
            for key, stems in spool.repeated("keys", MAX_LISTED)
        ]


def find_lost_links(layout: Layout, dataset: str) -> list[Problem]:
    """Samples linked to samples that are not packed: one problem per linked dataset and role."""
    linked: set[tuple[str, str]] = set()
    problems = []
    with Spool() as spool:
        for path in layout.manifests_of(dataset):
            for row in _read(path, ["key", "status", "links"]):
                for link in row["links"] or () if row["status"] == "ok" else ():
                    linked.add((link["role"], link["dataset"]))
                    spool.add(f"{link['role']} {link['dataset']}", [(link["key"], row["key"])])
        for other in sorted({name for _, name in linked}):
            for path in layout.manifests_of(other):
                spool.add(f"keys {other}", ((key, None) for key in sorted(_keys(path))))
        for role, other in sorted(linked):
            count, example = 0, ""
            for key, sample in spool.missing(f"{role} {other}", f"keys {other}"):
                count, example = count + 1, example or f"{sample} is linked to {other}/{key}"
            if count:
                what = f"{count} samples lack their {role} in {other}; {example}"
                problems.append(Problem(dataset, what))
    return problems


def _keys(manifest: Path) -> set[str]:
    return {row["key"] for row in _read(manifest, ["key", "status"]) if row["status"] == "ok"}


def _read(manifest: Path, columns: list[str]) -> list[dict[str, Any]]:
    """Columns of one manifest; nothing of one that cannot be read, `check_shard` names it."""
    try:
        return read_manifest(manifest, columns)
    except UserError:
        return []


def check_card(layout: Layout, dataset: str) -> list[Problem]:
    """dataset.json must be there and list the same shards as the manifests."""
    try:
        card = json.loads(layout.card(dataset).read_text("utf-8"))
        listed = {shard["name"]: shard["manifest_sha256"] for shard in card["shards"]}
    except FileNotFoundError:
        return [Problem(dataset, "dataset.json is missing: the pack did not finish")]
    except (OSError, ValueError, LookupError, TypeError) as error:
        return [Problem(dataset, f"dataset.json cannot be read: {error}")]
    actual = {path.stem: sha256_of(path) for path in layout.manifests_of(dataset)}
    return (
        [] if listed == actual else [Problem(dataset, "dataset.json does not match the manifests")]
    )
