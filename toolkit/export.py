"""Writes a selection for other programs, and sends what was written to the hub or a store.

python -m toolkit.export "style='Impressionism'" --as=webdataset --out=out
python -m toolkit.export "dataset='targets' and grade='A'" --as=hub --out=out
python -m toolkit.export push out --to=hf://datasets/USER/NAME
"""

import re
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.core.checks import at_least
from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.log import hint
from toolkit.query import split_list
from toolkit.store.catalog import REHEARSAL, Catalog, print_gaps, without_rehearsals
from toolkit.store.keys import check_dataset_name
from toolkit.store.mirror import open_layout

_SHOWN = 5  # samples that were left out, by name


def main(
    where: str,
    *,
    as_: str,
    out: Path,
    name: str | None = None,
    with_links: bool = True,
    columns: str | None = None,
    shard_mb: int = 500,
    limit: int | None = None,
    overwrite: bool = False,
    datasets: tuple[str, ...] | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Writes the samples for which an SQL expression holds in a form that other programs read.

    Forms: webdataset (plain tars), parquet (with pictures as Hugging Face has them), csv (facts
    only), folder (pictures with metadata.jsonl, as
    Hugging Face's ImageFolder has it), coco, fiftyone, and hub (a
    dataset repository: tars, Parquet and a card). Pictures are written byte for byte. The folder
    appears when it is whole; an interrupted export goes on. The same selection gives the same
    bytes. Then: push DIR --to=hf://datasets/USER/NAME or s3://BUCKET/PREFIX.

    Args:
        where: SQL condition; "true" takes everything.
        as_: webdataset, parquet, csv, folder, coco, fiftyone or hub.
        out: a new folder.
        name: of the export; that of its one dataset, or of the folder, otherwise.
        with_links: bring along the pictures that samples are linked to, such as the content and
            the style of a target, so that the export stands alone.
        columns: further columns, as those of sidecars, comma-separated, each with an optional
            `as name`.
        shard_mb: megabytes after which a tar or Parquet file ends.
        limit: write only the first so many samples, as OUT-rehearsal, to see them and to be told
            what all would take.
        overwrite: replace an earlier export in the folder; other files are never touched.
        datasets: only these; all but rehearsals otherwise.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
    """
    from toolkit.exporting.chosen import choose
    from toolkit.exporting.forms import check_form
    from toolkit.exporting.place import check_out
    from toolkit.exporting.write import Job, export

    check_form(as_)
    at_least(1, **{"--shard_mb": shard_mb, "--limit": 1 if limit is None else limit})
    layout = open_layout(shards, manifests)
    place = check_out(out, layout)
    if limit is not None:
        place, overwrite = place.with_name(place.name + REHEARSAL), True
    catalog = Catalog(layout, list(datasets) if datasets else without_rehearsals(layout))
    print_gaps(catalog)
    condition = catalog.condition(where)
    chosen = choose(catalog, condition, _columns(catalog, columns or ""))
    own = chosen.datasets[0] if len(chosen.datasets) == 1 else out.resolve().name
    called = check_dataset_name(name) if name else own
    job = Job(
        chosen, as_, where, place, called, with_links, shard_mb * 1_000_000, limit, overwrite
    )  # fmt: skip
    try:
        done = export(job)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on after the last whole file") from None
    _print_done(job, done)


def _columns(catalog: Catalog, text: str) -> dict[str, str]:
    """Name to checked expression. Raises UserError for a name that stands twice."""
    from toolkit.exporting.chosen import FACTS

    found: dict[str, str] = {}
    for part in split_list(text):
        named = re.fullmatch(r"(.*?)\s+as\s+(\w+)", part, re.IGNORECASE | re.DOTALL)
        body, name = (named[1], named[2]) if named else (part, part)
        if not named and not re.fullmatch(r"\w+(\.\w+)?", part):
            raise UserError(f"--columns={part}: give it a name, as in {part} as name")
        if not named and name in FACTS:
            continue  # exported anyway
        if name in found or name in FACTS or name.endswith(("image", "file_name")):
            raise UserError(f"--columns: another column is called {name}: write … as another_name")
        found[name] = catalog.expression(body, "columns")
        catalog.rows(f"DESCRIBE SELECT ({found[name]}\n) FROM samples")  # says what is unknown
    return found


def _print_done(job: Any, done: Any) -> None:
    from toolkit.exporting.write import left_out

    record = done.record
    told = f"{record['num_samples']} samples in {record['num_files']} files, "
    told += f"{_size(record['num_bytes'])}, in {_shown(job.out)}"
    if done.was_there:
        print(f"{told}: there already, unchanged")
        return
    print(told)
    if done.num_kept:
        print(f"  {done.num_kept} of them were written before it was interrupted")
    for split, count in record["splits"].items():
        print(f"  {split}: {count}")
    for what, number, named in left_out(done):
        print(f"  left out, {what}: {number}")
        for line in named[:_SHOWN]:
            print(f"    {line}")
    if any("damaged" in what for what in record["left_out"]):
        print("  python -m toolkit.verify tells what is wrong with damaged samples")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if job.limit is not None:
        share = job.chosen.num_samples / max(1, min(job.limit, job.chosen.num_samples))
        print(f"a rehearsal; all {job.chosen.num_samples} samples: about "
              f"{done.seconds * share:.0f} s, {_size(record['num_bytes'] * share)}; "
              f"peak memory {peak / 1e6:.0f} MB")  # fmt: skip
    else:
        hint(f"{done.seconds:.1f} s, peak memory {peak / 1e6:.0f} MB")


def _shown(place: Path) -> str:
    """A place as somebody here would write it."""
    here = Path.cwd()
    return str(place.relative_to(here)) if place.is_relative_to(here) else str(place)


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.3g} MB"


def push(
    folder: Path,
    *,
    to: str,
    public: bool = False,
    message: str = "Export of Tessera",
    dry_run: bool = False,
) -> None:
    """Sends an export to a dataset repository of the Hugging Face Hub, or to an object store.

    What is there with the same bytes is not sent again, so a push that was cut off goes on; the
    card comes last. Nothing is deleted there. Credentials are those that the libraries find:
    HF_TOKEN or `hf auth login`; AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on.

    Args:
        folder: what python -m toolkit.export wrote, or any folder of files.
        to: hf://datasets/USER/NAME, s3://BUCKET/PREFIX, gs://… or az://….
        public: a repository that is made now can be seen by everybody; otherwise it is private.
        message: of the commits on the hub.
        dry_run: only say what would be sent.
    """
    from toolkit.exporting.pushing import push_folder

    try:
        told = push_folder(folder, to, public, message, dry_run)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on after the last whole file") from None
    print(f"{told.num_sent} files ({_size(told.bytes_sent)}) "
          f"{'would be sent' if dry_run else 'sent'} to {told.to}, "
          f"{told.num_there} were there")  # fmt: skip
    if told.num_others:
        print(f"  {told.num_others} other files lie there, which are not in {folder}")


def _values(_: list[str], __: Mapping[str, str]) -> dict[str, list[str]]:
    from toolkit.exporting.forms import form_names

    return {"as_": form_names()}


COMMANDS: Mapping[str, Any] = {"": main, "push": push}

if __name__ == "__main__":
    run(COMMANDS, "python -m toolkit.export", values=_values)
