"""The card of a dataset repository: what it is, how it was made, licences, figures, how to load."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from toolkit.core.errors import UserError
from toolkit.exporting.api import About, Written
from toolkit.exporting.features import features_of
from toolkit.exporting.names import safe_split
from toolkit.store.card import read_card

_MANY = 60  # styles that the table shows
_BRIEF = 600  # characters of a setting
_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_LICENCES = re.compile(
    r"(mit|apache-2\.0|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-(2\.0|2\.5|3\.0|4\.0)|odbl|pddl|gpl-3\.0|"
    r"bsd-3-clause|wtfpl|unlicense)"
)
_PUBLIC = {"train": "train", "val": "validation", "test": "test"}


def card(about: About, written: Sequence[Written], exts: Sequence[str], sheet: str | None) -> str:
    """README.md with its YAML header. exts: of the pictures that samples have; sheet: path of the
    sample pictures."""
    licences = about.chosen.licences(about.with_links)
    parts = [
        _header(about, written, exts, licences),
        f"# {_plain(about.name)}\n\n{_what(about, written)}",
        *([f"![samples]({sheet})"] if sheet else []),
        f"## How it was made\n\n{_provenance(about)}",
        f"## Licences\n\n{_licence_table(licences)}",
        f"## Figures\n\n{_figures(about, written)}",
        f"## Loading\n\n{_loading(about, written)}",
    ]
    return "\n\n".join(parts) + "\n"


def split_names(written: Sequence[Written]) -> dict[str, str]:
    """How `datasets` calls the splits, by their names in file names."""
    names = dict.fromkeys(safe_split(w.part.split) for w in written)
    return {name: _PUBLIC.get(name, name) for name in names}


def _header(
    about: About, written: Sequence[Written], exts: Sequence[str], licences: Counter[str | None]
) -> str:
    """YAML, of which JSON is a part: so no text can break out of its place."""
    splits = split_names(written)
    count = sum(w.num_samples for w in written)
    configs = [
        {"config_name": name, **({"default": True} if name == "default" else {}),
         "data_files": [{"split": public, "path": f"{folder}/{split}-*.{ending}"}
                        for split, public in splits.items()]}
        for name, folder, ending in (("default", "data", "tar"), ("metadata", "metadata", "tar.gz"))
    ]  # fmt: skip
    fields = {
        "pretty_name": about.name,
        "license": _licence_ids(licences),
        "task_categories": _tasks(about),
        "size_categories": [size_category(count)],
        "tags": ["style-transfer", "webdataset", "image", "tessera"],
        "configs": configs,
        "dataset_info": features_of(about.schema, exts),
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def size_category(count: int) -> str:
    """As the hub has them: n<1K, 1K<n<10K, …"""
    for number, name in enumerate(_SIZES):
        if count < 1000 * 10**number:
            return f"{_SIZES[number - 1]}<n<{name}" if number else f"n<{name}"
    return f"n>{_SIZES[-1]}"


def _tasks(about: About) -> list[str]:
    found = []
    if len(about.pictures) > 1:
        found.append("image-to-image")
    if "caption" in about.columns:
        found.append("text-to-image")
    if "style" in about.columns:
        found.append("image-classification")
    return found


def _licence_ids(licences: Counter[str | None]) -> list[str]:
    """The hub's own names of licences, `other` for what it has none for."""
    if not any(licences):
        return ["unknown"]
    known = {str(x).strip().lower() for x in licences if x and _is_known(x)}
    rest = {"other"} if any(x and not _is_known(x) for x in licences) else set()
    return [*sorted(known), *(rest or ({"unknown"} if None in licences else set()))]


def _is_known(text: str) -> bool:
    return bool(_LICENCES.fullmatch(text.strip().lower()))


def _what(about: About, written: Sequence[Written]) -> str:
    count = sum(w.num_samples for w in written)
    told = f"{count} samples, exported by Tessera where {_code(about.where)}"
    told += f", of the datasets {_listed(about.datasets)}." if about.datasets else "."
    if len(about.pictures) > 1:
        names = ", ".join(f"`{name.removesuffix('_image')}`" for name in about.pictures[1:])
        told += f" Besides its own picture a sample may have: {names}."
    return told + " Keys are those of the dataset that a sample is of: `dataset` and `key` name it."


