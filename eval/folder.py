"""Pictures that anybody's program made, as a dataset that is linked to what they were made from.

What a picture belongs to is told by a table (metadata.csv or metadata.jsonl with file_name, and any
of content, style_reference, style, caption), or by its name: CONTENT_STYLE, CONTENT-STYLE or
CONTENT_stylized_STYLE, with the names of files, or keys, of contents and style references; where
there are only contents, the content's name alone.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from eval.subject import Subject
from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest
from toolkit.core.records import Link, Record, Ref
from toolkit.packing.dataset import pack
from toolkit.sources.folder import Folder, open_source
from toolkit.store.keys import make_key
from toolkit.store.layout import Layout

_BETWEEN = ("_stylized_", "__", "_", "-")
_PER_SHARD = 256
_ROLES = {"content": "content", "style_reference": "style"}


def subject_of_folder(
    folder: Path, contents: str, styles: str, name: str | None, runs: Path, layout: Layout
) -> Subject:
    """Packs a folder of pictures, and those of contents and styles where they are folders too.
    Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"--folder={folder}: there is no such folder")
    dataset = name or make_key(folder.resolve().name)
    known = {
        role: _known(_packed(given, layout, f"--{role}s"), layout)
        for role, given in (("content", contents), ("style", styles))
        if given
    }
    if (runs / dataset / "config.toml").is_file():
        raise UserError(f"{runs / dataset} is a run: give --name=…, what to call these pictures")
    source = _Outputs(open_source(folder), known)
    try:
        result = pack(source, dataset, layout, _PER_SHARD)
    except UserError as error:
        if not str(error).startswith(f"the dataset {dataset} "):
            raise
        raise UserError(f"{_reason(error)}: give --name=…, what to call these pictures") from None
    print(f"{result.num_ok} pictures in the dataset {dataset}, {result.num_failed} failed")
    _tell_unlinked(layout, dataset, known)
    return Subject(dataset, "", dataset, runs / dataset / "scores")


def _tell_unlinked(layout: Layout, dataset: str, known: dict[str, dict[str, "_Known"]]) -> None:
    """Says how many pictures belong to nothing, and how to say what they belong to."""
    found: dict[str, list[str]] = {}
    for path in layout.manifests_of(dataset):
        columns = ["source_id", "status", "style", "links"]
        for row in pq.ParquetFile(path).read(columns=columns).to_pylist():
            linked = {link["role"] for link in row["links"] or ()}
            for role in ("content", "style"):
                named = role in linked or (role == "style" and row["style"])
                if row["status"] == "ok" and not named:
                    found.setdefault(role, []).append(row["source_id"])
    for role, files in found.items():
        if role not in known:
            print(f"{len(files)} pictures without a {role}: --{role}s=DIR names the {role}s")
            continue
        both = "CONTENT_STYLE" if len(known) == 2 else role.upper()
        print(
            f"{len(files)} pictures without a {role}, as {files[0]}: name them {both} after the "
            "files of --contents and --styles, or write metadata.csv beside them"
        )


def _packed(given: str, layout: Layout, flag: str) -> str:
    """The dataset that is meant. A folder is packed under its own name, so that whatever is scored
    beside it can be compared."""
    if Path(given).is_dir():
        dataset = make_key(Path(given).resolve().name)
        try:
            pack(open_source(Path(given)), dataset, layout, _PER_SHARD)
        except UserError as error:
            if not str(error).startswith(f"the dataset {dataset} "):
                raise
            raise UserError(
                f"{flag}={given}: {_reason(error)}: pack it with python -m toolkit.pack folder "
                f"--src={given} --name=OTHER, and give {flag}=OTHER"
            ) from None
        return dataset
    packed = layout.datasets() if layout.manifests.is_dir() else []
    if given not in packed:
        raise UserError(
            f"{flag}={given}: there is no such folder, and no dataset of that name"
            f"{or_nearest(given, packed)}"
        )
    return given


def _reason(error: UserError) -> str:
    """What a pack refuses, without the advice that is for its own command."""
    return str(error).partition(": ")[0]


@dataclass(frozen=True)
class _Known:
    """A picture that others are made from."""

    dataset: str
    key: str
    caption: str | None
    style: str | None


def _known(dataset: str, layout: Layout) -> dict[str, _Known]:
    """Pictures by their keys and by the names of their files."""
    found: dict[str, _Known] = {}
    columns = ["key", "status", "source_id", "caption", "style"]
    for path in layout.manifests_of(dataset):
        for row in pq.ParquetFile(path).read(columns=columns).to_pylist():
            if row["status"] == "ok":
                one = _Known(dataset, row["key"], row["caption"], row["style"])
                name = PurePosixPath(row["source_id"] or row["key"]).stem.lower()
                found[row["key"]] = found[name] = one
    return found


@dataclass(frozen=True)
class _Outputs:
    """The pictures of a folder with their links."""

    folder: Folder
    known: dict[str, dict[str, _Known]]

    @property
    def src(self) -> Path:
        """Where the pictures lie; another folder of the same name is refused."""
        return self.folder.src

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """As the folder's; pictures that are linked to nothing are noted."""
        for ref in self.folder.index(notes):
            if notes is not None and self.known and not self._named(ref.source_id):
                facts = ref.locator[1]
                if not any(facts.get(column) for column in _ROLES):
                    notes["pictures whose names tell of no content and style"] += 1
            yield ref

    def read(self, ref: Ref) -> Record:
        """The picture with its links; caption and style are those of what it was made from, where
        it has none of its own."""
        record = self.folder.read(ref)
        found = self._named(ref.source_id)
        extra = dict(record.extra)
        for column, role in _ROLES.items():
            given = extra.pop(column, None)
            if given:
                found[role] = self._told(role, column, str(given))
        links = tuple(Link(role, one.dataset, one.key) for role, one in found.items())
        captions, style = record.captions, record.style
        if not captions and "content" in found and found["content"].caption:
            captions = (found["content"].caption,)
        if style is None and "style" in found:
            style = found["style"].style
        return replace(record, captions=captions, style=style, links=links, extra=extra)

    def describe(self) -> dict[str, Any]:
        """The folder's, and which datasets its pictures are linked to."""
        datasets = sorted({one.dataset for names in self.known.values() for one in names.values()})
        return {**self.folder.describe(), "kind": "outputs", "linked": datasets}

    def _told(self, role: str, column: str, given: str) -> _Known:
        names = self.known.get(role, {})
        found = names.get(given) or names.get(PurePosixPath(given).stem.lower())
        if found is None:
            raise UserError(
                f"the table names the {column} {given!r}, which is not among those of --{role}s="
            )
        return found

    def _named(self, path: str) -> dict[str, _Known]:
        """What a picture's name tells."""
        stem = PurePosixPath(path).stem.lower()
        contents, styles = self.known.get("content", {}), self.known.get("style", {})
        if not styles:
            return {"content": contents[stem]} if stem in contents else {}
        for between in _BETWEEN:
            parts = stem.split(between)
            for cut in range(1, len(parts)):
                left, right = between.join(parts[:cut]), between.join(parts[cut:])
                if left in contents and right in styles:
                    return {"content": contents[left], "style": styles[right]}
        return {}