def _provenance(about: About) -> str:
    lines = []
    names = [*about.datasets, *(about.chosen.linked if about.with_links else ())]
    for dataset in dict.fromkeys(names):
        try:
            known = read_card(about.layout, dataset)
        except UserError:
            lines.append(f"* **{dataset}**: its card is not at hand")
            continue
        made = known.get("made_by", {})
        told = ", ".join(f"{k} {_plain(_brief(v))}" for k, v in sorted(made.items()) if v)
        parents = known.get("parents") or []
        told += f"; made from {_listed(parents)}" if parents else ""
        lines.append(f"* **{dataset}**: {told}; root hash `{known['root_sha256'][:16]}`")
    protocols = about.chosen.protocols()
    if protocols:
        lines += ["", "| protocol of the teacher | pictures |", "| --- | --- |"]
        lines += [f"| `{_plain(name)}` | {number} |" for name, number in protocols]
    return "\n".join(lines)


def _licence_table(licences: Counter[str | None]) -> str:
    rows = sorted(licences.items(), key=lambda item: (-item[1], str(item[0])))
    lines = ["Of samples and of the datasets that they are linked to.", ""]
    lines += ["| licence, as the source states it | pictures |", "| --- | --- |"]
    lines += [f"| {_plain(name) if name else 'not stated'} | {n} |" for name, n in rows]
    return "\n".join(lines)


def _figures(about: About, written: Sequence[Written]) -> str:
    splits = list(dict.fromkeys(w.part.split for w in written))
    table: dict[str, Counter[str]] = {}
    for _, split, style, number in about.chosen.counts:
        table.setdefault(style or "no style", Counter())[split] += number
    order = sorted(table, key=lambda name: (-table[name].total(), name))
    lines = [f"| style | {' | '.join(splits)} |", f"| --- |{' --- |' * len(splits)}"]
    for name in order[:_MANY]:
        cells = " | ".join(str(table[name][split]) for split in splits)
        lines.append(f"| {_plain(name)} | {cells} |")
    if len(order) > _MANY:
        rest = [sum(table[name][split] for name in order[_MANY:]) for split in splits]
        lines.append(f"| {len(order) - _MANY} more | {' | '.join(map(str, rest))} |")
    lines += ["", "| split | samples | files | megabytes |", "| --- | --- | --- | --- |"]
    for split in splits:
        own = [w for w in written if w.part.split == split]
        size = sum(w.num_bytes for w in own) / 1e6
        lines.append(f"| {split} | {sum(w.num_samples for w in own)} | {len(own)} | {size:.1f} |")
    least, median, most = about.chosen.sides()
    lines += ["", f"Shorter side of the pictures: {least} to {most} pixels, median {median:.0f}."]
    return "\n".join(lines)


def _loading(about: About, written: Sequence[Written]) -> str:
    split = next(iter(split_names(written)))
    numbers = [w.part.number for w in written if safe_split(w.part.split) == split]
    return f"""```python
from datasets import load_dataset

pictures = load_dataset("USER/NAME", split="{_PUBLIC.get(split, split)}", streaming=True)
facts = load_dataset("USER/NAME", "metadata", split="{_PUBLIC.get(split, split)}")
```

```python
import webdataset

tars = "data/{split}-{{000000..{max(numbers):06d}}}.tar"
stream = webdataset.WebDataset(tars, shardshuffle=100)
```

```sql
-- DuckDB; `file`, and offset and size in `members`, tell where each picture lies
SELECT style, count(*) FROM 'metadata/*.parquet' GROUP BY style;
```

```
python -m toolkit.pack webdataset --src=data --repack --name=mine
```"""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{_plain(name)}`" for name in names)


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _BRIEF else text[: _BRIEF - 1].rsplit(" ", 1)[0] + " …"


def _code(text: str) -> str:
    """A text as code, in which nothing is markup but what ends it."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _plain(text: str) -> str:
    """A text that cannot become markup, or end a cell of a table."""
    clean = " ".join(text.split())
    return re.sub(r"([\\`|<>\[\]*#])", r"\\\1", clean)
